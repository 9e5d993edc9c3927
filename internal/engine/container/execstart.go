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
	"github.com/bulkhead-engine/bulkhead/internal/linux/labelpipe"
	"github.com/bulkhead-engine/bulkhead/internal/runtime"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// drainTime is how long output is read when its program has ended: what still holds it is another program, which it left behind.
const drainTime = 2 * time.Second

// A running is an instance with its streams: the ends of pipes that are ours, or the terminal.
type running struct {
	s       *Service
	c       *Container
	e       *execRecord
	theirs  [3]*os.File // until it runs; nil with a terminal
	in      *os.File    // nil: none
	out     [2]*os.File
	console *os.File
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
	p, err := x.start(ctx, o)
	if err != nil {
		err = startError(err)
		x.end(exitCode(err))
		x.close()
		return err
	}
	s.event(&c.Record, execAction(events.ActionExecStart, e), "execID", e.ID)
	done := make(chan struct{})
	if o.Detach {
		go func() { x.carry(p, option.Streams{}, nil); close(done) }()
		return nil
	}
	streams, err := open(e.Request.Tty)
	if err != nil { // the client has gone at this moment: the program runs on
		go func() { x.carry(p, option.Streams{}, nil); close(done) }()
		return err
	}
	detached := make(chan struct{})
	go func() { x.carry(p, x.wanted(streams), sync.OnceFunc(func() { close(detached) })); close(done) }()
	select {
	case <-done:
	case <-detached:
	case <-ctx.Done():
	}
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

// end records how a program ended.
func (x *running) end(code int) {
	x.e.Ended, x.e.ExitCode = true, &code
	x.s.event(&x.c.Record, events.ActionExecDie, "execID", x.e.ID, "exitCode", strconv.Itoa(code))
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

// start starts the program.
func (x *running) start(ctx context.Context, o option.Exec) (*runtime.Joined, error) {
	q := &x.e.Request
	j := &runtime.JoinOptions{Process: func(p *specs.Process, pid int) (*specs.Process, error) { return x.process(p, pid, o) }}
	if err := x.streams(o); err != nil {
		return nil, err
	}
	for i, f := range x.theirs {
		if f != nil {
			defer f.Close()
			j.Stdio[i] = int(f.Fd())
			_ = unix.SetNonblock(j.Stdio[i], false) // a program expects no other
		}
	}
	if q.Tty {
		j.Console = func(master int) error {
			err := unix.SetNonblock(master, true)
			x.console = os.NewFile(uintptr(master), "terminal")
			return err
		}
	}
	p, err := x.s.rt.Join(ctx, x.c.ID, j)
	if err != nil {
		return nil, err
	}
	x.e.Process = identity{PID: p.PID, StartTime: p.StartTime}
	if err := x.s.writeExec(x.e); err != nil && x.s.o.Warn != nil {
		x.s.o.Warn(err)
	}
	return p, nil
}

// streams makes the program's standard streams: pipes, or nothing.
func (x *running) streams(o option.Exec) error {
	q := &x.e.Request
	if q.Tty {
		return nil
	}
	for i, wanted := range []bool{q.AttachStdin, q.AttachStdout, q.AttachStderr} {
		var err error
		switch {
		case !wanted || o.Detach:
			x.theirs[i], err = os.OpenFile(os.DevNull, os.O_RDWR, 0)
		case i == 0:
			x.theirs[0], x.in, err = labelpipe.Files(x.c.pipeLabel(), true)
		default:
			x.theirs[i], x.out[i-1], err = labelpipe.Files(x.c.pipeLabel(), false)
		}
		if err != nil {
			for _, f := range x.theirs {
				if f != nil {
					_ = f.Close()
				}
			}
			return errdef.Errorf(errdef.Unavailable, "exec: %w", err)
		}
	}
	return nil
}

// own gives the pipes to the program, so that it can open /dev/stdout again.
func (x *running) own(u *specs.User) error {
	h := host(&x.c.Record)
	for _, f := range x.theirs {
		if f == nil || f.Name() == os.DevNull {
			continue
		}
		uid, gid := u.UID, u.GID
		if !userNSOff(&x.c.Record) {
			uid, gid = outside(h.UIDs, uid), outside(h.GIDs, gid)
		}
		if err := f.Chown(int(uid), int(gid)); err != nil && os.Geteuid() == 0 {
			return errdef.Errorf(errdef.Unavailable, "exec: streams of the program: %w", err)
		}
	}
	return nil
}

// process is the container's own with what the request says.
func (x *running) process(p *specs.Process, pid int, o option.Exec) (*specs.Process, error) {
	q := &x.e.Request
	p.Args, p.Terminal = q.Cmd, q.Tty
	if q.WorkingDir != "" {
		p.Cwd = q.WorkingDir
	}
	if q.Tty {
		p.Env = assemble.MergeEnv(p.Env, []string{"TERM=xterm"})
	}
	if q.User != "" {
		if err := x.asUser(p, pid); err != nil {
			return nil, err
		}
	}
	p.Env = assemble.MergeEnv(p.Env, q.Env)
	if q.Tty && o.Height > 0 && o.Width > 0 {
		p.ConsoleSize = &specs.Box{Height: uint(o.Height), Width: uint(o.Width)}
	}
	return p, x.own(&p.User)
}

// asUser makes the process that of a user of the container. Who is not root has no capabilities in effect, as execve(2) has it.
func (x *running) asUser(p *specs.Process, pid int) error {
	root, err := os.OpenFile("/proc/"+strconv.Itoa(pid)+"/root", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return errdef.Errorf(errdef.Conflict, "exec: the container's root: %w", err)
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
	umask := p.User.Umask
	if p.User, err = assemble.User(x.e.Request.User, passwd, group); err != nil {
		return err
	}
	p.User.Umask = umask
	if !slices.ContainsFunc(x.c.Config.Env, func(v string) bool { return strings.HasPrefix(v, "HOME=") }) {
		p.Env = slices.DeleteFunc(p.Env, func(v string) bool { return strings.HasPrefix(v, "HOME=") }) // the runtime finds the user's
	}
	if c := p.Capabilities; c != nil && p.User.UID != 0 {
		p.Capabilities = &specs.LinuxCapabilities{Bounding: c.Bounding, Inheritable: []string{}, Ambient: []string{}, Effective: []string{}, Permitted: []string{}}
	}
	return nil
}

// carry copies the streams, waits for the end of the program and records it, before the streams end: who then asks for the exit code gets it. detached is called when the
// keys that mean it are typed.
func (x *running) carry(p *runtime.Joined, streams option.Streams, detached func()) {
	defer x.close()
	to := [2]io.Writer{streams.Out, streams.Err}
	from := x.out
	in := x.in
	var keys []byte
	if x.console != nil {
		from[0], in = x.console, x.console
		keys, _ = parseKeys(x.e.Request.DetachKeys)
		x.terminal(true)
		defer x.terminal(false)
	}
	if in != nil && streams.In != nil {
		go x.input(in, streams.In, keys, detached)
	} else if x.in != nil {
		_ = x.in.Close()
	}
	var copies sync.WaitGroup
	for i, f := range from {
		if f != nil {
			copies.Go(func() { output(to[i], f) })
		}
	}
	code, err := p.Wait()
	if err != nil {
		code = -1
	}
	for _, f := range from {
		if f != nil {
			_ = f.SetReadDeadline(time.Now().Add(drainTime))
		}
	}
	copies.Wait()
	x.end(code)
}

// input copies what a client types, until it has no more, or detaches.
func (x *running) input(to *os.File, from io.Reader, keys []byte, detached func()) {
	_, err := io.Copy(to, &escaping{r: from, keys: keys})
	if errors.Is(err, errDetached) && detached != nil {
		detached()
	}
	if to == x.in {
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

func (x *running) close() {
	for _, f := range []*os.File{x.in, x.out[0], x.out[1], x.console} {
		if f != nil {
			_ = f.Close()
		}
	}
}
