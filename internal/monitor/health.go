package monitor

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/labelpipe"
	"github.com/bulkhead-engine/bulkhead/internal/linux/pidfd"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/bulkhead-engine/bulkhead/internal/runtime"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Bounds of what is kept of a check, as Docker has them.
const (
	maxResults = 5
	maxOutput  = 4096 // bytes
)

// The states of a program's health.
const (
	starting  = "starting"
	healthy   = "healthy"
	unhealthy = "unhealthy"
)

// A health runs the checks of one run of the program.
type health struct {
	m     *monitor
	c     *control.Check
	began time.Time // with the monotonic clock: the wall clock may jump
	now   control.Health
	stop  context.CancelFunc
	done  sync.WaitGroup
}

// watchHealth begins to check, if that was asked for. What an earlier run had is forgotten.
func (m *monitor) watchHealth() *health {
	h := &health{m: m, c: m.o.Health, began: time.Now(), now: control.Health{Status: starting}, stop: func() {}}
	if h.c == nil {
		return h
	}
	_ = control.WriteHealth(m.o.Dir, &h.now)
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	h.done.Go(func() { h.loop(ctx) })
	return h
}

// close ends the checks, with the one that runs.
func (h *health) close() {
	h.stop()
	h.done.Wait()
}

// pause is how long it is to the next check.
func (h *health) pause() time.Duration {
	if h.now.Status == starting && time.Since(h.began) < h.c.StartPeriod {
		return h.c.StartInterval
	}
	return h.c.Interval
}

func (h *health) loop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(h.pause()):
		}
		r, err := h.check(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil { // it is paused
			continue
		}
		if h.take(r) && h.fail(ctx) {
			return
		}
	}
}

// take adds a result, and reports whether the program has just become unhealthy.
func (h *health) take(r control.Result) bool {
	before := h.now.Status
	h.now.Log = append(h.now.Log, r)
	h.now.Log = h.now.Log[max(0, len(h.now.Log)-maxResults):]
	switch {
	case r.ExitCode == 0:
		h.now.FailingStreak, h.now.Status = 0, healthy
	case before == starting && time.Since(h.began) < h.c.StartPeriod: // it may take its time
	default:
		if h.now.FailingStreak++; h.now.FailingStreak >= h.c.Retries {
			h.now.Status = unhealthy
		}
	}
	_ = control.WriteHealth(h.m.o.Dir, &h.now) // a full disk is no reason to judge the program
	if before == h.now.Status {
		return false
	}
	h.m.event(events.Action(string(events.ActionHealthStatus)+": "+h.now.Status), nil)
	return h.now.Status == unhealthy
}

// fail does what was asked for when the program is unhealthy, and reports whether the program ends of it.
func (h *health) fail(ctx context.Context) bool {
	switch h.c.OnFailure {
	case "kill":
	case "stop":
		h.m.meanIt()
	case "restart":
		h.m.mu.Lock()
		h.m.afresh = true
		h.m.mu.Unlock()
	default:
		return false
	}
	return h.m.rt.Kill(ctx, h.m.o.ID, unix.SIGKILL) == nil
}

// check runs one check. An error says that it could not be begun because of the container, and not because of the check.
func (h *health) check(ctx context.Context) (control.Result, error) {
	r := control.Result{Start: time.Now().UTC()}
	limit, cancel := context.WithTimeout(ctx, h.c.Timeout)
	defer cancel()
	out := &bounded{}
	code, err := h.m.probe(limit, h.c.Args, out)
	r.End, r.ExitCode, r.Output = time.Now().UTC(), code, out.text()
	switch {
	case errdef.Is(err, errdef.Conflict) && limit.Err() == nil:
		return r, err
	case limit.Err() != nil:
		r.ExitCode, r.Output = -1, "Health check exceeded timeout ("+h.c.Timeout.String()+"): "+r.Output
	case err != nil:
		r.ExitCode, r.Output = -1, err.Error()
	}
	r.Output = r.Output[:min(len(r.Output), maxOutput)]
	return r, nil
}

// A bounded keeps the beginning of what is written to it.
type bounded struct {
	mu  sync.Mutex
	b   []byte
	cut bool
}

func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	room := maxOutput - len(b.b)
	b.cut = b.cut || len(p) > room
	b.b = append(b.b, p[:min(room, len(p))]...)
	return len(p), nil
}

func (b *bounded) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := strings.ToValidUTF8(string(b.b), "\uFFFD")
	if b.cut && len(s) > maxOutput-3 {
		s = strings.ToValidUTF8(s[:maxOutput-3], "") + "..."
	}
	return s
}

// probe runs a program in the container until it ends or ctx does, and returns its exit code.
func (m *monitor) probe(ctx context.Context, args []string, out io.Writer) (int, error) {
	w, r, err := labelpipe.Files(m.o.Label, false)
	if err != nil {
		return -1, err
	}
	defer r.Close()
	process, err := m.startProbe(ctx, args, w)
	_ = w.Close()
	if err != nil {
		return -1, err
	}
	defer process.Close()
	copied := make(chan struct{})
	go func() { _, _ = io.Copy(out, r); close(copied) }()
	if err := process.Await(ctx); err != nil {
		_ = process.Signal(unix.SIGKILL)
	}
	status, err := process.Wait()
	select {
	case <-copied:
	case <-time.After(100 * time.Millisecond): // something that it left behind has the pipe
	}
	_ = r.Close()
	<-copied
	if err != nil {
		return -1, errdef.Errorf(errdef.Internal, "wait for the health check: %w", err)
	}
	if status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return status.ExitStatus(), nil
}

// startProbe starts a program in the container. It inherits our standard descriptors, which are its own meanwhile.
func (m *monitor) startProbe(ctx context.Context, args []string, out *os.File) (pidfd.Process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return pidfd.Process{}, errdef.Errorf(errdef.Unavailable, "health check: %w", err)
	}
	defer null.Close()
	file := filepath.Join(m.o.Run, "health.pid")
	defer os.Remove(file)
	err = lend([3]*os.File{null, out, out}, func() error {
		_, err := m.rt.Exec(ctx, m.o.ID, &runtime.ExecOptions{Detach: true, PIDFile: file, Process: func(p *specs.Process) (*specs.Process, error) {
			p.Args, p.Terminal = args, false
			return p, nil
		}})
		return err
	})
	if err != nil {
		return pidfd.Process{}, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return pidfd.Process{}, errdef.Errorf(errdef.Internal, "health check: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return pidfd.Process{}, errdef.Errorf(errdef.Internal, "health check: %w", err)
	}
	return pidfd.Open(pid) // our child, which nobody else waits for: the number is its own
}

// lend puts descriptors in the place of 0, 1 and 2 while do runs.
func lend(files [3]*os.File, do func() error) (err error) {
	var saved [3]int
	for i := range saved {
		if saved[i], err = unix.FcntlInt(uintptr(i), unix.F_DUPFD_CLOEXEC, 10); err != nil {
			return errdef.Errorf(errdef.Unavailable, "monitor: duplicate a descriptor: %w", err)
		}
	}
	defer func() {
		for i, fd := range saved {
			err = errors.Join(err, unix.Dup3(fd, i, 0))
			_ = unix.Close(fd)
		}
	}()
	for i, f := range files {
		if err := unix.Dup3(int(f.Fd()), i, 0); err != nil {
			return errdef.Errorf(errdef.Unavailable, "monitor: duplicate a descriptor: %w", err)
		}
	}
	return do()
}
