package monitor

import (
	"context"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/labelpipe"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/bulkhead-engine/bulkhead/internal/runtime"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const (
	execTime = time.Minute // for a program to be started
	maxExecs = 1000        // at once
)

// programs are those that run in the container beside its own, and are our children. An engine has their streams while it lives, and wants to; from then on we do.
type programs struct {
	mu       sync.Mutex
	n        int                 // that are begun, and not recorded as ended
	consoles map[string]*os.File // of those with a terminal, by id
}

func (p *programs) add(by int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n += by
	return p.n
}

func (p *programs) console(id string, f *os.File) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case f == nil:
		delete(p.consoles, id)
	case p.consoles == nil:
		p.consoles = map[string]*os.File{id: f}
	default:
		p.consoles[id] = f
	}
}

// resize tells the terminal of a program its size.
func (p *programs) resize(q control.Request) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.consoles[q.Exec]
	if f == nil {
		return errdef.Errorf(errdef.Conflict, "exec instance %.12s is not running", q.Exec)
	}
	return resize(f, q.Height, q.Width)
}

// rest waits until all have ended, for a while.
func (p *programs) rest(limit time.Duration) {
	for end := time.Now().Add(limit); p.add(0) > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// A program is one of them.
type program struct {
	m       *monitor
	id      string
	e       *control.Exec
	child   [3]*os.File // until it runs
	ours    [3]*os.File
	console *os.File
}

// exec starts a program for a client, and tells it of its end. The client may go at any time.
func (m *monitor) exec(c net.Conn, q control.Request) {
	defer c.Close()
	defer m.programs.add(-1)
	p := &program{m: m, id: q.Exec}
	var joined *runtime.Joined
	err := error(nil)
	if m.programs.add(1) > maxExecs {
		err = errdef.Errorf(errdef.Unavailable, "exec: %d programs run in the container already", maxExecs)
	}
	if err == nil {
		p.e, err = control.TakeExec(m.o.Run, q.Exec)
	}
	if err == nil {
		joined, err = p.start()
	}
	if err != nil {
		p.close()
		_ = reply(c, control.Reply{Error: err.Error(), Kind: errdef.KindOf(err), Hint: errdef.Hint(err)})
		return
	}
	ended := make(chan struct{})
	gone := make(chan struct{})
	if p.hand(c, joined) != nil {
		close(gone)
	} else {
		go func() { _, _ = io.Copy(io.Discard, c); close(gone) }()
	}
	taken := make(chan struct{})
	go func() { p.takeOver(gone, ended); close(taken) }()
	code, err := joined.Wait()
	if err != nil {
		code = -1
	}
	close(ended)
	_ = control.WriteExecEnd(m.o.Run, p.id, control.ExecEnd{ExitCode: code, Finished: time.Now().UTC()})
	m.event(events.ActionExecDie, map[string]string{"execID": p.id, "exitCode": strconv.Itoa(code)})
	_ = reply(c, control.Reply{ExitCode: &code})
	p.close()
	<-taken
}

// start starts the program.
func (p *program) start() (*runtime.Joined, error) {
	if err := p.open(); err != nil {
		return nil, err
	}
	j := &runtime.JoinOptions{Process: p.process}
	for i, f := range p.child {
		if f != nil {
			j.Stdio[i] = int(f.Fd())
		}
	}
	if p.e.TTY {
		j.Console = func(master int) error {
			err := unix.SetNonblock(master, true)
			p.console = os.NewFile(uintptr(master), "terminal")
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), execTime)
	defer cancel()
	joined, err := p.m.rt.Join(ctx, p.m.o.ID, j)
	for i, f := range p.child { // the end of the program's is the end of the pipe
		if f != nil {
			_ = f.Close()
		}
		p.child[i] = nil
	}
	return joined, err
}

// open makes the standard streams: pipes that belong to the program, so that it can open /dev/stdout again, or nothing.
func (p *program) open() error {
	if p.e.TTY {
		return nil
	}
	owner := p.m.o.Owner
	if p.e.User != nil {
		owner = p.e.User.Host
	}
	for i, wanted := range p.e.Streams {
		var err error
		if !wanted {
			p.child[i], err = os.OpenFile(os.DevNull, os.O_RDWR, 0)
		} else if p.child[i], p.ours[i], err = labelpipe.Files(p.m.o.Label, i == 0); err == nil && !p.m.o.Rootless {
			err = p.ours[i].Chown(int(owner[0]), int(owner[1]))
		}
		if err != nil {
			return errdef.Errorf(errdef.Unavailable, "exec: streams of the program: %w", err)
		}
	}
	return nil
}

// process is the container's own with what was asked for. Root has the capabilities that the container was given, and who is not has none in effect, as execve(2) has it.
func (p *program) process(own *specs.Process, _ int) (*specs.Process, error) {
	e := p.e
	own.Args, own.Terminal = e.Args, e.TTY
	if e.Cwd != "" {
		own.Cwd = e.Cwd
	}
	if e.TTY {
		own.Env = setEnv(own.Env, []string{"TERM=xterm"})
	}
	if u := e.User; u != nil {
		own.User = specs.User{UID: u.UID, GID: u.GID, AdditionalGids: u.More, Umask: own.User.Umask}
		if c := own.Capabilities; c != nil {
			has := []string{}
			if u.UID == 0 { // whoever the container's user is
				has = c.Bounding
			}
			own.Capabilities = &specs.LinuxCapabilities{Bounding: c.Bounding, Inheritable: []string{}, Ambient: []string{}, Effective: has, Permitted: has}
		}
	}
	if e.FindHome {
		own.Env = slices.DeleteFunc(own.Env, func(v string) bool { return strings.HasPrefix(v, "HOME=") }) // the runtime finds the user's
	}
	own.Env = setEnv(own.Env, e.Env)
	if e.TTY && e.Height > 0 && e.Width > 0 {
		own.ConsoleSize = &specs.Box{Height: uint(e.Height), Width: uint(e.Width)}
	}
	return own, nil
}

// setEnv sets variables, and takes those away that have no value.
func setEnv(env, more []string) []string {
	env = slices.Clone(env)
	for _, v := range more {
		name, _, assigned := strings.Cut(v, "=")
		env = slices.DeleteFunc(env, func(o string) bool { n, _, _ := strings.Cut(o, "="); return n == name })
		if assigned {
			env = append(env, v)
		}
	}
	return env
}

// hand gives the client our ends of the streams. Of the input we keep none: its end is the program's to see.
func (p *program) hand(c net.Conn, joined *runtime.Joined) error {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return errdef.Errorf(errdef.Internal, "monitor: a client that takes no descriptors")
	}
	var fds []int
	if p.console != nil {
		p.m.programs.console(p.id, p.console)
		fds = append(fds, fileno(p.console))
	}
	for _, f := range p.ours {
		if f != nil {
			fds = append(fds, fileno(f))
		}
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	err := sendReply(u, control.Reply{PID: joined.PID, StartTime: joined.StartTime}, oob)
	if in := p.ours[0]; in != nil {
		_ = in.Close()
		p.ours[0] = nil
	}
	return err
}

// fileno is the descriptor of a file that stays polled, which Fd would end.
func fileno(f *os.File) (fd int) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1
	}
	_ = raw.Control(func(n uintptr) { fd = int(n) })
	return fd
}

// takeOver takes what the program prints when nobody else does any more, so that it goes on.
func (p *program) takeOver(gone, ended chan struct{}) {
	select {
	case <-ended:
		return
	case <-gone:
	}
	var group sync.WaitGroup
	for _, f := range []*os.File{p.console, p.ours[1], p.ours[2]} {
		if f != nil {
			group.Go(func() { _, _ = io.Copy(io.Discard, f) })
		}
	}
	group.Wait()
}

// close closes what is still open.
func (p *program) close() {
	if p.console != nil {
		p.m.programs.console(p.id, nil)
		_ = p.console.Close()
	}
	for _, f := range append(p.child[:], p.ours[:]...) {
		if f != nil {
			_ = f.Close()
		}
	}
}
