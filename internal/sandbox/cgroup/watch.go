package cgroup

import (
	"context"
	"errors"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// A Watch waits for something to happen to a group: see WatchOOM and WatchPressure.
type Watch struct {
	kind   watchKind
	group  *Group
	fd     int // what is polled
	events int // open memory.events, or control file that must stay open; -1
	stop   int // eventfd that ends a wait
	count  uint64
	dir    *dir
}

type watchKind uint8

const (
	watchEventFD watchKind = iota // v1: the kernel writes an eventfd, also when the cgroup is removed
	watchInotify                  // v2: memory.events changes
	watchPSI                      // v2: pressure over a threshold
)

// WatchOOM begins to watch for processes of the group that are killed for want of memory. v1: an eventfd registered for memory.oom_control
// (cgroup-v1/memory.rst, "OOM Control"); v2: the key oom_kill of memory.events.
func (g *Group) WatchOOM() (*Watch, error) {
	d := g.dirOf("memory")
	if d == nil {
		return nil, errdef.Errorf(errdef.Unsupported, "watch out-of-memory: controller memory is not mounted")
	}
	if err := d.open(); err != nil {
		return nil, err
	}
	before, err := g.OOM()
	if err != nil {
		return nil, err
	}
	var w *Watch
	if d.unified() {
		w, err = d.watchEvents()
	} else if w, err = d.watchControl("memory.oom_control", ""); err == nil {
		w.count = before.Kills
	}
	if err == nil {
		w.group = g
	}
	return w, err
}

// OOM returns what has been counted when Wait says that it happened. v1 tells before it kills, so that its counter is waited for a moment;
// it stays where the container has switched the killing off.
func (w *Watch) OOM() (OOM, error) {
	for try := 0; ; try++ {
		o, err := w.group.OOM()
		if err != nil || w.kind == watchInotify || o.Kills > w.count || try == 100 {
			w.count = max(w.count, o.Kills)
			return o, err
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// A Level of memory pressure, v1's names for it.
type Level string

// The levels: reclaim is at work; it swaps or evicts what is in use; the kernel is about to kill.
const (
	Low      Level = "low"
	Medium   Level = "medium"
	Critical Level = "critical"
)

// WatchPressure begins to watch for memory pressure. v1: memory.pressure_level; v2: a trigger on memory.pressure (psi.rst, Linux 5.2), with
// thresholds of ours for the levels: 100, 300 or 1000 ms of 2 s in which some process waited for memory. Windows of 2 s need no
// CAP_SYS_RESOURCE (Linux 6.5).
func (g *Group) WatchPressure(level Level) (*Watch, error) {
	stall := map[Level]string{Low: "100000", Medium: "300000", Critical: "1000000"}[level]
	if stall == "" {
		return nil, errdef.Errorf(errdef.Invalid, "watch memory pressure: %q is no level", level)
	}
	d := g.dirOf("memory")
	if d == nil {
		return nil, errdef.Errorf(errdef.Unsupported, "watch memory pressure: controller memory is not mounted")
	}
	if err := d.open(); err != nil {
		return nil, err
	}
	if !d.unified() {
		return d.watchControl("memory.pressure_level", string(level))
	}
	fd, err := openFile(d.fd, "memory.pressure", unix.O_RDWR|unix.O_NONBLOCK)
	if err != nil {
		return nil, errdef.Errorf(errdef.Unsupported, "watch memory pressure: memory.pressure of %s: %w", d.name(), err)
	}
	if err := writeFD(fd, "some "+stall+" 2000000"); err != nil {
		unix.Close(fd)
		return nil, errdef.Errorf(kindOf(err), "watch memory pressure: memory.pressure of %s: %w", d.name(), err)
	}
	return newWatch(watchPSI, d, fd, -1)
}

func newWatch(kind watchKind, d *dir, fd, events int) (*Watch, error) {
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		if events >= 0 {
			unix.Close(events)
		}
		return nil, errdef.Errorf(errdef.Internal, "watch: eventfd: %w", err)
	}
	return &Watch{kind: kind, fd: fd, events: events, stop: stop, dir: d}, nil
}

// watchControl registers an eventfd through cgroup.event_control: "EVENTFD CONTROLFD ARGUMENTS".
func (d *dir) watchControl(file, args string) (*Watch, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "watch: eventfd: %w", err)
	}
	control, err := openFile(d.fd, file, unix.O_RDONLY)
	if err == nil {
		line := strconv.Itoa(fd) + " " + strconv.Itoa(control)
		if args != "" {
			line += " " + args
		}
		if err = writeFile(d.fd, "cgroup.event_control", line); err != nil {
			unix.Close(control)
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, errdef.Errorf(kindOf(err), "watch: %s of %s: %w", file, d.name(), err)
	}
	return newWatch(watchEventFD, d, fd, control)
}

// watchEvents watches memory.events; the watch comes before the first look, so that nothing is missed between.
func (d *dir) watchEvents() (*Watch, error) {
	events, err := openFile(d.fd, "memory.events", unix.O_RDONLY)
	if err != nil {
		return nil, errdef.Errorf(errdef.Unsupported, "watch out-of-memory: memory.events of %s: %w", d.name(), err)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err == nil {
		if _, err = unix.InotifyAddWatch(fd, "/proc/self/fd/"+strconv.Itoa(events), unix.IN_MODIFY); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		unix.Close(events)
		return nil, errdef.Errorf(errdef.Internal, "watch out-of-memory: inotify on memory.events of %s: %w", d.name(), err)
	}
	w, err := newWatch(watchInotify, d, fd, events)
	if err == nil {
		w.count, err = w.kills()
	}
	return w, err
}

// kills reads how many processes were killed.
func (w *Watch) kills() (uint64, error) {
	if _, err := unix.Seek(w.events, 0, unix.SEEK_SET); err != nil {
		return 0, err
	}
	text, err := readFD(w.events)
	return parseKeys(text)["oom_kill"], err
}

// Wait returns nil each time that it happens, a NotFound error when the group has been removed, and ctx's error when ctx ends.
func (w *Watch) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	cancel := context.AfterFunc(ctx, func() { _ = writeFD(w.stop, "\x01\x00\x00\x00\x00\x00\x00\x01") })
	defer cancel()
	want := int16(unix.POLLIN)
	if w.kind == watchPSI {
		want = unix.POLLPRI
	}
	for {
		poll := []unix.PollFd{{Fd: int32(w.fd), Events: want}, {Fd: int32(w.stop), Events: unix.POLLIN}}
		// The end comes for the removal of a v2 cgroup, of which inotify does not always tell.
		_, err := unix.Poll(poll, 1000)
		if err != nil && err != unix.EINTR {
			return errdef.Errorf(errdef.Internal, "watch: poll: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if happened, err := w.look(poll[0].Revents); happened || err != nil {
			return err
		}
	}
}

// look reads what poll announced, and whether the group is still there.
func (w *Watch) look(revents int16) (bool, error) {
	gone := errdef.Errorf(errdef.NotFound, "watch: cgroup %s: removed", w.dir.name())
	if revents != 0 && w.kind != watchPSI {
		var buf [4096]byte
		if _, err := unix.Read(w.fd, buf[:]); err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return false, errdef.Errorf(errdef.Internal, "watch: %w", err)
		}
	}
	var st unix.Stat_t
	if err := unix.Fstatat(w.dir.fd, "cgroup.procs", &st, 0); err != nil {
		return false, gone
	}
	switch w.kind {
	case watchInotify:
		n, err := w.kills()
		if err != nil {
			return false, gone
		}
		happened := n > w.count
		w.count = n
		return happened, nil
	case watchPSI:
		if revents&unix.POLLERR != 0 {
			return false, gone
		}
		return revents&unix.POLLPRI != 0, nil
	}
	return revents&unix.POLLIN != 0, nil
}

// Close ends the watch. The group's descriptor must not be closed before.
func (w *Watch) Close() error {
	unix.Close(w.fd)
	unix.Close(w.stop)
	if w.events >= 0 {
		unix.Close(w.events)
	}
	return nil
}
