package resolver

import (
	"bytes"
	"io"
	"os"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// maxFile bounds what is read of a file that a container's program may have written.
const maxFile = 1 << 20

// Rewrite changes a file's content without replacing the file, which is bound into a container: the file there is the same one. change gets what is in it, and
// returns what is to be in it; nil leaves it. The path is on the host's side, and no link.
//
// A reader may come at any moment. A shorter text is written with empty lines up to the old length first, and then cut, so that nothing of the old
// end follows the new text; a longer one is written at once.
func Rewrite(path string, change func([]byte) []byte) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "open %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return errdef.Errorf(errdef.Invalid, "%s: no regular file", path)
	}
	old, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "read %s: %w", path, err)
	}
	if len(old) > maxFile {
		return errdef.Errorf(errdef.Invalid, "%s: longer than %d bytes", path, maxFile)
	}
	text := change(old)
	if text == nil || bytes.Equal(text, old) {
		return nil
	}
	padded := text
	if n := len(old) - len(text); n > 0 {
		padded = append(bytes.Clone(text), bytes.Repeat([]byte("\n"), n)...)
	}
	if _, err = f.WriteAt(padded, 0); err == nil && len(padded) > len(text) {
		err = f.Truncate(int64(len(text)))
	}
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "write %s: %w", path, err)
	}
	return nil
}
