package network

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// aliveForTest says that a container's monitor lives, until the function that it returns is called.
func (s *Service) aliveForTest(id string) (end func()) {
	dir := filepath.Join(filepath.Dir(string(s.o.Run)), id)
	_ = os.MkdirAll(dir, 0o700)
	f, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		panic(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		panic(err)
	}
	return func() { _ = f.Close() }
}
