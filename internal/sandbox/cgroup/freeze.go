package cgroup

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Deadlines that hold where the caller's context has none.
const (
	freezeTime = 10 * time.Second
	killTime   = 30 * time.Second
	deleteTime = 10 * time.Second
)

// bounded gives a context without a deadline one.
func bounded(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// nap sleeps and reports whether there is time left.
func nap(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// freezer returns the directory whose file stops the group: the v1 controller's where it is mounted.
func (g *Group) freezer() (*dir, error) {
	d := g.dirOf("freezer")
	if d == nil {
		d = g.unifiedDir()
	}
	if d == nil {
		return nil, errdef.Errorf(errdef.Unsupported, "freeze: controller freezer is not mounted, and the container is in no cgroup2 hierarchy")
	}
	return d, d.open()
}

// Freeze stops every process of the group and returns when all stand still; on an error none does. It takes no longer than ctx allows,
// and 10 s at most if that has no deadline.
func (g *Group) Freeze(ctx context.Context) error {
	d, err := g.freezer()
	if err != nil {
		return err
	}
	ctx, cancel := bounded(ctx, freezeTime)
	defer cancel()
	if d.unified() {
		err = d.freezeUnified(ctx, true)
	} else {
		err = d.freezeV1(ctx)
	}
	if err != nil {
		if d.unified() {
			_ = writeFile(d.fd, "cgroup.freeze", "0")
		} else {
			_ = writeFile(d.fd, "freezer.state", "THAWED")
		}
	}
	return err
}

// freezeV1 asks again until the state is FROZEN: the kernel looks at each process once, and one that is born or moved in meanwhile leaves
// the cgroup FREEZING until it is told again (cgroup-v1/freezer-subsystem.rst). A process in an uninterruptible wait does so, too, and
// letting all go on for a moment every now and then is what helps against both.
func (d *dir) freezeV1(ctx context.Context) error {
	for i := 1; ; i++ {
		if err := writeFile(d.fd, "freezer.state", "FROZEN"); err != nil {
			return errdef.Errorf(kindOf(err), "freeze: freezer.state of %s: %w", d.name(), err)
		}
		state, err := readFile(d.fd, "freezer.state")
		if err != nil {
			return errdef.Errorf(kindOf(err), "freeze: freezer.state of %s: %w", d.name(), err)
		}
		if strings.TrimSpace(state) == "FROZEN" {
			return nil
		}
		pause := 50 * time.Microsecond
		if i > 20 {
			pause = time.Millisecond
		}
		if i%50 == 0 {
			_ = writeFile(d.fd, "freezer.state", "THAWED")
			pause = 10 * time.Millisecond
		}
		if !nap(ctx, pause) {
			return errdef.Errorf(errdef.Timeout, "freeze: %s is still %s", d.name(), strings.TrimSpace(state))
		}
	}
}

// freezeUnified writes cgroup.freeze (Linux 5.2) and waits until cgroup.events confirms.
func (d *dir) freezeUnified(ctx context.Context, frozen bool) error {
	value := "0"
	if frozen {
		value = "1"
	}
	if err := writeFile(d.fd, "cgroup.freeze", value); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return errdef.Errorf(errdef.Unsupported, "freeze: cgroup.freeze of %s does not exist: kernel before 5.2?", d.name())
		}
		return errdef.Errorf(kindOf(err), "freeze: cgroup.freeze of %s: %w", d.name(), err)
	}
	if err := d.waitEvent(ctx, "frozen", value); err != nil {
		return errdef.Errorf(errdef.KindOf(err), "freeze: %w", err)
	}
	return nil
}

// waitEvent waits until cgroup.events says that the key has the value. The kernel tells of changes by POLLPRI (cgroups(7)); the poll has a
// short end of its own, so that a context without a descriptor can end the wait.
func (d *dir) waitEvent(ctx context.Context, key, value string) error {
	fd, err := openFile(d.fd, "cgroup.events", unix.O_RDONLY)
	if err != nil {
		return errdef.Errorf(kindOf(err), "cgroup.events of %s: %w", d.name(), err)
	}
	defer unix.Close(fd)
	for {
		if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
			return errdef.Errorf(kindOf(err), "cgroup.events of %s: %w", d.name(), err)
		}
		text, err := readFD(fd)
		if err != nil {
			return errdef.Errorf(kindOf(err), "cgroup.events of %s: %w", d.name(), err)
		}
		if keyed(text, key) == value {
			return nil
		}
		if ctx.Err() != nil {
			return errdef.Errorf(errdef.Timeout, "cgroup.events of %s: %s is not %s", d.name(), key, value)
		}
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
		if _, err := unix.Poll(poll, 20); err != nil && err != unix.EINTR {
			return errdef.Errorf(errdef.Internal, "cgroup.events of %s: poll: %w", d.name(), err)
		}
	}
}

// keyed returns the value of a key in a file of "KEY VALUE" lines, "" when it is not there.
func keyed(text, key string) string {
	for len(text) > 0 {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		if k, v, ok := strings.Cut(line, " "); ok && k == key {
			return v
		}
	}
	return ""
}

// Thaw lets the processes of the group go on.
func (g *Group) Thaw(ctx context.Context) error {
	d, err := g.freezer()
	if err != nil {
		return err
	}
	ctx, cancel := bounded(ctx, freezeTime)
	defer cancel()
	if d.unified() {
		return d.freezeUnified(ctx, false)
	}
	if err := writeFile(d.fd, "freezer.state", "THAWED"); err != nil {
		return errdef.Errorf(kindOf(err), "thaw: freezer.state of %s: %w", d.name(), err)
	}
	return nil
}

// Frozen reports whether the group was frozen itself, as opposed to one above it. A group that cannot be frozen is not.
func (g *Group) Frozen() (bool, error) {
	if g.dirOf("freezer") == nil && g.unifiedDir() == nil {
		return false, nil
	}
	d, err := g.freezer()
	if err != nil {
		return false, err
	}
	file := "freezer.self_freezing" // 1 as soon as it was asked for; what is not yet still is soon
	if d.unified() {
		file = "cgroup.freeze"
	}
	text, err := readFile(d.fd, file)
	if errors.Is(err, unix.ENOENT) {
		return false, nil // Linux before 5.2 cannot freeze
	}
	if err != nil {
		return false, errdef.Errorf(kindOf(err), "frozen: %s of %s: %w", file, d.name(), err)
	}
	return strings.TrimSpace(text) == "1", nil
}
