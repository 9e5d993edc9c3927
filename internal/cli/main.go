package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/cli/printable"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Name is the program's.
const Name = "bulkhead"

// Version of the program, set when a release is linked (-X).
var Version = "0.1.0-dev"

// Exit statuses.
const (
	exitError    = 1
	exitTemplate = 64  // Docker's for a template of inspect
	exitUsage    = 125 // Docker's for flags
)

// patience is how long a command that was interrupted may take to leave things as they ought to be.
const patience = 3 * time.Second

// A statusError ends the program with a status of its own.
type statusError struct {
	status int
	err    error // nil: all was said
}

func (e *statusError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}
func (e *statusError) Unwrap() error { return e.err }

// errReader is why a command ends whose output nobody reads.
var errReader = errors.New("nobody reads standard output")

// Main runs the command line args, whose first is the program's own name, and returns the exit status. open is how the engine
// inside this process is opened.
func Main(args []string, open Opener) int {
	if len(args) == 2 && (args[1] == "--version" || args[1] == "-v") {
		if _, err := io.WriteString(os.Stdout, versionLine()); err != nil {
			return exitError
		}
		return 0
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	p := &program{open: open, in: os.Stdin, out: &output{f: os.Stdout, broken: func() { cancel(errReader) }}, errs: os.Stderr}
	defer p.signals(cancel)()
	defer p.restoreTerminal()
	err := p.execute(ctx, args[1:])
	return p.end(ctx, errors.Join(err, p.close()))
}

// A signalError is why a command ends that got a signal.
type signalError struct{ syscall.Signal }

func (e signalError) Error() string { return "interrupted: " + e.String() }

// signals lets SIGINT and SIGTERM cancel the work; a second one, or patience, ends the program as it stands: what it leaves is found by the next command. While signals
// are passed on to a container (terminal.go), only the third is meant for this program. SIGPIPE must not kill while a pull has files and a worker open; writing tells of it.
func (p *program) signals(cancel context.CancelCauseFunc) (stop func()) {
	got := make(chan os.Signal, 4)
	signal.Notify(got, syscall.SIGINT, syscall.SIGTERM)
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		var end <-chan time.Time
		for n := 1; ; {
			select {
			case <-done:
				return
			case <-end:
				p.abandon(syscall.SIGTERM)
			case s := <-got:
				switch passed := p.passing.Load(); {
				case passed && n < 3:
				case n > 1:
					p.abandon(s.(syscall.Signal))
				default:
					cancel(signalError{s.(syscall.Signal)})
					timer := time.NewTimer(patience)
					defer timer.Stop()
					end = timer.C
				}
				n++
			}
		}
	}()
	return func() {
		signal.Stop(got)
		close(done)
		<-ended
	}
}

// abandon ends the program where it stands.
func (p *program) abandon(s syscall.Signal) {
	p.restoreTerminal()
	os.Exit(128 + int(s))
}

// end says what went wrong and returns the exit status.
func (p *program) end(ctx context.Context, err error) int {
	cause := context.Cause(ctx)
	var sig signalError
	switch {
	case errors.Is(cause, errReader):
		return 128 + int(syscall.SIGPIPE)
	case errors.As(cause, &sig) && err != nil:
		if sig.Signal != syscall.SIGINT { // who pressed ^C knows
			p.say(cause)
		}
		return 128 + int(sig.Signal)
	case err == nil && p.out.err != nil:
		err = errdef.Errorf(errdef.Unavailable, "write standard output: %w", p.out.err)
	}
	if err == nil {
		return 0
	}
	p.say(err)
	var status *statusError
	if errors.As(err, &status) {
		return status.status
	}
	return exitError
}

// say writes an error for people: a line each, and the way out.
func (p *program) say(err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			p.say(e)
		}
		return
	}
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	if text == "" {
		return
	}
	p.line(Name + ": " + shorten(text))
	if hint := errdef.Hint(err); hint != "" {
		p.line("hint: " + shorten(hint))
	}
}

// line writes one line to standard error, above what is moving on the terminal.
func (p *program) line(text string) {
	write := func() { _, _ = io.WriteString(p.errs, printable.Text(strings.TrimRight(text, "\n"))+"\n") }
	if d := p.display.Load(); d != nil {
		d.Above(write)
		return
	}
	write()
}

// longest bounds a message, in bytes: what a registry or an image says may stand in it.
const longest = 4096

// shorten cuts a long text in the middle: what went wrong stands at both ends.
func shorten(text string) string {
	if len(text) <= longest {
		return text
	}
	const cut = " ... "
	half := (longest - len(cut)) / 2
	return strings.ToValidUTF8(text[:half], "") + cut + strings.ToValidUTF8(text[len(text)-half:], "")
}

// output is standard output. It remembers what went wrong, since not every writer looks, and tells when nobody reads any more.
type output struct {
	f      *os.File
	err    error
	broken func()
}

func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.f.Write(p)
	if err != nil {
		o.err = err
		if errors.Is(err, syscall.EPIPE) {
			o.broken()
		}
	}
	return n, err
}
