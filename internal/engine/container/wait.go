package container

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/event"
	"github.com/bulkhead-engine/bulkhead/internal/linux/pidfd"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"golang.org/x/sys/unix"
)

const (
	firstLook   = time.Millisecond       // at a container that another process may start; then each look takes longer
	lastLook    = 100 * time.Millisecond // up to this
	restartLook = 20 * time.Millisecond  // at a container that is started again after a pause of at least 100 ms
	mostReady   = 64                     // who may wait for the start of a container in this process
)

// coming are those who are attached to containers that do not run yet, or wait for their end: sockets with a request in them, which the start hands to the monitor, so that
// they miss nothing of a program that lives for a millisecond. The zero value has none.
type coming struct {
	mu sync.Mutex
	by map[string][]*os.File
}

func (p *coming) add(id string, f *os.File) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.by[id]) >= mostReady {
		return errdef.Errorf(errdef.Unavailable, "container %s: %d clients wait for its start already", id[:12], mostReady)
	}
	if p.by == nil {
		p.by = map[string][]*os.File{}
	}
	p.by[id] = append(p.by[id], f)
	return nil
}

// take returns all that have come for a container, which are the caller's then.
func (p *coming) take(id string) []*os.File {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.by[id]
	delete(p.by, id)
	return out
}

// drop closes one that was not taken; false if it was.
func (p *coming) drop(id string, f *os.File) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := slices.Index(p.by[id], f)
	if at < 0 {
		return false
	}
	p.by[id] = slices.Delete(p.by[id], at, at+1)
	if len(p.by[id]) == 0 {
		delete(p.by, id)
	}
	_ = f.Close()
	return true
}

// ask sends a request to the monitor of a container, or, if it has none now, to the next one, before the program runs. ready is called when no start can be missed
// any more, and once more with the answer. It returns when the monitor has answered.
func (s *Service) ask(ctx context.Context, id string, q control.Request, ready func()) (*control.Conn, error) {
	for {
		c, err := s.get(id)
		if err != nil {
			return nil, err
		}
		if !c.Alive {
			if conn, err := s.await(ctx, id, q, ready); conn != nil || err != nil {
				return conn, err
			}
			continue
		}
		conn, err := control.Open(ctx, s.runDir(id))
		if err == nil {
			if q.Op == "wait" { // whose answer is the end
				ready()
			}
			var answer *control.Conn
			if answer, err = answered(ctx, conn, q); err == nil {
				ready()
				return answer, nil
			}
			if errdef.Is(err, errdef.Conflict) { // it was understood, and refused
				return nil, err
			}
		}
		if ctx.Err() != nil {
			return nil, err
		}
		if c, gerr := s.get(id); gerr != nil || !c.Alive && q.Op == "wait" { // it has ended meanwhile, and the state says how
			return nil, errdef.Errorf(errdef.Unavailable, "container %s ends: %w", id[:12], errors.Join(err, gerr))
		}
		time.Sleep(firstLook) // it is being born, or ends
	}
}

// answered asks, and gives up when the context ends.
func answered(ctx context.Context, conn net.Conn, q control.Request) (*control.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	c, err := control.Ask(conn, q)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		if cause := context.Cause(ctx); cause != nil {
			err = errdef.Errorf(errdef.Timeout, "monitor: %w", cause)
		}
		return nil, err
	}
	return c, nil
}

// await waits for the start of a container. Nothing and no error: another process has started it.
func (s *Service) await(ctx context.Context, id string, q control.Request, ready func()) (*control.Conn, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	if err := s.coming.add(id, theirs); err != nil {
		_ = ours.Close()
		_ = theirs.Close()
		return nil, err
	}
	ready()
	type reply struct {
		conn *control.Conn
		err  error
	}
	done := make(chan reply, 1)
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		c, err := answered(inner, ours, q)
		done <- reply{c, err}
	}()
	look := firstLook
	for {
		select {
		case r := <-done:
			s.coming.drop(id, theirs)
			return r.conn, r.err
		case <-time.After(look):
		}
		look = min(2*look, lastLook)
		err := error(nil)
		if !s.exists(id) {
			err = errdef.Errorf(errdef.NotFound, "no such container: %s", id)
		}
		if err == nil && look < lastLook && !control.Alive(s.runDir(id)) {
			continue
		}
		if err == nil { // not each time: what a killed monitor left is ended by this
			if c, gerr := s.get(id); gerr == nil && !c.Alive {
				continue
			}
		}
		if !s.coming.drop(id, theirs) { // this process starts it
			r := <-done
			return r.conn, r.err
		}
		cancel()
		if r := <-done; r.conn != nil {
			_ = r.conn.Close()
		}
		return nil, err
	}
}

// pair makes two ends of a connection: ours, and one for a monitor.
func pair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, errdef.Errorf(errdef.Unavailable, "socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	conn, err := net.FileConn(ours)
	_ = ours.Close()
	if err != nil {
		_ = theirs.Close()
		return nil, nil, errdef.Errorf(errdef.Unavailable, "socketpair: %w", err)
	}
	return conn, theirs, nil
}

// Wait returns the exit code of a container: at once if it does not run (not-running), of its next end (next-exit), of its last when it is gone (removed). ready is called when
// nothing that happens from then on is missed.
func (s *Service) Wait(ctx context.Context, name string, until api.WaitCondition, ready func()) (api.WaitResponse, error) {
	var none api.WaitResponse
	c, err := s.Get(name)
	if err != nil {
		return none, err
	}
	ready = sync.OnceFunc(ready)
	if until == api.WaitConditionNotRunning && !c.Alive {
		ready()
		return api.WaitResponse{StatusCode: int64(c.State.ExitCode)}, nil
	}
	code, seen := c.State.ExitCode, false // what was seen last: of one that is being removed the record may be there when its state is not any more
	for {
		last, err := s.ended(ctx, c, until, ready)
		if err == nil {
			code, seen = last, true
		}
		if err == nil && until != api.WaitConditionRemoved {
			return api.WaitResponse{StatusCode: int64(code)}, nil
		}
		gone := errdef.Is(err, errdef.NotFound)
		if err != nil && !gone {
			return none, err
		}
		if gone {
			ready()
			if !seen { // another process has started it, and it was removed between two looks
				code = s.recordedExit(ctx, &c.Record, code)
			}
			return api.WaitResponse{StatusCode: int64(code)}, nil
		}
		if c, err = s.get(c.ID); errdef.Is(err, errdef.NotFound) {
			return api.WaitResponse{StatusCode: int64(code)}, nil
		}
		if err == nil && c.Host.AutoRemove && !c.Alive && (c.State.Error == killed || c.State.Phase == control.Created) {
			err = s.Remove(ctx, c.ID, option.Remove{}) // its monitor cannot any more
		}
		if err != nil {
			return none, err
		}
	}
}

// recordedExit is the exit code of a container that is gone, as the record of events has it; otherwise if it has none.
func (s *Service) recordedExit(ctx context.Context, r *Record, otherwise int) int {
	code := otherwise
	died := event.Filter{"container": {r.ID}, "event": {string(events.ActionDie)}}
	_ = event.Open(s.eventDir()).Follow(ctx, r.Created, time.Now(), died, func(m events.Message) error {
		if n, err := strconv.Atoi(m.Actor.Attributes["exitCode"]); err == nil {
			code = n
		}
		return nil
	})
	return code
}

// ended returns the exit code of the run of a container that is under way, or of the next one if none is. Of kind NotFound: it is gone.
func (s *Service) ended(ctx context.Context, before *Container, until api.WaitCondition, ready func()) (int, error) {
	if p := before.Host.RestartPolicy.Name; p != "" && p != "no" {
		inner, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		go s.watchRestarts(inner, before, cancel)
		ctx = inner
	}
	for {
		conn, err := s.ask(ctx, before.ID, control.Request{Op: "wait"}, ready)
		if err == nil {
			_ = conn.Close()
			if st := conn.Reply.State; st != nil && (before.Alive || !st.Finished.Equal(before.State.Finished)) { // else a monitor's last instant
				if until == api.WaitConditionRemoved && before.Host.AutoRemove {
					awaitMonitor(ctx, st.Monitor)
				}
				return conn.Reply.State.ExitCode, nil
			}
		}
		if cause := context.Cause(ctx); cause != nil {
			if again, ok := cause.(restarted); ok {
				return int(again), nil
			}
			return -1, errdef.Errorf(errdef.Timeout, "wait for container %s: %w", before.ID[:12], cause)
		}
		c, err := s.get(before.ID)
		if err != nil {
			return -1, err
		}
		// One without a time has not ended: of a container that is being removed the state may be gone before the record.
		if !c.Alive && !c.State.Finished.IsZero() && !c.State.Finished.Equal(before.State.Finished) {
			return c.State.ExitCode, nil
		}
		time.Sleep(firstLook)
	}
}

// awaitMonitor waits until a monitor has ended that has told its last word, and removes its container now.
func awaitMonitor(ctx context.Context, pid int) {
	p, err := pidfd.Open(pid)
	if err != nil {
		return // it has
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(ctx, lastInstant)
	defer cancel()
	_ = p.Await(ctx) // who asked looks again in any case
}

// restarted is the exit code of a run that another one follows.
type restarted int

func (restarted) Error() string { return "it was started again" }

// watchRestarts looks for the end of a run after which the monitor starts the program again: it answers only for the last one.
func (s *Service) watchRestarts(ctx context.Context, before *Container, cancel context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(restartLook):
		}
		st, err := control.ReadState(s.dir(before.ID))
		if err == nil && st.Phase == control.Restarting && st.Restarts != before.State.Restarts {
			cancel(restarted(st.ExitCode))
			return
		}
	}
}
