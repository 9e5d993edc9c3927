package extract

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// maxNested is how deep RemoveAll goes with a descriptor for each directory.
const maxNested = 100

// RemoveAll removes a name in an open directory and all that is below it, without following a link, in memory and descriptors that do not depend
// on how deep the tree is: what lies deeper than maxNested is moved to the top first. A name that does not exist is no error.
func RemoveAll(dir int, name string) error {
	err := unix.Unlinkat(dir, name, 0)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	if err != unix.EISDIR && err != unix.EPERM { // EPERM: what POSIX wants for a directory
		return err
	}
	top, err := openBeneath(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(top)
	r := remover{top: top}
	for {
		if err := r.empty(top, 0); err != nil {
			return err
		}
		if !r.moved {
			break
		}
		r.moved = false
	}
	return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
}

type remover struct {
	top   int
	next  uint64
	moved bool
	buf   [32 << 10]byte
}

// empty removes everything in an open directory. Reading begins anew after each round of removals, because what a file system shows of a
// directory that changes meanwhile is its own choice.
func (r *remover) empty(dir, depth int) error {
	for {
		if _, err := unix.Seek(dir, 0, 0); err != nil {
			return err
		}
		removed := false
		for {
			n, err := unix.Getdents(dir, r.buf[:])
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			_, _, names := unix.ParseDirent(r.buf[:n], -1, nil)
			for _, name := range names {
				if err := r.remove(dir, name, depth); err != nil {
					return err
				}
				removed = true
			}
		}
		if !removed {
			return nil
		}
	}
}

func (r *remover) remove(dir int, name string, depth int) error {
	err := unix.Unlinkat(dir, name, 0)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	if err != unix.EISDIR && err != unix.EPERM {
		return err
	}
	if err := unix.Unlinkat(dir, name, unix.AT_REMOVEDIR); err == nil || err == unix.ENOENT {
		return nil
	} else if err != unix.ENOTEMPTY && err != unix.EEXIST {
		return err
	}
	if depth == maxNested {
		r.moved = true
		for {
			r.next++
			err := unix.Renameat2(dir, name, r.top, ".moved-"+strconv.FormatUint(r.next, 36), unix.RENAME_NOREPLACE)
			if err != unix.EEXIST {
				return err
			}
		}
	}
	fd, err := openBeneath(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := r.empty(fd, depth+1); err != nil {
		return err
	}
	return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
}
