package category

import (
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// listDir returns the names of claims: no temporary files, and not the directory of levels.
func listDir(dir int) ([]string, error) {
	names, err := readNames(dir)
	kept := names[:0]
	for _, name := range names {
		if !strings.HasPrefix(name, ".") && name != levelsDir {
			kept = append(kept, name)
		}
	}
	return kept, err
}

// readNames returns all names in a directory, which it opens anew, for the position in it is shared.
func readNames(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "open the directory of categories: %w", err)
	}
	defer unix.Close(fd)
	var names []string
	buf := make([]byte, 32<<10)
	for {
		n := 0
		err := sys.Retry(func() (err error) { n, err = unix.ReadDirent(fd, buf); return err })
		if err != nil {
			return nil, errdef.Errorf(errdef.Internal, "read the directory of categories: %w", err)
		}
		if n == 0 {
			return names, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

func readFile(dir int, name string) ([]byte, error) {
	data, err := sys.ReadFileAt(dir, name, maxClaim)
	switch err {
	case nil:
		return data, nil
	case unix.ENOENT:
		return nil, nil
	}
	return nil, errdef.Errorf(errdef.Internal, "categories: read %q: %w", name, err)
}

func unlink(dir int, name string) error {
	if err := unix.Unlinkat(dir, name, 0); err != nil && err != unix.ENOENT {
		return errdef.Errorf(errdef.Internal, "categories: remove %q: %w", name, err)
	}
	return nil
}
