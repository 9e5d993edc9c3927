package state

import (
	"bytes"
	"os"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// The journal is one file to which entries are only ever added: a line with the entry's kind and its length in bytes, the bytes, and a line
// end. The last entry of a kind counts. One that a kill or a full disk cut short is at the end and does not count, so that a reader
// needs no lock and a writer no second file to rename: to make a file costs as much as a quarter of a container's start.
const (
	recordEntry = "record"
	configEntry = "config"
)

// add writes one entry in one call. What an earlier kill left unfinished at the end is cut off first.
func (d *Dir) add(kind string, data []byte) error {
	if err := d.openJournal(); err != nil {
		return err
	}
	entry := make([]byte, 0, len(data)+len(kind)+16)
	entry = append(append(entry, kind...), ' ')
	entry = strconv.AppendInt(entry, int64(len(data)), 10)
	entry = append(append(append(entry, '\n'), data...), '\n')
	for {
		n, err := unix.Write(d.out, entry)
		if err == unix.EINTR && n <= 0 {
			continue
		}
		if err == nil && n < len(entry) {
			err = unix.ENOSPC
		}
		if err != nil {
			err = errdef.Errorf(errdef.Unavailable, "write the state of container %q: %w", d.ID, err)
			return errdef.WithHint(err, "make room on the file system of --root")
		}
		return nil
	}
}

// openJournal opens the journal for adding, makes it if it is not there, and cuts off an unfinished end. The caller holds the lock.
func (d *Dir) openJournal() error {
	if d.out > 0 {
		return nil
	}
	const flags = unix.O_WRONLY | unix.O_APPEND | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Openat(d.fd, journalName, flags|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err == nil {
		d.out = fd
		return nil
	}
	if err != unix.EEXIST {
		err = errdef.Errorf(errdef.Unavailable, "write the state of container %q: %w", d.ID, err)
		return errdef.WithHint(err, "make room on the file system of --root")
	}
	data, err := d.read()
	if err != nil {
		return err
	}
	_, whole, err := d.scan(data, "")
	if err != nil {
		return err
	}
	if fd, err = unix.Openat(d.fd, journalName, flags, 0); err != nil {
		return errdef.Errorf(errdef.Internal, "write the state of container %q: %w", d.ID, err)
	}
	if whole < len(data) {
		if err := unix.Ftruncate(fd, int64(whole)); err != nil {
			unix.Close(fd)
			return errdef.Errorf(errdef.Internal, "mend the state of container %q: %w", d.ID, err)
		}
	}
	d.out = fd
	return nil
}

// last returns the last entry of a kind, NotFound if there is none.
func (d *Dir) last(kind string) ([]byte, error) {
	data, err := d.read()
	if err != nil {
		return nil, err
	}
	found, _, err := d.scan(data, kind)
	if err == nil && found == nil {
		err = notFound(d.ID)
	}
	return found, err
}

// scan goes through the entries. whole is where the last complete one ends.
func (d *Dir) scan(data []byte, kind string) (found []byte, whole int, err error) {
	for whole < len(data) {
		rest := data[whole:]
		head, body, ok := bytes.Cut(rest, []byte{'\n'})
		name, size, isHead := bytes.Cut(head, []byte{' '})
		if string(name) != recordEntry && string(name) != configEntry && ok || len(head) > 32 {
			return nil, 0, d.damaged()
		}
		if !ok {
			return found, whole, nil // cut short in the head
		}
		n, err := strconv.Atoi(string(size))
		if err != nil || n < 0 || !isHead {
			return nil, 0, d.damaged()
		}
		if len(body) < n+1 {
			return found, whole, nil // cut short in the body
		}
		if body[n] != '\n' {
			return nil, 0, d.damaged()
		}
		if string(name) == kind {
			found = body[:n:n]
		}
		whole += len(head) + 1 + n + 1
	}
	return found, whole, nil
}

func (d *Dir) damaged() error {
	err := errdef.Errorf(errdef.Internal, "read the state of container %q: its journal is damaged", d.ID)
	return errdef.WithHint(err, "end what runs of it by hand, and remove "+d.Path)
}

// read returns the journal's bytes.
func (d *Dir) read() ([]byte, error) {
	fd, err := unix.Openat(d.fd, journalName, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil, notFound(d.ID)
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "read the state of container %q: %w", d.ID, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, errdef.Errorf(errdef.Internal, "read the state of container %q: %w", d.ID, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > maxFile {
		return nil, errdef.Errorf(errdef.Internal, "read the state of container %q: no regular file of a sane size", d.ID)
	}
	data := make([]byte, st.Size)
	for n := 0; n < len(data); {
		m, err := unix.Read(fd, data[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || m == 0 {
			return nil, errdef.Errorf(errdef.Internal, "read the state of container %q: %d of %d bytes: %w", d.ID, n, len(data), os.ErrInvalid)
		}
		n += m
	}
	return data, nil
}
