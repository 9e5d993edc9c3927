package monitor

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/labelpipe"
	"github.com/bulkhead-engine/bulkhead/internal/linux/pidfd"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/bulkhead-engine/bulkhead/internal/runtime"
	"github.com/moby/moby/api/types/events"
	"golang.org/x/sys/unix"
)

// drainTime bounds how long output is read after the last process has ended: what still holds the pipe is no process of the container.
const drainTime = 3 * time.Second

// settleTime is when a program is taken for one that stays: what its start has used of memory is given back then.
const settleTime = time.Second

// once starts the program and waits for its end.
func (m *monitor) once() error {
	s, err := m.open()
	if err != nil {
		return m.failed(err)
	}
	defer s.close()
	ctx := context.Background()
	err = s.create(ctx, m)
	if nerr := m.net.joined(); err == nil && nerr != nil {
		err = nerr
		_ = m.clean()
	}
	if err != nil {
		_ = m.net.ended() // what stays is void, and is healed
		return m.failed(err)
	}
	var copies sync.WaitGroup
	m.copy(s, &copies)
	process, err := m.started(ctx)
	if err != nil {
		_, _ = m.clean(), m.net.ended()
		return m.failed(err)
	}
	if m.isStopping() { // somebody wanted its end before there was a program to be told
		_ = process.Signal(unix.SIGKILL)
	}
	began := time.Now()
	check, endMemory := m.watchHealth(), m.watchMemory()
	settled := time.AfterFunc(settleTime, settle)
	defer settled.Stop()
	code, err := m.wait(process, check)
	oom := m.ranOut()
	endMemory(oom)
	cleanErr := m.clearAway()
	drained := make(chan struct{})
	go func() { copies.Wait(); close(drained) }()
	select {
	case <-drained:
	case <-time.After(drainTime):
	}
	m.forget()
	m.fan.log.flush()
	if err == nil {
		err = cleanErr
	}
	m.mu.Lock() // written with what comes of it: another run, or the end
	m.state.PID, m.state.ExitCode, m.state.OOMKilled, m.state.Finished, m.state.Error = 0, code, oom, time.Now().UTC(), ""
	if err != nil {
		m.state.Error = err.Error()
	}
	m.mu.Unlock()
	m.died(code, time.Since(began))
	return err
}

// clearAway ends what is left of the container, and disconnects it meanwhile.
func (m *monitor) clearAway() error {
	disconnected := make(chan error, 1)
	go func() { disconnected <- m.net.ended() }()
	err := m.clean()
	if nerr := <-disconnected; err == nil {
		err = nerr
	}
	return err
}

// failed records that the program did not start. If it never did, that is the end.
func (m *monitor) failed(err error) error {
	_ = m.set(func(s *control.State) {
		s.PID, s.ExitCode, s.Error, s.Finished = 0, exitCode(err), err.Error(), time.Now().UTC()
		if m.ready != nil {
			s.Phase = control.Exited
		}
	})
	return err
}

// exitCode is Docker's for a container that did not start: 127 if there is no such program, 126 if it cannot be executed, else 128.
func exitCode(err error) int {
	switch {
	case errdef.Is(err, errdef.NotFound):
		return 127
	case errdef.Is(err, errdef.Denied):
		return 126
	}
	return 128
}

// started lets the program run, and tells the engine.
func (m *monitor) started(ctx context.Context) (pidfd.Process, error) {
	state, err := m.rt.State(m.o.ID)
	if err != nil {
		return pidfd.Process{}, err
	}
	process, err := pidfd.Open(state.PID)
	if err != nil {
		return pidfd.Process{}, err
	}
	if err := m.rt.Start(ctx, m.o.ID, ""); err != nil {
		_ = process.Close()
		return pidfd.Process{}, err
	}
	err = m.set(func(s *control.State) {
		s.Phase, s.PID, s.Started, s.Error, s.ExitCode, s.OOMKilled = control.Running, state.PID, time.Now().UTC(), "", 0, false
	})
	m.event(events.ActionStart, nil) // before the engine can say that the container runs
	if m.ready != nil {
		tell(m.ready, control.Ready{PID: state.PID})
		m.ready = nil
	}
	return process, err
}

// wait returns the exit code of the program: 128 and the number of a signal that ended it. Orphans of the container that come to us meanwhile are reaped: when the health check that
// may run is over, which has a child of its own.
func (m *monitor) wait(process pidfd.Process, check *health) (int, error) {
	defer process.Close()
	status, err := process.Wait()
	check.close()
	if err != nil {
		return 128, errdef.Errorf(errdef.Internal, "wait for the program: %w", err)
	}
	for m.programs.add(0) == 0 { // whose end somebody else waits for
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); pid <= 0 || err != nil {
			break
		}
	}
	if status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return status.ExitStatus(), nil
}

// ranOut reports whether the kernel has killed a process of the container for want of memory.
func (m *monitor) ranOut() bool {
	s, err := m.rt.State(m.o.ID)
	return err == nil && s.OOMKilled
}

// streams are what a program has as its standard streams, and our ends of them.
type streams struct {
	child [3]*os.File // the program's; nil with a terminal
	ours  [3]*os.File // input, output, error output; nil: none
	tty   string      // the socket to which the terminal comes, "": none
	take  func() (*os.File, error)
}

func (m *monitor) open() (*streams, error) {
	s := &streams{}
	if m.o.TTY {
		return s, s.listen(m.o.Run)
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "monitor: %w", err)
	}
	s.child[0] = null
	for i := range 3 {
		if i == 0 && !m.o.OpenStdin {
			continue
		}
		theirs, ours, err := labelpipe.Files(m.o.Label, i == 0)
		if err != nil {
			s.close()
			return nil, errdef.Errorf(errdef.KindOf(err), "monitor: %w", err)
		}
		// Both ends are one inode. Whoever has no root outside can give nothing away.
		if err := ours.Chown(int(m.o.Owner[0]), int(m.o.Owner[1])); err != nil && !m.o.Rootless {
			_, _ = ours.Close(), theirs.Close()
			s.close()
			return nil, errdef.Errorf(errdef.Unavailable, "monitor: pipe: %w", err)
		}
		if i == 0 {
			_ = null.Close()
		}
		s.child[i], s.ours[i] = theirs, ours
	}
	return s, nil
}

// close closes what is still open.
func (s *streams) close() {
	for _, f := range append(s.child[:], s.ours[:]...) {
		if f != nil {
			_ = f.Close()
		}
	}
	if s.tty != "" {
		_ = os.Remove(s.tty)
	}
}

// create makes the container, which inherits our standard descriptors: they are its own meanwhile.
func (s *streams) create(ctx context.Context, m *monitor) error {
	o := &runtime.CreateOptions{Bundle: m.o.Run, ConsoleSocket: s.tty, Born: m.net.born}
	if s.tty != "" {
		if err := m.rt.Create(ctx, m.o.ID, o); err != nil {
			return err
		}
		f, err := s.take()
		if err != nil {
			_ = m.clean()
			return err
		}
		s.ours[1] = f
		return nil
	}
	err := lend(s.child, func() error { return m.rt.Create(ctx, m.o.ID, o) })
	for i, f := range s.child { // the end of the program's is the end of the pipe
		_ = f.Close()
		s.child[i] = nil
	}
	return err
}
