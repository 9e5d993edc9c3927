// Package daemon puts the engine together: it opens the services and wires them to the server of the API. It is the one package that knows them all.
//
//	e, err := daemon.Open(daemon.Options{Root: root, Run: run, Product: version})
//	conn, err := e.Dial(ctx)   // a connection to the engine in this process
//	err = e.Close()
//
// Connections inside of a process are socket pairs: they can be half-closed, as the streams of a container need, and no other process can reach them. The engine has
// no thread of its own beside its connections, and opens a service when the first request wants it.
package daemon

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/server"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// Options say where the engine keeps things.
type Options struct {
	Root    string // directory, absolute
	Run     string // directory on a tmpfs, absolute
	Product string // version of the program
	// Programs is the directory of bulkhead-monitor and bulkhead-unpack; "": beside this program, or in ../libexec/bulkhead.
	Programs string
	Warn     func(error)
}

// An Engine is one in this process.
type Engine struct {
	o        Options
	services services
	http     http.Server
	listener *pairs
	once     sync.Once
	end      context.CancelFunc // of what every request does
	working  sync.WaitGroup     // requests
}

// endTime bounds the wait for requests to leave things as they ought to be, once nobody waits for their answers.
const endTime = 10 * time.Second

// Open prepares an engine. What cannot be opened is told by the first request that wants it.
func Open(o Options) (*Engine, error) {
	e := &Engine{o: o, listener: &pairs{conns: make(chan net.Conn), done: make(chan struct{})}}
	s, err := e.open()
	if err != nil {
		return nil, err
	}
	h := server.New(s, server.Options{Product: o.Product, Warn: o.Warn})
	var ctx context.Context
	ctx, e.end = context.WithCancel(context.Background())
	e.http = http.Server{ReadHeaderTimeout: 30 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	e.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.working.Add(1)
		defer e.working.Done()
		h.ServeHTTP(w, r)
	})
	return e, nil
}

// Dial connects to the engine.
func (e *Engine) Dial(ctx context.Context) (net.Conn, error) {
	e.once.Do(func() { go func() { _ = e.http.Serve(e.listener) }() })
	return e.listener.dial(ctx)
}

// Serve answers who connects to a listener, until the engine is closed.
func (e *Engine) Serve(l net.Listener) error {
	err := e.http.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return errdef.Errorf(errdef.Unavailable, "serve: %w", err)
}

// Close ends the engine's connections and gives back what was opened. Containers go on.
func (e *Engine) Close() error {
	err := e.http.Close()
	e.listener.once.Do(func() { close(e.listener.done) })
	e.end()
	done := make(chan struct{})
	go func() { e.working.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(endTime):
		err = errors.Join(err, errdef.Errorf(errdef.Timeout, "end the engine: its requests do not end"))
	}
	return errors.Join(err, e.services.close())
}

// pairs is a listener within the process.
type pairs struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pairs) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pairs) Close() error { p.once.Do(func() { close(p.done) }); return nil }

func (p *pairs) Addr() net.Addr { return &net.UnixAddr{Name: "in process", Net: "unix"} }

func (p *pairs) dial(ctx context.Context) (net.Conn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "connect to the engine: %w", err)
	}
	var conns [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "engine")
		c, e := net.FileConn(f)
		_ = f.Close()
		conns[i], err = c, errors.Join(err, e)
	}
	if err == nil {
		select {
		case p.conns <- conns[1]:
			return conns[0], nil
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-p.done:
			err = net.ErrClosed
		}
	}
	for _, c := range conns {
		if c != nil {
			_ = c.Close()
		}
	}
	return nil, errdef.Errorf(errdef.Unavailable, "connect to the engine: %w", err)
}
