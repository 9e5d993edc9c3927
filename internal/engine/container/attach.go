package container

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
)

// Attach carries the streams of a container until its output ends, the client goes, or the detach keys are typed. One that does not run yet is attached to when it is
// started, by this process or another.
func (s *Service) Attach(ctx context.Context, name string, o option.Attach, open option.Open) error {
	c, err := s.Get(name)
	if err != nil {
		return err
	}
	keys, err := parseKeys(o.DetachKeys)
	if err != nil {
		return err
	}
	switch {
	case c.State.Phase == control.Restarting && c.Alive:
		return errdef.Errorf(errdef.Conflict, "container %s is restarting, wait until the container is running", c.Name)
	case s.paused(c):
		return errdef.Errorf(errdef.Conflict, "container %s is paused, unpause the container before attach", c.Name)
	}
	if !o.Stream {
		return s.attachLog(ctx, c, o, open)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var streams option.Streams
	var opened error
	conn, err := s.ask(ctx, c.ID, control.Request{Op: "attach", Stdin: o.Stdin}, sync.OnceFunc(func() {
		if streams, opened = open(c.Config.Tty); opened != nil {
			cancel(opened)
		}
	}))
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if o.Logs {
		if err := s.copyLog(ctx, c, option.Logs{Stdout: o.Stdout, Stderr: o.Stderr, Tail: -1}, streams); err != nil {
			return err
		}
	}
	if !o.Stdin {
		streams.In = nil
	}
	if !c.Config.Tty {
		keys = nil
	}
	return carry(conn, streams, keys, o)
}

// attachLog is an attachment that wants the log and nothing that comes later.
func (s *Service) attachLog(ctx context.Context, c *Container, o option.Attach, open option.Open) error {
	streams, err := open(c.Config.Tty)
	if err != nil || !o.Logs {
		return err
	}
	return s.copyLog(ctx, c, option.Logs{Stdout: o.Stdout, Stderr: o.Stderr, Tail: -1}, streams)
}

// carry copies between a monitor and a client.
func carry(conn *control.Conn, streams option.Streams, keys []byte, o option.Attach) error {
	out, problems := streams.Out, streams.Err
	if !o.Stdout || out == nil {
		out = io.Discard
	}
	if !o.Stderr || problems == nil {
		problems = io.Discard
	}
	if streams.In != nil {
		go func() {
			_, err := io.Copy(conn.Conn, &escaping{r: streams.In, keys: keys})
			if errors.Is(err, errDetached) {
				_ = conn.Close()
				return
			}
			if c, ok := conn.Conn.(*net.UnixConn); ok {
				_ = c.CloseWrite()
			}
		}()
	}
	err := conn.Copy(out, problems)
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// errDetached is the end of an input with the keys that mean it.
var errDetached = errors.New("read escape sequence")

// escaping reads until the keys are typed, which it keeps to itself. No keys, no end.
type escaping struct {
	r    io.Reader
	keys []byte
	have int    // how many of the keys came last
	rest []byte // to be read before anything else
}

func (e *escaping) Read(p []byte) (int, error) {
	if len(e.rest) > 0 {
		n := copy(p, e.rest)
		e.rest = e.rest[n:]
		return n, nil
	}
	if len(e.keys) == 0 {
		return e.r.Read(p)
	}
	n, err := e.r.Read(p[:max(1, len(p)-len(e.keys))]) // keys that were kept back come with what follows
	if n == 0 {
		return n, err
	}
	out := make([]byte, 0, n+len(e.keys))
	for _, b := range p[:n] {
		if b == e.keys[e.have] {
			if e.have++; e.have == len(e.keys) {
				return copy(p, out), errDetached
			}
			continue
		}
		out = append(out, e.keys[:e.have]...) // they were not meant
		if e.have = 0; b == e.keys[0] {
			e.have = 1
			continue
		}
		out = append(out, b)
	}
	if err != nil {
		out = append(out, e.keys[:e.have]...)
		e.have = 0
	}
	m := copy(p, out)
	e.rest = out[m:]
	return m, err
}

// parseKeys reads Docker's way to write keys: single characters and ctrl-X, by commas.
func parseKeys(text string) ([]byte, error) {
	if text == "" {
		text = "ctrl-p,ctrl-q"
	}
	var out []byte
	for _, key := range strings.Split(text, ",") {
		if len(key) == 1 {
			out = append(out, key[0])
			continue
		}
		c, ok := strings.CutPrefix(strings.ToLower(key), "ctrl-")
		switch at := strings.IndexByte("[\\]^_", (c + " ")[0]); {
		case !ok || len(c) != 1:
			return nil, errdef.Errorf(errdef.Invalid, "invalid detach keys (%.64s): unknown character: %.32q", text, key)
		case c == "@":
			out = append(out, 0)
		case 'a' <= c[0] && c[0] <= 'z':
			out = append(out, c[0]-'a'+1)
		case at >= 0:
			out = append(out, byte(27+at))
		default:
			return nil, errdef.Errorf(errdef.Invalid, "invalid detach keys (%.64s): unknown character: %.32q", text, key)
		}
		if len(out) > 64 {
			return nil, errdef.Errorf(errdef.Invalid, "invalid detach keys: more than 64")
		}
	}
	return out, nil
}
