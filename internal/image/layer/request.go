package layer

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/extract"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/wire"
	"golang.org/x/sys/unix"
)

// A Request asks for a layer to be unpacked.
type Request struct {
	Name      string   // of the directory, without a slash; nothing may be there
	Stream    *os.File // the layer as the registry has it, read from where it stands: a file or a pipe. It stays the caller's
	MediaType string
	Limits    Limits
}

// Path is where the directory of a name is.
func (w *Worker) Path(name string) string { return filepath.Join(w.o.Dir, layersName, name) }

// Unpack makes a directory of a layer. On an error there is none, but in one case: the worker died and this process has no right to remove what it left,
// which RemoveTree does. When ctx ends, so does the unpacking.
func (w *Worker) Unpack(ctx context.Context, r Request) (Result, error) {
	limits := r.Limits.Default()
	if !plainName(r.Name) {
		return Result{}, errdef.Errorf(errdef.Invalid, "%q is no name for a layer's directory", r.Name)
	}
	// The worker keeps the time itself; this is for one that does not.
	ctx, cancel := context.WithTimeoutCause(ctx, limits.Time+grace, errdef.Errorf(errdef.Timeout, "it took more than %v", limits.Time))
	defer cancel()
	m := &wire.Message{Kind: wire.Unpack, Name: r.Name, Text: r.MediaType, Limits: limits}
	result, err := w.call(ctx, m, int(r.Stream.Fd()))
	if err != nil && w.gone() {
		_ = extract.RemoveAll(w.layers, r.Name)
	}
	return result, err
}

// Remove removes the directory of a layer. That there is none is no error.
func (w *Worker) Remove(ctx context.Context, name string) error {
	_, err := w.call(ctx, &wire.Message{Kind: wire.Remove, Name: name})
	return err
}

// Diff is the function Diff in the worker, for directories that this process may not read: names below the worker's directory of layers.
func (w *Worker) Diff(ctx context.Context, upper string, lower []string, out *os.File) (Result, error) {
	return w.call(ctx, &wire.Message{Kind: wire.Diff, Name: upper, List: lower}, int(out.Fd()))
}

func plainName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00") && len(name) <= 255
}

func (w *Worker) gone() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// call sends a request and waits for its answer.
func (w *Worker) call(ctx context.Context, m *wire.Message, fds ...int) (Result, error) {
	p := &pending{dir: -1, name: m.Name, answer: make(chan *wire.Message, 1)}
	w.mu.Lock()
	if w.fault != nil || w.closed {
		err := w.fault
		w.mu.Unlock()
		if err == nil {
			err = errdef.Errorf(errdef.Unavailable, "the unpacking process was closed")
		}
		return Result{}, err
	}
	w.lastID++
	m.ID = w.lastID
	w.pending[m.ID] = p
	w.mu.Unlock()
	if w.userXattr {
		m.Flags |= wire.UserXattr
	} else if !w.o.NoDevices {
		m.Flags |= wire.Devices
	}
	if w.o.Squash {
		m.Flags |= wire.Squash
	}
	if err := w.conn.Send(m, fds...); err != nil && !errdef.Is(err, errdef.Unavailable) { // else converse knows better why
		w.mu.Lock()
		delete(w.pending, m.ID)
		w.mu.Unlock()
		return Result{}, err
	}
	return w.await(ctx, p, m.ID)
}

// await waits for the answer, tells the worker to give up when ctx ends, and ends it when it does not.
func (w *Worker) await(ctx context.Context, p *pending, id uint32) (Result, error) {
	var late <-chan time.Time
	cancel := ctx.Done()
	for {
		select {
		case m, ok := <-p.answer:
			if p.dir >= 0 {
				unix.Close(p.dir) // converse is done with it: the answer is the last thing about a request
			}
			return w.result(ctx, p, m, ok)
		case <-cancel:
			cancel = nil
			_ = w.conn.Send(&wire.Message{Kind: wire.Cancel, Target: id})
			timer := time.NewTimer(grace)
			defer timer.Stop()
			late = timer.C
		case <-late:
			w.life.Close()
			late = nil
		}
	}
}

func (w *Worker) result(ctx context.Context, p *pending, m *wire.Message, ok bool) (Result, error) {
	if !ok {
		if ctx.Err() != nil {
			return Result{}, errdef.Errorf(errdef.Timeout, "unpack: %w", context.Cause(ctx))
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		return Result{}, w.fault
	}
	if m.Kind == wire.Failed {
		return m.Result, errdef.WithHint(errdef.Errorf(kind(m.Number), "%s", m.Text), m.Hint)
	}
	m.Result.Implied = p.implied
	return m.Result, nil
}

// kind is the kind of an error in the worker, which may have said anything.
func kind(n int64) errdef.Kind {
	if n < 0 || n > int64(errdef.Timeout) {
		return errdef.Internal
	}
	return errdef.Kind(n)
}

// handle deals with one message of the worker; an error is the end of it.
func (w *Worker) handle(m *wire.Message) error {
	w.mu.Lock()
	p := w.pending[m.ID]
	if p != nil && (m.Kind == wire.Done || m.Kind == wire.Failed) {
		delete(w.pending, m.ID)
	}
	w.mu.Unlock()
	if p == nil {
		return errdef.Errorf(errdef.Invalid, "the unpacking process answers a request that nobody made")
	}
	switch m.Kind {
	case wire.Done, wire.Failed:
		p.answer <- m
	case wire.List:
		for _, path := range m.List {
			p.size += len(path)
		}
		if len(p.implied)+len(m.List) > wire.MaxImplied || p.size > wire.MaxImpliedBytes {
			return errdef.Errorf(errdef.Invalid, "the unpacking process lists more than %d directories", wire.MaxImplied)
		}
		p.implied = append(p.implied, m.List...)
	case wire.Node, wire.Opaque:
		errno := w.help(p, m)
		if err := w.conn.Send(&wire.Message{Kind: wire.Answer, ID: m.ID, Number: int64(errno)}); err != nil {
			return err
		}
	default:
		return errdef.Errorf(errdef.Invalid, "the unpacking process sends a message of kind %d", m.Kind)
	}
	return nil
}

// help does what the worker asks for, in the directory of the request and nowhere else.
func (w *Worker) help(p *pending, m *wire.Message) unix.Errno {
	if w.userXattr || m.Kind == wire.Node && w.o.NoDevices {
		return unix.EPERM
	}
	if p.dir < 0 {
		fd, err := beneath(w.layers, p.name, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return errnoOf(err)
		}
		p.dir = fd
	}
	if m.Kind == wire.Opaque {
		fd, err := beneath(p.dir, m.Name, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return errnoOf(err)
		}
		defer unix.Close(fd)
		return errnoOf(unix.Fsetxattr(fd, "trusted.overlay.opaque", []byte("y"), 0))
	}
	parent, name := ".", m.Name
	if i := strings.LastIndexByte(m.Name, '/'); i >= 0 {
		parent, name = m.Name[:i], m.Name[i+1:]
	}
	kind := uint32(m.Number) & unix.S_IFMT
	if !plainName(name) || kind != unix.S_IFCHR && kind != unix.S_IFBLK {
		return unix.EINVAL
	}
	fd, err := beneath(p.dir, parent, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return errnoOf(err)
	}
	defer unix.Close(fd)
	return errnoOf(unix.Mknodat(fd, name, kind|uint32(m.Number)&0o777, int(m.Device)))
}

// beneath opens what is below a directory, through no link and on no other mount.
func beneath(dir int, path string, flags uint64) (int, error) {
	how := unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	for range 128 { // EAGAIN is a rename somewhere, which only a worker that was taken over makes here
		fd, err := unix.Openat2(dir, path, &how)
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
	return -1, unix.EAGAIN
}

func errnoOf(err error) unix.Errno {
	if err == nil {
		return 0
	}
	if e, ok := err.(unix.Errno); ok {
		return e
	}
	return unix.EIO
}

// RemoveTree removes a directory and all in it, whoever its files belong to: without root in a worker, whose root is made in scratch, an empty directory.
func RemoveTree(ctx context.Context, parent, name, scratch string) error {
	dir, err := unix.Open(parent, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "open %s: %w", parent, err)
	}
	defer unix.Close(dir)
	err = extract.RemoveAll(dir, name)
	if err == nil {
		return nil
	}
	if err != unix.EACCES && err != unix.EPERM || os.Geteuid() == 0 {
		return errdef.Errorf(errdef.Internal, "remove %s: %w", filepath.Join(parent, name), err)
	}
	layers := filepath.Join(scratch, layersName)
	if err := os.Mkdir(layers, 0o700); err != nil && !os.IsExist(err) {
		return errdef.Errorf(errdef.Internal, "make the directory of layers: %w", err)
	}
	if err := os.Rename(filepath.Join(parent, name), filepath.Join(layers, name)); err != nil {
		return errdef.Errorf(errdef.Internal, "move %s away: %w", filepath.Join(parent, name), err)
	}
	w, err := NewWorker(ctx, Options{Dir: scratch})
	if err != nil {
		return err
	}
	defer w.Close()
	return w.Remove(ctx, name)
}
