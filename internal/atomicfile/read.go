package atomicfile

import (
	"io"
	"os"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// MaxState bounds what Read takes: files of state are a few kilobytes.
const MaxState = 16 << 20

// Read reads a file of state, whatever is in its place: a pipe does not hold it up, and one that is too large, or no file, is an error of kind Internal that names it. Other errors are those of open(2).
func Read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > MaxState {
		return nil, errdef.Errorf(errdef.Internal, "%s: is not a file of at most %d bytes", path, MaxState)
	}
	data := make([]byte, st.Size()+1)
	n, err := io.ReadFull(f, data)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return data[:n], err
}
