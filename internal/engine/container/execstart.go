package container

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/moby/moby/api/types/events"
	"golang.org/x/sys/unix"
)

// drainTime is how long output is read when its program has ended: what still holds it is another program, which it left behind.
const drainTime = 2 * time.Second

// A running is an instance that this process has started, or is about to. Its program is a child of the container's monitor, and its end is recorded by that one: whatever
// becomes of this process, the program goes on, and how it ended is known.
type running struct {
	s *Service
	c *Container
	e *execRecord
	p *control.Program
}

// ExecStart runs the program of an instance. Without Detach it returns when that has ended, or the client has detached from it, which it outlives.
func (s *Service) ExecStart(ctx context.Context, id string, o option.Exec, open option.Open) error {
	e, err := s.claimExec(ctx, id)
	if err != nil {
		return err
	}
	c, err := s.execTarget(e.Container)
	if err != nil {
		return err
	}
	x := &running{s: s, c: c, e: e}
	if o.Height == 0 && e.Request.ConsoleSize != nil {
		o.Height, o.Width = uint16(e.Request.ConsoleSize[0]), uint16(e.Request.ConsoleSize[1])
	}
	s.event(&c.Record, execAction(events.ActionExecStart, e), "execID", e.ID) // before its end can be told
	if err := x.start(ctx, o); err != nil {
		err = startError(err)
		x.failed(exitCode(err))
		return err
	}
	defer x.p.Close()
	if o.Detach {
		return nil
	}
	streams, err := open(e.Request.Tty)
	if err != nil { // the client has gone at this moment: the program runs on
		return err
	}
	x.carry(ctx, x.wanted(streams))
	return nil
}

// claimExec marks an instance as started: it can be once.
func (s *Service) claimExec(ctx context.Context, id string) (*execRecord, error) {
	e, err := s.readExec(id)
	if err != nil {
		return nil, err
	}
	dir, err := openDir(s.execDir(e.Container))
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	ctx, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	if err := atomicfile.Flock(ctx, dir, atomicfile.Exclusive); err != nil {
		return nil, errdef.Errorf(errdef.KindOf(err), "exec instance %s: %w", id[:12], err)
	}
	if e, err = s.readExec(id); err != nil {
		return nil, err
	}
	if e.Started {
		if e.Ended {
			return nil, errdef.Errorf(errdef.Conflict, "exec instance %s has already run", id[:12])
		}
		return nil, errdef.Errorf(errdef.Conflict, "exec instance %s is already running", id[:12])
	}
	e.Started = true
	return e, s.writeExec(e)
}

// startError says what went wrong as Docker does, from whose text clients make an exit status.
func startError(err error) error {
	text := errdef.Errorf(errdef.KindOf(err), "OCI runtime exec failed: exec failed: unable to start container process: %w", err)
	return option.NotStarted(errdef.WithHint(text, errdef.Hint(err)))
}

// exitCode is Docker's for a program that did not start.
func exitCode(err error) int {
	if errdef.Is(err, errdef.NotFound) {
		return 127
	}
	return 126
}

// failed records that a program did not start.
func (x *running) failed(code int) {
	x.e.Ended, x.e.ExitCode = true, &code
	x.s.event(&x.c.Record, events.ActionExecDie, "execID", x.e.ID, "exitCode", strconv.Itoa(code))
	x.write()
}

// write keeps the record, if the container is there still.
func (x *running) write() {
	if err := x.s.writeExec(x.e); err != nil && x.s.exists(x.c.ID) && x.s.o.Warn != nil {
		if _, gone := os.Lstat(x.s.execDir(x.c.ID)); gone == nil {
			x.s.o.Warn(err)
		}
	}
}

// wanted are the streams that the instance was made with.
func (x *running) wanted(s option.Streams) option.Streams {
	q := &x.e.Request
	if !q.AttachStdin {
		s.In = nil
	}
	if !q.AttachStdout {
		s.Out = nil
	}
	if !q.AttachStderr {
		s.Err = nil
	}
	return s
}

// start has the monitor start the program. A client that goes away meanwhile has asked for it all the same.
func (x *running) start(ctx context.Context, o option.Exec) error {
	q := &x.e.Request
	e := &control.Exec{Args: q.Cmd, Env: q.Env, Cwd: q.WorkingDir, TTY: q.Tty, Height: o.Height, Width: o.Width}
	if !o.Detach {
		e.Streams = [3]bool{q.AttachStdin, q.AttachStdout, q.AttachStderr}
	}
	if q.User != "" {
		if err := x.asUser(e); err != nil {
			return err
		}
	}
	run := x.s.runDir(x.c.ID)
	if err := control.WriteExec(run, x.e.ID, e); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTime)
	defer cancel()
	var err error
	if x.p, err = control.StartExec(ctx, run, x.e.ID, e); err != nil {
		return err
	}
	x.e.Process = identity{PID: x.p.PID, StartTime: x.p.StartTime}
	x.write()
	return nil
}

// asUser makes the program that of a user of the container.
func (x *running) asUser(e *control.Exec) error {
	root, err := x.root()
	if err != nil {
		return err
	}
	defer root.Close()
	passwd, err := readIn(root, "/etc/passwd")
	if err != nil {
		return err
	}
	group, err := readIn(root, "/etc/group")
	if err != nil {
		return err
	}
	user, err := assemble.User(x.e.Request.User, passwd, group)
	if err != nil {
		return err
	}
	e.User = &control.User{UID: user.UID, GID: user.GID, More: user.AdditionalGids, Host: [2]uint32{user.UID, user.GID}}
	if h := host(&x.c.Record); !userNSOff(&x.c.Record) {
		e.User.Host = [2]uint32{outside(h.UIDs, user.UID), outside(h.GIDs, user.GID)}
	}
	e.FindHome = !slices.ContainsFunc(x.c.Config.Env, func(v string) bool { return strings.HasPrefix(v, "HOME=") })
	return nil
}

// root is the container's root directory: of its first process, which is looked at again when it is open, for a number may have become another's.
func (x *running) root() (*os.File, error) {
	before, err := x.s.rt.State(x.c.ID)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenFile("/proc/"+strconv.Itoa(before.PID)+"/root", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, errdef.Errorf(errdef.Conflict, "exec: the container's root: %w", err)
	}
	if after, err := x.s.rt.State(x.c.ID); err != nil || after.PID != before.PID || after.PID == 0 || after.Status == "stopped" {
		_ = root.Close()
		return nil, errdef.Errorf(errdef.Conflict, "container %s is not running", x.c.Name)
	}
	return root, nil
}

// carry copies the streams until the program has ended and what it has printed is with the client, or the client has gone, or detached from it: from then on the monitor takes what
// the program prints.
func (x *running) carry(ctx context.Context, streams option.Streams) {
	to := [2]io.Writer{streams.Out, streams.Err}
	from := [2]*os.File{x.p.Streams[1], x.p.Streams[2]}
	in := x.p.Streams[0]
	var keys []byte
	if x.p.Console != nil {
		from[0], in = x.p.Console, x.p.Console
		keys, _ = parseKeys(x.e.Request.DetachKeys)
	}
	detached := make(chan struct{})
	switch {
	case in != nil && streams.In != nil:
		go x.input(in, streams.In, keys, sync.OnceFunc(func() { close(detached) }))
	case x.p.Streams[0] != nil:
		_ = x.p.Streams[0].Close()
	}
	var copies sync.WaitGroup
	for i, f := range from {
		if f != nil {
			copies.Go(func() { output(to[i], f) })
		}
	}
	done := make(chan struct{})
	go func() {
		_, _ = x.p.Wait() // the record has the code before this returns
		for _, f := range from {
			if f != nil {
				_ = f.SetReadDeadline(time.Now().Add(drainTime))
			}
		}
		copies.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-detached:
	case <-ctx.Done():
	}
}

// input copies what a client types, until it has no more, or detaches.
func (x *running) input(to *os.File, from io.Reader, keys []byte, detached func()) {
	_, err := io.Copy(to, &escaping{r: from, keys: keys})
	if errors.Is(err, errDetached) {
		detached()
	}
	if to == x.p.Streams[0] {
		_ = to.Close()
	}
}

// output copies what a program prints, until nobody can print there any more, or the time is over: then what is there already. A client that does not take it loses it; the
// program does not stop for that.
func output(to io.Writer, from *os.File) {
	if to == nil {
		to = io.Discard
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				to = io.Discard
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			drain(to, from, buf)
			return
		}
		if err != nil { // EIO is a terminal's end
			return
		}
	}
}

// drain reads what there is, once around a pipe's capacity.
func drain(to io.Writer, from *os.File, buf []byte) {
	raw, err := from.SyscallConn()
	if err != nil {
		return
	}
	for left := 1 << 20; left > 0; {
		n := 0
		_ = raw.Control(func(fd uintptr) { n, err = unix.Read(int(fd), buf) })
		if n <= 0 || err != nil {
			return
		}
		_, _ = to.Write(buf[:n])
		left -= n
	}
}
