package cli

import (
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// raw sets the caller's terminal so that the program's alone decides what keys mean.
func (p *program) raw() error {
	fd := int(p.in.Fd())
	old, err := term.MakeRaw(fd)
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "terminal: %w", err)
	}
	restore := sync.OnceFunc(func() { _ = term.Restore(fd, old) })
	p.restore.Store(&restore)
	return nil
}

// restoreTerminal gives the terminal back, if it was taken. Any way out of the program leads through here.
func (p *program) restoreTerminal() {
	if f := p.restore.Load(); f != nil {
		(*f)()
	}
}

// inputIsTerminal reports whether somebody types.
func (p *program) inputIsTerminal() bool { return term.IsTerminal(int(p.in.Fd())) }

// checkTerminal is Docker's: a program that is given a terminal and input needs one to read from.
func (p *program) checkTerminal(stdin, tty bool) error {
	if stdin && tty && !p.inputIsTerminal() {
		err := errdef.Errorf(errdef.Invalid, "the input device is not a TTY")
		return errdef.WithHint(err, "leave -t away, or give it a terminal: script -c '...'")
	}
	return nil
}

// size returns rows and columns of the terminal, 0 if there is none.
func (p *program) size() (height, width int) {
	for _, f := range []*os.File{p.out.f, p.in} {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil {
			return h, w
		}
	}
	return 0, 0
}

// A conversation is what a container's streams are carried to and from.
type conversation struct {
	tty, stdin  bool
	stdout, err bool // which output is wanted
	keys        []byte
}

// carry passes the streams of a connection until the output ends, or the keys for detaching are typed (errDetached), or ctx ends.
func (p *program) carry(ctx context.Context, conn *client.Hijacked, c conversation) error {
	conn.TTY = c.tty
	in := io.Reader(p.in)
	if c.stdin && c.tty && p.inputIsTerminal() {
		if err := p.raw(); err != nil {
			return err
		}
		defer p.restoreTerminal()
		in = &keyReader{r: p.in, keys: c.keys}
	}
	output, input := make(chan error, 1), make(chan error, 1)
	if c.stdout || c.err {
		go func() {
			out, errs := io.Discard, io.Discard
			if c.stdout {
				out = p.out
			}
			if c.err {
				errs = p.errs
			}
			output <- conn.Copy(out, errs)
		}()
	}
	if c.stdin {
		go func() {
			_, err := io.Copy(onlyWriter{conn}, in)
			if !errors.Is(err, errDetached) {
				_ = conn.CloseWrite()
			}
			input <- err
		}()
	}
	for {
		select {
		case err := <-output:
			return err
		case err := <-input:
			if errors.Is(err, errDetached) || !c.stdout && !c.err {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// onlyWriter hides what else a connection can do: io.Copy would splice from a terminal, and not see the keys.
type onlyWriter struct{ io.Writer }

// notPassed are signals that are this program's own, tell of its children and sockets, or of its faults.
var notPassed = []syscall.Signal{
	unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG, unix.SIGKILL, unix.SIGSTOP, unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGPROF, unix.SIGVTALRM,
	unix.SIGTTIN, unix.SIGTTOU,
}

// passSignals sends the signals that this program gets to a container, until stop is called.
func (p *program) passSignals(api *client.Client, id string) (stop func()) {
	var list []os.Signal
	for s := syscall.Signal(1); s < 32; s++ {
		if !slices.Contains(notPassed, s) {
			list = append(list, s)
		}
	}
	got := make(chan os.Signal, 64)
	signal.Notify(got, list...)
	p.passing.Store(true)
	end := onSignal(got, func(s os.Signal) {
		query := url.Values{"signal": {unix.SignalName(s.(syscall.Signal))}}
		if err := api.Post(context.Background(), containerPath(id, "kill"), query, nil, nil); err != nil {
			p.debug("pass " + s.String() + ": " + err.Error())
		}
	})
	return func() { p.passing.Store(false); end() }
}

// followSize tells a container or an exec, by its path, how large the terminal is when that changes, until stop is called; redraw makes a program that is
// there already draw its screen again, by another size for a moment.
func (p *program) followSize(api *client.Client, path string, now, redraw bool) (stop func()) {
	if h, _ := p.size(); h == 0 {
		return func() {}
	}
	tell := func(more int) {
		h, w := p.size()
		query := url.Values{"h": {strconv.Itoa(h + more)}, "w": {strconv.Itoa(w + more)}}
		if err := api.Post(context.Background(), path+"/resize", query, nil, nil); err != nil {
			p.debug("resize: " + err.Error())
		}
	}
	got := make(chan os.Signal, 1)
	signal.Notify(got, unix.SIGWINCH)
	if redraw {
		tell(1)
	}
	if now || redraw {
		tell(0)
	}
	return onSignal(got, func(os.Signal) { tell(0) })
}

// onSignal calls f for each signal, one after the other, until stop is called.
func onSignal(got chan os.Signal, f func(os.Signal)) (stop func()) {
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case s := <-got:
				f(s)
			}
		}
	}()
	return func() { signal.Stop(got); close(done) }
}
