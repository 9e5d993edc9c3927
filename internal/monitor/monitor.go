package monitor

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/bulkhead-engine/bulkhead/internal/runtime"
	"github.com/bulkhead-engine/bulkhead/internal/selinux/category"
	"github.com/moby/moby/api/types/events"
	"golang.org/x/sys/unix"
)

// How a container is started again: after a pause that doubles from the first to the longest, and begins anew once the program has run for a while; as
// Docker does.
const (
	firstPause  = 100 * time.Millisecond
	longPause   = time.Minute
	goodRun     = 10 * time.Second
	endPatience = 20 * time.Second // for what is left of a container when its program has ended
	memoryLimit = 24 << 20         // bytes, from which on garbage is collected in any case
)

// A monitor watches one container.
type monitor struct {
	o     control.Orders
	rt    *runtime.Runtime
	fan   *fan
	ready *os.File // nil once it was told

	mu       sync.Mutex
	state    control.State
	stopping bool          // somebody ends the container: no restart
	afresh   bool          // the program is unhealthy, and is to be started again whatever the policy
	ended    chan struct{} // closed when it has ended for good
	wake     chan struct{} // ends a pause before a restart
	console  *os.File      // of a terminal; nil: none
	stdin    *input
	programs programs
	waiting  atomic.Int32 // requests for the end that are not answered yet
	stirred  atomic.Bool  // memory will be given back soon
	net      *networks
}

// Main is the whole life of a monitor. Its error is told to the engine as well.
func Main(run string) error {
	debug.SetGCPercent(-1) // a start is over before a collection has brought anything: see settle
	debug.SetMemoryLimit(memoryLimit)
	if err := receiveAll(); err != nil {
		return err // nobody to tell it to
	}
	ready := os.NewFile(control.ReadyFD, "ready")
	m, err := open(run)
	if err == nil {
		m.ready = ready
		err = m.live()
	}
	if err != nil {
		tell(ready, control.Ready{Error: err.Error(), Hint: errdef.Hint(err), Kind: errdef.KindOf(err)})
	}
	return err
}

// receiveAll waits for the descriptors, and puts them where they belong. Until then this process has done nothing that anybody could see. An engine that dies is the end of the socket.
func receiveAll() error {
	unix.CloseOnExec(control.ReadyFD)
	var fds []int
	for word := byte(control.Handing); word == control.Handing; {
		part, w, err := receiveSome()
		if err != nil {
			return err
		}
		fds, word = append(fds, part...), w
	}
	above := control.RootFD + len(fds)
	for i, fd := range fds { // out of the way first: one may have the number that another gets
		up, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, above)
		if err != nil {
			return errdef.Errorf(errdef.Unavailable, "monitor: %d descriptors: %w", len(fds), err)
		}
		_ = unix.Close(fd)
		fds[i] = up
	}
	for i, fd := range fds {
		if err := unix.Dup3(fd, control.RootFD+i, unix.O_CLOEXEC); err != nil {
			return errdef.Errorf(errdef.Unavailable, "monitor: descriptor %d: %w", control.RootFD+i, err)
		}
		_ = unix.Close(fd)
	}
	return nil
}

// receiveSome takes a message with descriptors.
func receiveSome() (fds []int, word byte, err error) {
	var b [1]byte
	oob := make([]byte, unix.CmsgSpace(4*control.MostFDs))
	n, oobn, flags, _, err := unix.Recvmsg(control.ReadyFD, b[:], oob, unix.MSG_CMSG_CLOEXEC)
	for err == unix.EINTR {
		n, oobn, flags, _, err = unix.Recvmsg(control.ReadyFD, b[:], oob, unix.MSG_CMSG_CLOEXEC)
	}
	if err != nil || n != 1 {
		return nil, 0, errdef.Errorf(errdef.Unavailable, "monitor: the engine has gone: %d, %v", n, err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err == nil && len(messages) == 1 && flags&unix.MSG_CTRUNC == 0 {
		fds, err = unix.ParseUnixRights(&messages[0])
	}
	if err != nil || len(fds) == 0 {
		return nil, 0, errdef.WithHint(errdef.Errorf(errdef.Unavailable, "monitor: descriptors that came are lost: %v", err), "raise the limit of open files (ulimit -n)")
	}
	return fds, b[0], nil
}

// tell writes what the engine waits for, and lets others work on the container: if the engine was killed meanwhile, they had to wait for us.
func tell(f *os.File, r control.Ready) {
	if data, err := json.Marshal(r); err == nil {
		_, _ = f.Write(data)
	}
	_ = f.Close()
	_ = unix.Close(control.StartFD)
}

// open reads the orders and takes the lock.
func open(run string) (*monitor, error) {
	m := &monitor{ended: make(chan struct{}), wake: make(chan struct{})}
	data, err := os.ReadFile(filepath.Join(run, control.OrdersFile))
	if err == nil {
		err = json.Unmarshal(data, &m.o)
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "monitor: orders: %w", err)
	}
	lock, err := unix.Open(filepath.Join(run, control.LockFile), unix.O_RDONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "monitor: lock: %w", err)
	}
	// The descriptor is never closed: the lock lasts as long as this process.
	if ok, err := atomicfile.TryFlock(lock, atomicfile.Exclusive); err != nil || !ok {
		return nil, errdef.Errorf(errdef.Conflict, "monitor: the container has one already")
	}
	m.rt = &runtime.Runtime{Root: m.o.RuntimeRoot, Systemd: m.o.Systemd, Rootless: m.o.Rootless, SeccompCache: m.o.SeccompCache}
	return m, unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
}

// live mounts the root, serves the socket, and runs the program as often as the policy says.
func (m *monitor) live() error {
	if err := m.mountRoot(); err != nil {
		return err
	}
	if err := m.makeDevices(); err != nil {
		return err
	}
	log, err := openLog(&m.o.Log)
	if err != nil {
		return err
	}
	m.fan = newFan(log)
	m.net = m.newNetworks()
	stop, err := m.serve()
	if err != nil {
		return err
	}
	defer stop()
	if err := m.adopt(); err != nil {
		return err
	}
	pause := firstPause
	for {
		start := time.Now()
		err := m.once()
		if m.ready != nil { // it never ran
			_ = m.net.close() // what stays is void, and is healed
			return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "%w", err), errdef.Hint(err))
		}
		if time.Since(start) > goodRun {
			pause = firstPause
		}
		if !m.again(err) {
			break
		}
		select {
		case <-time.After(pause):
		case <-m.wake:
		}
		pause = min(2*pause, longPause)
		if m.isStopping() {
			break
		}
	}
	return m.finish()
}

// mountRoot puts the container's root into the mount namespace that this process was born in. The engine makes that one: unshare(2) would move one thread of
// many.
func (m *monitor) mountRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return errdef.Errorf(errdef.Internal, "monitor: make / a slave: %w", err)
	}
	target := filepath.Join(m.o.Run, control.Rootfs)
	if err := unix.MoveMount(control.RootFD, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return errdef.Errorf(errdef.Internal, "monitor: mount the root at %s: %w", target, err)
	}
	if err := unix.Close(control.RootFD); err != nil {
		return err
	}
	return m.mountOthers()
}

// set changes the state and keeps it.
func (m *monitor) set(change func(*control.State)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.state)
	m.state.Monitor, m.state.Fleeting = os.Getpid(), len(m.o.AutoRemove) > 0
	return control.WriteState(m.o.Dir, &m.state)
}

func (m *monitor) isStopping() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stopping
}

// again reports whether the policy wants another run. err is why the last start failed.
func (m *monitor) again(err error) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopping {
		return false
	}
	r := m.o.Restart
	failed := err != nil || m.state.ExitCode != 0
	yes := m.afresh || r.Policy == "always" || r.Policy == "unless-stopped" || r.Policy == "on-failure" && failed && (r.Most == 0 || m.state.Restarts < r.Most)
	if m.afresh = false; yes {
		m.state.Phase = control.Restarting
		m.state.Restarts++
		_ = control.WriteState(m.o.Dir, &m.state) // the next one says it again
	}
	return yes
}

// finish tells all who wait, and removes what nobody wants to keep.
func (m *monitor) finish() error {
	netErr := m.net.close()
	err := m.set(func(s *control.State) {
		s.Phase, s.PID, s.ByHand = control.Exited, 0, m.stopping
	})
	if err == nil {
		err = netErr
	}
	close(m.ended)
	look := 20 * time.Microsecond
	for end := time.Now().Add(patience); m.waiting.Load() > 0 && time.Now().Before(end); look = min(2*look, time.Millisecond) { // who waits is told before we go
		time.Sleep(look)
	}
	m.programs.rest(patience)
	m.stdin.finish()
	m.fan.close()
	if removed := m.remove(); err == nil {
		err = removed
	}
	return err
}

// remove removes the container, if that was asked for.
func (m *monitor) remove() error {
	m.mu.Lock()
	paths := m.o.AutoRemove
	m.mu.Unlock()
	if len(paths) == 0 {
		return nil
	}
	// What is mounted there is not to be removed, and would be.
	if err := unix.Unmount(filepath.Join(m.o.Run, control.Rootfs), unix.MNT_DETACH); err != nil {
		return errdef.Errorf(errdef.Internal, "monitor: unmount the root: %w", err)
	}
	if err := m.unmountOthers(); err != nil {
		return err
	}
	if len(m.o.Devices) > 0 {
		if err := unix.Unmount(filepath.Join(m.o.Run, control.DevicesDir), unix.MNT_DETACH); err != nil {
			return errdef.Errorf(errdef.Internal, "monitor: unmount the devices: %w", err)
		}
	}
	// The directory that says that there is a container goes first by its name, and then, of what is in it, after what is to be removed with it: a sweep reads there what that is.
	trash := m.o.Dir + ".old"
	err := os.Rename(m.o.Dir, trash)
	if err != nil {
		err = errdef.Errorf(errdef.Unavailable, "monitor: remove the container: %w", err)
	}
	for _, path := range paths {
		if path == m.o.Dir {
			path = trash
		}
		if data, e := os.ReadFile(path); e == nil && !strings.HasPrefix(string(data), m.o.ID) {
			continue // a claim that is somebody else's by now
		}
		if _, e := os.Lstat(filepath.Join(path, control.SharedFile)); e == nil {
			continue // a volume that another container has got, too
		}
		if e := os.RemoveAll(path); err == nil && e != nil {
			err = errdef.Errorf(errdef.Unavailable, "monitor: remove the container: %w", e)
		}
	}
	if e := m.giveBack(); err == nil {
		err = e
	}
	if e := m.freeProject(); err == nil {
		err = e
	}
	m.event(events.ActionDestroy, nil)
	return err
}

// giveBack gives the SELinux categories of a container back that is removed: after its files are gone, which have them. What cannot be given back names a container that is no more, and is swept.
func (m *monitor) giveBack() error {
	c := m.o.Categories
	if c.Level == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), endPatience)
	defer cancel()
	pool, err := category.Open(c.Dir)
	if err == nil {
		err = pool.Release(ctx, m.o.ID, c.Level)
		_ = pool.Close()
	}
	return err
}

// clean ends what is left of the container.
func (m *monitor) clean() error {
	ctx, cancel := context.WithTimeout(context.Background(), endPatience)
	defer cancel()
	return m.rt.Delete(ctx, m.o.ID, true)
}
