package cli

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/cli/printable"
	"github.com/bulkhead-engine/bulkhead/internal/cli/progress"
	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/credential"
	"golang.org/x/term"
)

// A program is one run of the command line.
type program struct {
	in   *os.File
	out  *output
	errs io.Writer

	open   Opener
	inside Engine         // nil until a command speaks to it
	api    *client.Client // of it, or of another
	ssh    bool           // the engine is reached over ssh
	dial   func(context.Context) (net.Conn, error)

	args    []string // after the program's name
	global  globals
	began   time.Time
	display atomic.Pointer[progress.Display] // nil: nothing is moving

	passing atomic.Bool            // signals go to a container
	restore atomic.Pointer[func()] // gives the terminal back
}

// close gives back what was opened.
func (p *program) close() error {
	if p.api != nil {
		p.api.Close()
	}
	if p.inside == nil {
		return nil
	}
	return p.inside.Close()
}

// credentials are those of --authfile, or where Docker and Podman keep them; --config stands for DOCKER_CONFIG. A file that is named
// for reading has to be there, or who mistyped it would be anonymous.
func (p *program) credentials(authFile string, mustExist bool) (*credential.Set, error) {
	if authFile != "" {
		abs, err := filepath.Abs(authFile)
		if err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "--authfile %q: %w", authFile, err)
		}
		authFile = abs
		if _, err := os.Stat(authFile); mustExist && err != nil {
			return nil, errdef.WithHint(errdef.Errorf(errdef.NotFound, "--authfile: %w", err), "bulkhead login --authfile makes it")
		}
	}
	return credential.Open(credential.Options{AuthFile: authFile, Getenv: func(key string) string {
		if key == "DOCKER_CONFIG" && p.global.config != "" {
			return p.global.config
		}
		return os.Getenv(key)
	}})
}

// terminal reports whether output is shown to somebody.
func (p *program) terminal() bool { return term.IsTerminal(int(p.out.f.Fd())) }

// stdout is where what was found is written.
func (p *program) stdout() format.Out { return format.Out{Writer: p.out, Terminal: p.terminal()} }

// print writes a line whose text is ours or a checked name.
func (p *program) print(line string) error {
	if _, err := io.WriteString(p.out, line+"\n"); err != nil {
		return errdef.Errorf(errdef.Unavailable, "write standard output: %w", err)
	}
	return nil
}

// printOthers writes a line with text of others in it.
func (p *program) printOthers(line string) error { return p.print(printable.Line(line)) }

// progress returns what shows the progress of a command, and its end. Quiet, it is nil.
func (p *program) progress(quiet bool) (show func(progress.Event), end func() error) {
	if quiet {
		return nil, func() error { return nil }
	}
	var o progress.Options
	if p.terminal() && os.Getenv("TERM") != "dumb" {
		o.Size = func() (int, int) {
			columns, rows, err := term.GetSize(int(p.out.f.Fd()))
			if err != nil || columns == 0 || rows == 0 {
				return 80, 24
			}
			return columns, rows
		}
	}
	d := progress.New(p.out, o)
	p.display.Store(d)
	return d.Show, func() error {
		p.display.Store(nil)
		return d.Close()
	}
}

// warn tells what ended nothing.
func (p *program) warn(text string) {
	if p.global.level >= levelWarn {
		p.line(Name + ": warning: " + shorten(text))
	}
}

func (p *program) debug(text string) {
	if p.global.level >= levelDebug {
		p.line(Name + ": debug: " + time.Since(p.began).Round(10*time.Microsecond).String() + " " + shorten(text))
	}
}

// each runs f for every argument, also after an error, as Docker does.
func each(ctx context.Context, args []string, f func(string) error) error {
	var failed []error
	for _, a := range args {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f(a); err != nil {
			failed = append(failed, err)
		}
	}
	return joined(failed)
}

// control writes what moves the cursor of a terminal.
func (p *program) control(sequence string) error {
	if _, err := io.WriteString(p.out, sequence); err != nil {
		return errdef.Errorf(errdef.Unavailable, "write standard output: %w", err)
	}
	return nil
}
