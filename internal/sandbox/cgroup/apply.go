package cgroup

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// apply writes the settings in order and returns how many were written. Those that may depend on a later one of the same controller are
// tried again after them.
func (g *Group) apply(settings []setting) (int, error) {
	var again []setting
	for i := range settings {
		s := &settings[i]
		err := g.write(s)
		if s.retry && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EBUSY)) {
			again = append(again, *s)
			err = nil
		}
		if err != nil {
			return i, g.explain(s, err)
		}
		if i+1 == len(settings) || settings[i+1].controller != s.controller {
			for j := range again {
				if err := g.write(&again[j]); err != nil {
					return i + 1, g.explain(&again[j], err)
				}
			}
			again = again[:0]
		}
	}
	return len(settings), nil
}

// write makes one setting; its error is bare, for explain.
func (g *Group) write(s *setting) error {
	d := g.dirOf(s.controller)
	if d == nil {
		if s.optional {
			return nil
		}
		return errNoController
	}
	if err := d.open(); err != nil {
		return err
	}
	err := writeFile(d.fd, s.file, s.value)
	if err == nil || !errors.Is(err, unix.ENOENT) {
		return err
	}
	if s.or != nil {
		err = writeFile(d.fd, s.or.file, s.or.value)
	}
	if s.optional && errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

var errNoController = errors.New("no such controller")

// applyDevices filters devices: by the v1 controller where it is mounted, else by a program on the v2 cgroup. A rootless caller has
// neither right: see the package comment.
func (g *Group) applyDevices(f *filter) error {
	err := g.filterDevices(f)
	if err != nil && g.rootless && (denied(err) || errdef.Is(err, errdef.Unsupported)) {
		return nil
	}
	return err
}

func (g *Group) filterDevices(f *filter) error {
	d := g.dirOf("devices")
	if d == nil {
		d = g.unifiedDir()
	}
	if d == nil {
		return errdef.WithHint(errdef.Errorf(errdef.Unsupported, "linux.resources.devices: controller devices is not mounted, and there is no cgroup2 hierarchy either"),
			"without one of them a container that may make device nodes can use every device of the host")
	}
	if err := d.open(); err != nil {
		return err
	}
	if d.unified() {
		return setFilter(d.fd, f)
	}
	list := "" // a directory that was just made has its parent's list: all of it goes
	if !d.fresh {
		var err error
		if list, err = readFile(d.fd, "devices.list"); err != nil {
			return errdef.Errorf(kindOf(err), "linux.resources.devices: devices.list: %w", err)
		}
	}
	writes, err := f.v1Writes(list)
	if err != nil {
		return err
	}
	return writeDevices(d, writes)
}

// writeDevices keeps the two files open over the many short writes.
func writeDevices(d *dir, writes []setting) error {
	open := map[string]int{}
	defer func() {
		for _, fd := range open {
			unix.Close(fd)
		}
	}()
	for i := range writes {
		s := &writes[i]
		fd, ok := open[s.file]
		if !ok {
			var err error
			if fd, err = openFile(d.fd, s.file, unix.O_WRONLY); err != nil {
				return errdef.Errorf(kindOf(err), "%s: %s of %s: %w", s.field, s.file, d.name(), err)
			}
			open[s.file] = fd
		}
		if err := writeFD(fd, s.value); err != nil {
			return errdef.WithHint(errdef.Errorf(kindOf(err), "%s: write %q to %s of %s: %w", s.field, s.value, s.file, d.name(), err),
				"a cgroup cannot allow what the one above it denies")
		}
	}
	return nil
}
