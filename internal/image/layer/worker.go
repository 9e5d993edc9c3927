package layer

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/extract"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/wire"
	"golang.org/x/sys/unix"
)

// Limits and Result are those of package wire.
type (
	Limits = wire.Limits
	Result = wire.Result
)

// Options of a worker.
type Options struct {
	Dir       string // an empty directory of the caller's, absolute, which the worker's root and the layers are made in
	Program   string // "": bulkhead-unpack beside this program, or in ../libexec/bulkhead
	Squash    bool   // what belongs to ids that are not mapped becomes root's, and is counted; else it is an error
	NoDevices bool   // device nodes are left out and counted, as without root
}

const (
	programName  = "bulkhead-unpack"
	startTimeout = 30 * time.Second
	grace        = 10 * time.Second // for a worker that was told to give up
	boxName      = "box"
	layersName   = "layers"
)

// A Worker is a running worker.
type Worker struct {
	o         Options
	conn      *wire.Conn
	cmd       *exec.Cmd
	life      *os.File // what ends the worker when it is closed
	stderr    *tail
	layers    int // the directory that the layers are in
	userXattr bool
	done      chan struct{} // closed when the worker is gone

	mu      sync.Mutex
	pending map[uint32]*pending
	lastID  uint32
	closed  bool
	fault   error // what ended the conversation
}

// A pending request waits for its answer.
type pending struct {
	dir     int // the layer's, once somebody asked for something in it; -1 before
	name    string
	implied []string
	size    int                // of these, bytes
	answer  chan *wire.Message // closed without one when the worker is gone
}

// NewWorker starts a worker. Close must be called.
func NewWorker(ctx context.Context, o Options) (*Worker, error) {
	program, err := findProgram(o.Program)
	if err != nil {
		return nil, err
	}
	w := &Worker{o: o, stderr: &tail{}, layers: -1, pending: map[uint32]*pending{}, done: make(chan struct{})}
	if err := w.prepare(); err != nil {
		return nil, err
	}
	if err := w.start(ctx, program); err != nil {
		w.stop()
		return nil, err
	}
	return w, nil
}

func (w *Worker) prepare() error {
	layers := filepath.Join(w.o.Dir, layersName)
	if err := os.Mkdir(layers, 0o700); err != nil && !os.IsExist(err) {
		return errdef.Errorf(errdef.Internal, "make the directory of layers: %w", err)
	}
	fd, err := unix.Open(layers, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "open %s: %w", layers, err)
	}
	w.layers = fd
	w.userXattr = UserXattr(fd)
	return nil
}

// UserXattr reports whether overlay marks in an open directory have to be in the user namespace of attributes, because this process may not set
// those of the trusted one: it is not the host's root.
func UserXattr(dir int) bool {
	const name = "trusted.overlay.bulkhead"
	if unix.Fsetxattr(dir, name, []byte("y"), 0) != nil {
		return true
	}
	_ = unix.Fremovexattr(dir, name)
	return false
}

func findProgram(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", errdef.Errorf(errdef.Internal, "find this program: %w", err)
	}
	dir := filepath.Dir(self)
	for _, path := range []string{filepath.Join(dir, programName), filepath.Join(dir, "../libexec/bulkhead", programName)} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errdef.WithHint(errdef.Errorf(errdef.NotFound, "%s: not there, but needed to unpack layers", programName), "it belongs beside "+self+" or into ../libexec/bulkhead")
}

// start runs the program and waits for its first word.
func (w *Worker) start(ctx context.Context, program string) error {
	ours, theirs, err := wire.Pair()
	if err != nil {
		return err
	}
	w.conn = wire.NewConn(ours)
	socket := os.NewFile(uintptr(theirs), "socket")
	defer socket.Close()
	stdin, life, err := os.Pipe()
	if err != nil {
		return errdef.Errorf(errdef.Internal, "pipe: %w", err)
	}
	defer stdin.Close()
	w.life = life
	w.cmd = exec.Command(program, "start", filepath.Join(w.o.Dir, boxName), filepath.Join(w.o.Dir, layersName))
	w.cmd.Env = []string{"PATH=" + os.Getenv("PATH")} // newuidmap is looked for there
	w.cmd.Dir = "/"
	w.cmd.Stdin, w.cmd.Stdout, w.cmd.Stderr = stdin, w.stderr, w.stderr
	w.cmd.ExtraFiles = []*os.File{socket}
	w.cmd.WaitDelay = grace
	if err := w.cmd.Start(); err != nil {
		return errdef.Errorf(errdef.Internal, "start %s: %w", program, err)
	}
	socket.Close() // so that the end of the worker is the end of the conversation
	ready := make(chan error, 1)
	go func() { // which ends with the conversation, and that with the worker; Close waits for it
		defer close(w.done)
		w.converse(ready)
	}()
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case err = <-ready:
	case <-timer.C:
		err = errdef.Errorf(errdef.Timeout, "the unpacking process did not start in %v", startTimeout)
	case <-ctx.Done():
		err = errdef.Errorf(errdef.Timeout, "start the unpacking process: %w", context.Cause(ctx))
	}
	return err
}

// converse reads what the worker says until it is gone.
func (w *Worker) converse(ready chan<- error) {
	first := true
	var fault error
	for fault == nil {
		m, _, err := w.conn.Receive(false)
		switch {
		case err != nil:
			fault = err
		case first && m.Kind != wire.Ready:
			fault = errdef.Errorf(errdef.Invalid, "the unpacking process began with a message of kind %d", m.Kind)
		case first:
			first = false
			ready <- nil
		default:
			fault = w.handle(m)
		}
	}
	w.conn.Shutdown()
	w.life.Close() // whatever it does now, it ends
	err := w.cmd.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = w.ended(fault, err)
	if first {
		ready <- w.fault
	}
	for id, p := range w.pending {
		close(p.answer)
		delete(w.pending, id)
	}
}

// ended says why there is no worker any more.
func (w *Worker) ended(fault, exit error) error {
	text, hint, _ := strings.Cut(w.stderr.String(), "\nhint: ")
	if text = strings.TrimSpace(text); text != "" {
		return errdef.WithHint(errdef.Errorf(errdef.Unavailable, "the unpacking process: %.2000s", text), strings.TrimSpace(hint))
	}
	if errdef.Is(fault, errdef.Invalid) {
		return fault
	}
	if exit != nil {
		return errdef.Errorf(errdef.Unavailable, "the unpacking process is gone: %w", exit)
	}
	return errdef.Errorf(errdef.Unavailable, "the unpacking process is gone")
}

// Close ends the worker and removes what it was started in; layers stay. Requests in progress fail.
func (w *Worker) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	w.mu.Unlock()
	return w.stop()
}

// stop undoes start and prepare, as far as they came.
func (w *Worker) stop() error {
	if w.life != nil {
		w.life.Close()
	}
	if w.conn != nil {
		w.conn.Shutdown()
		if w.cmd != nil && w.cmd.Process != nil {
			<-w.done
		}
		w.conn.Close()
	}
	unix.Close(w.layers)
	dir, err := unix.Open(w.o.Dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "open %s: %w", w.o.Dir, err)
	}
	defer unix.Close(dir)
	if err := extract.RemoveAll(dir, boxName); err != nil {
		return errdef.Errorf(errdef.Internal, "remove the unpacking process's root: %w", err)
	}
	return nil
}

// A tail keeps the beginning of what a process writes.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const most = 4 << 10
	t.b.Write(b[:min(len(b), max(most-t.b.Len(), 0))])
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}
