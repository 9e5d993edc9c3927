package container

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/moby/moby/api/types/events"
	"golang.org/x/sys/unix"
)

// DefaultStopTimeout is how long a program has to end by itself.
const DefaultStopTimeout = 10 * time.Second

// Kill sends a signal to the program of a container, SIGKILL if none is named. That one ends a restart policy: somebody wants it so.
func (s *Service) Kill(ctx context.Context, name, signal string) error {
	if signal == "" {
		signal = "KILL"
	}
	sig, err := ParseSignal(signal)
	if err != nil {
		return err
	}
	c, err := s.started(ctx, name)
	if err != nil {
		return err
	}
	if !c.Alive || c.State.Phase != control.Running {
		return errdef.Errorf(errdef.Conflict, "cannot kill container %s: it is not running", c.Name)
	}
	if sig == unix.SIGKILL {
		if err := s.stopping(ctx, c.ID); err != nil {
			return err
		}
	}
	if err := s.rt.Kill(ctx, c.ID, sig); err != nil {
		return err
	}
	s.event(&c.Record, events.ActionKill, "signal", strconv.Itoa(int(sig)))
	return nil
}

// started is a container whose start, if one is under way, is over: its program may already have said something before its state says that it runs, and a signal that
// somebody sends then is for it.
func (s *Service) started(ctx context.Context, name string) (*Container, error) {
	for end := time.Now().Add(startTime); ; {
		c, err := s.Get(name)
		if err != nil || !c.Alive || c.State.Phase != control.Created && c.State.Phase != control.Exited || time.Now().After(end) {
			return c, err
		}
		select {
		case <-ctx.Done():
			return c, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// stopping tells the monitor that the end is meant.
func (s *Service) stopping(ctx context.Context, id string) error {
	conn, err := control.Dial(ctx, s.runDir(id), control.Request{Op: "stopping"})
	if err != nil {
		return err
	}
	return conn.Close()
}

// Stop asks the program of a container to end, and kills it when the time is over. One that does not run is an error of kind Exists: it is so already.
func (s *Service) Stop(ctx context.Context, name string, o option.Stop) error {
	c, err := s.Get(name)
	if err != nil {
		return err
	}
	if !c.Alive {
		return errdef.Errorf(errdef.Exists, "container %s does not run", c.Name)
	}
	return s.halt(ctx, c, o)
}

// halt stops a container that runs.
func (s *Service) halt(ctx context.Context, c *Container, o option.Stop) error {
	if o.Signal == "" {
		o.Signal = c.Config.StopSignal
	}
	sig := unix.SIGTERM
	if o.Signal != "" {
		var err error
		if sig, err = ParseSignal(o.Signal); err != nil {
			return err
		}
	}
	patience := DefaultStopTimeout
	if c.Config.StopTimeout != nil {
		patience = time.Duration(*c.Config.StopTimeout) * time.Second
	}
	if o.Timeout != nil {
		patience = *o.Timeout
	}
	if patience >= 0 { // what was begun is brought to its end, as Docker does
		ctx = context.WithoutCancel(ctx)
	}
	return s.stop(ctx, c, sig, patience)
}

// stop sends a signal to a container that runs, and kills it when it has not ended in time; a negative time is for ever.
func (s *Service) stop(ctx context.Context, c *Container, sig unix.Signal, patience time.Duration) error {
	if err := s.stopping(ctx, c.ID); err != nil {
		return s.gone(c.ID, err)
	}
	paused := s.paused(c)
	if err := s.rt.Kill(ctx, c.ID, sig); err != nil && !errdef.Is(err, errdef.Conflict) && !errdef.Is(err, errdef.NotFound) && !errdef.Is(err, errdef.Internal) {
		return err // killHard sees to one whose record cannot be read
	}
	if paused { // else it would not see the signal
		_ = s.rt.Resume(ctx, c.ID)
	}
	s.event(&c.Record, events.ActionKill, "signal", strconv.Itoa(int(sig)))
	waiting, cancel := ctx, func() {}
	if patience >= 0 {
		waiting, cancel = context.WithTimeout(ctx, patience)
	}
	_, err := s.exitOf(waiting, c.ID)
	cancel()
	if err != nil && ctx.Err() == nil && waiting.Err() != nil {
		s.event(&c.Record, events.ActionKill, "signal", strconv.Itoa(int(unix.SIGKILL)))
		err = s.killHard(ctx, c.ID)
	}
	if err == nil {
		s.event(&c.Record, events.ActionStop)
	}
	return err
}

// killHard kills until the container has ended: one that is being started may have nothing yet to be killed.
func (s *Service) killHard(ctx context.Context, id string) error {
	end, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	for {
		if err := s.rt.Kill(end, id, unix.SIGKILL); err != nil && !errdef.Is(err, errdef.Conflict) && !errdef.Is(err, errdef.NotFound) && !errdef.Is(err, errdef.Internal) {
			return err
		} else if err != nil { // it is not there yet, or its record cannot be read
			s.killChild(id)
		}
		while, cancel := context.WithTimeout(end, 500*time.Millisecond)
		_, err := s.exitOf(while, id)
		cancel()
		if err == nil || end.Err() != nil || errdef.Is(err, errdef.NotFound) {
			return err
		}
	}
}

// lastInstant is how long a monitor that has said its last word may still be there.
const lastInstant = 5 * time.Second

// settled waits until a monitor that has ended is gone; false if it stays.
func (s *Service) settled(id string) bool {
	for end := time.Now().Add(lastInstant); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if !control.Alive(s.runDir(id)) {
			return true
		}
	}
	return false
}

// gone makes it no error that a monitor has ended meanwhile.
func (s *Service) gone(id string, err error) error {
	if s.settled(id) {
		return nil
	}
	return err
}

// exitOf returns the exit code of a container when it has ended for good: at once, if it does not run.
func (s *Service) exitOf(ctx context.Context, id string) (int, error) {
	for {
		conn, err := s.waitFor(ctx, id)
		switch {
		case err == nil && conn.State != nil:
			return conn.State.ExitCode, nil
		case ctx.Err() != nil:
			return -1, errdef.Errorf(errdef.Timeout, "wait for container %s: %w", id[:12], context.Cause(ctx))
		}
		c, gerr := s.get(id)
		if gerr != nil {
			return -1, gerr
		}
		if !c.Alive {
			return c.State.ExitCode, nil
		}
		time.Sleep(10 * time.Millisecond) // it is being born or is ending
	}
}

func (s *Service) waitFor(ctx context.Context, id string) (*control.Reply, error) {
	raw, err := control.Open(ctx, s.runDir(id))
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Now()) })
	defer stop()
	conn, err := control.Ask(raw, control.Request{Op: "wait"})
	if err != nil {
		return nil, err
	}
	return &conn.Reply, nil
}

// Remove removes a container, its writable layer and its log; with Volumes those without a name, too, which go with a container that removes itself in any case. What was begun
// is brought to its end when the client goes.
func (s *Service) Remove(ctx context.Context, name string, o option.Remove) error {
	if err := s.writable(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	for range 4 { // somebody may start it again, or be about to
		done, err := s.remove(ctx, name, o)
		if done || err != nil {
			return err
		}
	}
	return errdef.Errorf(errdef.Conflict, "cannot remove container %s: it is started again and again", name)
}

// remove is one try; not done is one that somebody has started meanwhile.
func (s *Service) remove(ctx context.Context, name string, o option.Remove) (done bool, err error) {
	c, err := s.Get(name)
	if errdef.Is(err, errdef.NotFound) && len(name) == 64 {
		return true, nil // by itself, meanwhile
	}
	if id, rerr := s.Resolve(name); errdef.Is(err, errdef.Internal) && c == nil && rerr == nil {
		return true, s.removeBroken(ctx, id)
	}
	if err != nil {
		return false, err
	}
	if c.Alive {
		if !o.Force {
			err := errdef.Errorf(errdef.Conflict, "cannot remove container %s: container is running", c.Name)
			return false, errdef.WithHint(err, "stop the container before removing or force remove")
		}
		zero := time.Duration(0)
		if err := s.halt(ctx, c, option.Stop{Timeout: &zero}); err != nil {
			return false, err
		}
	}
	lock, err := s.lock(ctx, c.ID)
	if errdef.Is(err, errdef.NotFound) {
		return true, nil // by itself
	}
	if err != nil {
		return false, err
	}
	defer lock.Close()
	if !s.settled(c.ID) {
		return false, nil
	}
	if err := s.healRemains(ctx, c.ID); err != nil {
		return false, err
	}
	if err := s.end(ctx, c.ID); err != nil {
		return false, err
	}
	return true, s.erase(ctx, &c.Record, o.Volumes)
}

// withVolumes is a file in the directory of a container that is removed with its volumes.
const withVolumes = "with-volumes"

// erase removes a container, the directory that says that there is one by a rename first. That is the last that goes: until then it says what is to be removed with it (Sweep).
func (s *Service) erase(ctx context.Context, r *Record, volumes bool) error {
	if volumes && len(anonymous(r.Points)) > 0 {
		if err := os.WriteFile(filepath.Join(s.dir(r.ID), withVolumes), nil, 0o600); err != nil && !os.IsNotExist(err) {
			return errdef.Errorf(errdef.Unavailable, "remove container: %w", err)
		}
	}
	trash := s.dir(r.ID) + ".old"
	if err := os.Rename(s.dir(r.ID), trash); err != nil && !os.IsNotExist(err) {
		return errdef.Errorf(errdef.Unavailable, "remove container: %w", err)
	}
	s.drop("names", r.Name, r.ID)
	s.dropRanges(r)
	if volumes || r.Host.AutoRemove {
		if err := s.removeVolumes(ctx, r); err != nil {
			return err
		}
	}
	for _, dir := range []string{s.runDir(r.ID), s.secretsOf(r.ID), trash} {
		if err := os.RemoveAll(dir); err != nil {
			return errdef.Errorf(errdef.Unavailable, "remove container: %w", err)
		}
	}
	s.dropLabels(r)
	s.freeProject(r)
	s.event(r, events.ActionDestroy)
	return nil
}

// ParseSignal reads a signal's name or number: TERM, SIGTERM, 15.
func ParseSignal(s string) (unix.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n < 65 {
		return unix.Signal(n), nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if sig := unix.SignalNum(name); sig != 0 {
		return sig, nil
	}
	const least, most = 34, 64 // SIGRTMIN and SIGRTMAX of the C libraries, which keep the first two of the kernel's for themselves (signal(7))
	for prefix, base := range map[string]int{"SIGRTMIN": least, "SIGRTMAX": most} {
		rest, ok := strings.CutPrefix(name, prefix)
		n, err := strconv.Atoi(rest)
		if rest == "" {
			err = nil
		}
		if ok && err == nil && base+n >= least && base+n <= most {
			return unix.Signal(base + n), nil
		}
	}
	return 0, errdef.Errorf(errdef.Invalid, "invalid signal: %s", s)
}
