package image

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// scratchPrefix begins the names of directories for what comes without a digest.
const scratchPrefix = "load-"

// scratch makes a directory of this call's own, and removes those whose owners were killed: nobody holds their lock.
func (s *Service) scratch() (dir string, remove func(), err error) {
	s.sweep()
	if dir, err = os.MkdirTemp(s.o.Root, scratchPrefix); err != nil {
		return "", nil, errdef.Errorf(errdef.Unavailable, "temporary directory: %w", err)
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = atomicfile.TryFlock(fd, atomicfile.Exclusive)
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return "", nil, errdef.Errorf(errdef.Unavailable, "temporary directory: %w", err)
	}
	return dir, func() {
		_ = os.RemoveAll(dir)
		_ = unix.Close(fd)
	}, nil
}

// sweep removes what killed commands left.
func (s *Service) sweep() {
	entries, err := os.ReadDir(s.o.Root)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), scratchPrefix) {
			continue
		}
		path := filepath.Join(s.o.Root, e.Name())
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		if old(fd) {
			if free, err := atomicfile.TryFlock(fd, atomicfile.Exclusive); free && err == nil {
				_ = os.RemoveAll(path)
			}
		}
		_ = unix.Close(fd)
	}
}

// old reports whether a directory has been there for more than an instant, so that its owner has had the time to lock it.
func old(fd int) bool {
	var st unix.Stat_t
	var now unix.Timespec
	if unix.Fstat(fd, &st) != nil || unix.ClockGettime(unix.CLOCK_REALTIME, &now) != nil {
		return false
	}
	return now.Sec-st.Ctim.Sec > 5
}
