package cgroup

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Delete removes the group's directories and all cgroups below them. A process in one of them makes it a Conflict after ctx's deadline, or
// 10 s: what was killed stays for a moment, so it is tried again. A group that is gone already is no error.
func (g *Group) Delete(ctx context.Context) error {
	ctx, cancel := bounded(ctx, deleteTime)
	defer cancel()
	var first error
	if g.unit.name != "" {
		first = g.stopUnit()
	}
	for _, d := range g.dirs {
		if d.absent {
			continue
		}
		if err := d.remove(ctx); err != nil && first == nil {
			first = err
		}
		d.close()
	}
	return first
}

func (d *dir) remove(ctx context.Context) error {
	if err := d.openRoot(); err != nil {
		if errdef.Is(err, errdef.NotFound) {
			return nil
		}
		return err
	}
	for pause := 200 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		err := d.removeOnce()
		if err == nil || gone(err) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
			return errdef.Errorf(kindOf(err), "cgroup %s: remove: %w", d.name(), err)
		}
		if !nap(ctx, pause) {
			return errdef.WithHint(errdef.Errorf(errdef.Conflict, "cgroup %s: remove: %w", d.name(), err), "a process is still in it: kill the container first")
		}
	}
}

// removeOnce removes the directory, and those in it only if it must: mostly there are none.
func (d *dir) removeOnce() error {
	parent, name := d.root, d.path
	if i := strings.LastIndexByte(d.path, '/'); i >= 0 {
		fd, err := openBelow(d.root, d.path[:i], unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		parent, name = fd, d.path[i+1:]
	}
	err := unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
	if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	fd, err := openFile(parent, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	if err := removeBelow(fd); err != nil {
		return err
	}
	return unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
}

// removeBelow removes all directories below top, which it closes. The container may have made them as deep as it liked, so it holds two
// descriptors at a time and goes up by "..", which is safe here: a cgroup never gets another parent.
func removeBelow(top int) error {
	cur := top
	defer func() { unix.Close(cur) }()
	var path []string
	for {
		names, err := entries(cur, true, 1) // one is enough, and of very many each look is short
		if err != nil && !gone(err) {
			return err
		}
		if len(names) > 0 {
			next, err := openFile(cur, names[0], unix.O_RDONLY|unix.O_DIRECTORY)
			if gone(err) {
				continue
			}
			if err != nil {
				return err
			}
			unix.Close(cur)
			cur, path = next, append(path, names[0])
			continue
		}
		if len(path) == 0 {
			return nil
		}
		up, err := openFile(cur, "..", unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		unix.Close(cur)
		cur = up
		if err := unix.Unlinkat(cur, path[len(path)-1], unix.AT_REMOVEDIR); err != nil && !gone(err) {
			return err
		}
		path = path[:len(path)-1]
	}
}
