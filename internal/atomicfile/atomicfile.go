// Package atomicfile writes files that are there whole or not at all, and locks directories.
//
// A program of Bulkhead may be killed between any two instructions, and several may work on one object at once. Three tools make that
// harmless: Write replaces a file in one step, Create claims a name for one of several contenders with the content already in it, and
// Flock serialises those who change an object.
//
//	err := atomicfile.WriteAt(dir, "state.json", data, atomicfile.Options{})    // replaced, and on the disk when it returns
//	err := atomicfile.CreateAt(dir, "name", data, atomicfile.Options{})         // of kind Exists when somebody was first
//	err := atomicfile.Flock(ctx, dir, atomicfile.Exclusive)                     // of kind Timeout when ctx ends first
//
// Files are named by a directory descriptor and a name without a slash, so that nothing in between can be swapped; no symbolic link is
// followed. The zero Options are the strict ones: mode 0600, and the content and the name are synced to the disk before the call
// returns. Volatile leaves the syncing out: for run directories, which live on a tmpfs and mean nothing after a reboot.
//
// It is no store: it knows no formats, keeps no history, and does not retry when the disk is full.
package atomicfile

import (
	"math/rand/v2"
	"path/filepath"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// Options of a write. The zero value syncs and keeps others out.
type Options struct {
	Mode     uint32 // permission bits whatever the umask is; 0 means 0600
	Volatile bool   // do not sync: the file may be lost with the machine, never torn by a killed program
}

// attempts bounds how often a temporary name may be taken already: 2^32 names make a second one unlikely.
const attempts = 16

// Write replaces or makes the file at path. A symbolic link at path is replaced, not followed.
func Write(path string, data []byte, o Options) error {
	dir, err := openDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return WriteAt(dir, filepath.Base(path), data, o)
}

// WriteAt is Write for a name in an open directory.
func WriteAt(dir int, name string, data []byte, o Options) error {
	tmp, err := temporary(dir, name, data, o)
	if err != nil {
		return err
	}
	if err := unix.Renameat(dir, tmp, dir, name); err != nil {
		_ = unix.Unlinkat(dir, tmp, 0)
		return errdef.Errorf(errdef.Internal, "rename to %q: %w", name, err)
	}
	return syncDir(dir, name, o)
}

// Create makes the file at path, whole from its first moment. If the name is taken the error is of kind Exists and nothing changes.
func Create(path string, data []byte, o Options) error {
	dir, err := openDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return CreateAt(dir, filepath.Base(path), data, o)
}

// CreateAt is Create for a name in an open directory.
func CreateAt(dir int, name string, data []byte, o Options) error {
	tmp, err := temporary(dir, name, data, o)
	if err != nil {
		return err
	}
	// link(2) and not renameat2(RENAME_NOREPLACE), which NFS and older overlayfs do not have.
	err = unix.Linkat(dir, tmp, dir, name, 0)
	_ = unix.Unlinkat(dir, tmp, 0)
	if err == unix.EEXIST {
		return errdef.Errorf(errdef.Exists, "create %q: %w", name, err)
	}
	if err != nil {
		return errdef.Errorf(errdef.Internal, "create %q: %w", name, err)
	}
	return syncDir(dir, name, o)
}

// temporary writes the data under a name of its own beside name.
func temporary(dir int, name string, data []byte, o Options) (string, error) {
	mode := o.Mode
	if mode == 0 {
		mode = 0o600
	}
	for range attempts {
		tmp := "." + name + "." + strconv.FormatUint(uint64(rand.Uint32()), 36)
		fd, err := unix.Openat(dir, tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		if err == unix.EEXIST || err == unix.EINTR {
			continue
		}
		if err != nil {
			return "", errdef.Errorf(errdef.Internal, "create %q: %w", tmp, err)
		}
		err = fill(fd, data, mode, o)
		if cerr := unix.Close(fd); err == nil {
			err = cerr
		}
		if err != nil {
			_ = unix.Unlinkat(dir, tmp, 0)
			return "", errdef.Errorf(errdef.Internal, "write %q: %w", tmp, err)
		}
		return tmp, nil
	}
	return "", errdef.Errorf(errdef.Internal, "create a temporary file for %q: all names are taken", name)
}

func fill(fd int, data []byte, mode uint32, o Options) error {
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		data = data[n:]
	}
	if mode&0o077 != 0 { // only then can the umask have taken something that was asked for
		if err := unix.Fchmod(fd, mode); err != nil {
			return err
		}
	}
	if o.Volatile {
		return nil
	}
	return unix.Fsync(fd)
}

// syncDir makes a rename or link last: fsync(2) of a file does not cover its directory entry.
func syncDir(dir int, name string, o Options) error {
	if o.Volatile {
		return nil
	}
	// The caller's descriptor may be O_PATH, which cannot be synced.
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "open the directory of %q: %w", name, err)
	}
	defer unix.Close(fd)
	if err := unix.Fsync(fd); err != nil {
		return errdef.Errorf(errdef.Internal, "sync the directory of %q: %w", name, err)
	}
	return nil
}

func openDir(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return -1, errdef.Errorf(errdef.NotFound, "open directory %q: %w", path, err)
	}
	if err != nil {
		return -1, errdef.Errorf(errdef.Internal, "open directory %q: %w", path, err)
	}
	return fd, nil
}
