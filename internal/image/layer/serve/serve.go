package serve

import (
	"context"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/extract"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/inflate"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/overlay"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/tarstream"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/wire"
	"golang.org/x/sys/unix"
)

// A server answers requests.
type server struct {
	conn *wire.Conn
	root int

	mu      sync.Mutex
	running map[uint32]*request
	wg      sync.WaitGroup
}

// A request is one that is being answered.
type request struct {
	s      *server
	m      *wire.Message
	fd     int // -1 for none
	cancel context.CancelFunc
	answer chan int64
}

// Run serves the socket until its other end is closed; root is the directory that names in requests are below.
func Run(socket int, root string) error {
	unix.Umask(0)
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "open %s: %w", root, err)
	}
	s := &server{conn: wire.NewConn(socket), root: dir, running: map[uint32]*request{}}
	if err := s.conn.Send(&wire.Message{Kind: wire.Ready}); err != nil {
		return err
	}
	for {
		m, fds, err := s.conn.Receive(true)
		if err == io.EOF {
			return nil // whatever is running ends with the process: the engine is gone, or wants no more
		}
		if err != nil {
			return err
		}
		if err := s.receive(m, fds); err != nil {
			return err
		}
	}
}

func (s *server) receive(m *wire.Message, fds []int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch m.Kind {
	case wire.Cancel:
		if r := s.running[m.Target]; r != nil {
			r.cancel()
		}
	case wire.Answer:
		if r := s.running[m.ID]; r != nil {
			r.answer <- m.Number
		}
	case wire.Unpack, wire.Remove, wire.Diff:
		r := &request{s: s, m: m, fd: -1, answer: make(chan int64, 1)}
		if len(fds) > 0 {
			r.fd = fds[0]
		}
		ctx, cancel := context.WithCancel(context.Background())
		r.cancel = cancel
		s.running[m.ID] = r
		s.wg.Go(func() { r.run(ctx) })
	default:
		return errdef.Errorf(errdef.Invalid, "a request of kind %d", m.Kind)
	}
	return nil
}

// run answers one request.
func (r *request) run(ctx context.Context) {
	result, err := r.perform(ctx)
	r.cancel()
	if r.fd >= 0 {
		unix.Close(r.fd)
	}
	result.Peak = peak()
	r.s.mu.Lock()
	delete(r.s.running, r.m.ID)
	r.s.mu.Unlock()
	if err == nil {
		err = r.list(result.Implied)
	}
	done := &wire.Message{Kind: wire.Done, ID: r.m.ID, Result: result}
	if err != nil {
		done = &wire.Message{Kind: wire.Failed, ID: r.m.ID, Number: int64(errdef.KindOf(err)), Text: clip(err.Error()), Hint: clip(errdef.Hint(err)), Result: result}
	}
	_ = r.s.conn.Send(done) // a lost engine shows at the next Receive
}

// list sends names, as many in a packet as fit.
func (r *request) list(names []string) error {
	const room = wire.MaxMessage - 8<<10
	for len(names) > 0 {
		n, size := 0, 0
		for n < len(names) && size < room {
			size += len(names[n]) + 4
			n++
		}
		if err := r.s.conn.Send(&wire.Message{Kind: wire.List, ID: r.m.ID, List: names[:n]}); err != nil {
			return err
		}
		names = names[n:]
	}
	return nil
}

func clip(s string) string {
	const most = 8 << 10
	return s[:min(len(s), most)]
}

func (r *request) perform(ctx context.Context) (wire.Result, error) {
	if !plain(r.m.Name) {
		return wire.Result{}, errdef.Errorf(errdef.Invalid, "%q is no name of a directory", r.m.Name)
	}
	switch r.m.Kind {
	case wire.Unpack:
		return r.unpack(ctx)
	case wire.Diff:
		return r.diff(ctx)
	}
	if err := extract.RemoveAll(r.s.root, r.m.Name); err != nil {
		return wire.Result{}, errdef.Errorf(errdef.Internal, "remove %q: %w", r.m.Name, err)
	}
	return wire.Result{}, nil
}

// plain reports whether a name stands for a directory in the root.
func plain(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00") && len(name) <= 255
}

// unpack fills a new directory; on an error it is removed again.
func (r *request) unpack(ctx context.Context) (wire.Result, error) {
	limits := r.m.Limits.Default()
	ctx, cancel := context.WithTimeoutCause(ctx, limits.Time, errdef.Errorf(errdef.Timeout, "it took more than %v", limits.Time))
	defer cancel()
	if err := unix.Mkdirat(r.s.root, r.m.Name, 0o755); err != nil {
		return wire.Result{}, errdef.Errorf(errdef.Internal, "make the layer's directory %q: %w", r.m.Name, err)
	}
	result, err := r.fill(ctx, limits)
	if err != nil {
		if gone := extract.RemoveAll(r.s.root, r.m.Name); gone != nil {
			err = errdef.Errorf(errdef.KindOf(err), "%w; and its directory cannot be removed: %w", err, gone)
		}
	}
	return result, err
}

func (r *request) fill(ctx context.Context, limits wire.Limits) (wire.Result, error) {
	root, err := unix.Openat(r.s.root, r.m.Name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return wire.Result{}, errdef.Errorf(errdef.Internal, "open the layer's directory %q: %w", r.m.Name, err)
	}
	defer unix.Close(root)
	if r.fd < 0 {
		return wire.Result{}, errdef.Errorf(errdef.Invalid, "the request has no stream")
	}
	stream, err := inflate.Open(ctx, r.fd, r.m.Text, limits)
	if err != nil {
		return wire.Result{}, err
	}
	defer stream.Close()
	flags := r.m.Flags
	tree, err := extract.New(&extract.Options{
		Root: root, Limits: limits, Host: r, Devices: flags&wire.Devices != 0, UserXattr: flags&wire.UserXattr != 0, Squash: flags&wire.Squash != 0,
	})
	if err != nil {
		return wire.Result{}, err
	}
	result, err := tree.Unpack(ctx, tarstream.NewReader(stream, tarstream.Limits{Headers: limits.Headers}))
	result.Read = stream.Read()
	if err == nil {
		result.DiffID, result.Bytes = stream.Digest(), stream.Bytes()
	}
	return result, err
}

// ask has the engine do something and waits for its answer.
func (r *request) ask(m *wire.Message) error {
	m.ID = r.m.ID
	if err := r.s.conn.Send(m); err != nil {
		return err
	}
	if errno := unix.Errno(<-r.answer); errno != 0 {
		return errno
	}
	return nil
}

// Node implements extract.Host.
func (r *request) Node(path string, mode uint32, device uint64) error {
	return r.ask(&wire.Message{Kind: wire.Node, Name: path, Number: int64(mode), Device: device})
}

// Opaque implements extract.Host.
func (r *request) Opaque(path string) error {
	err := r.ask(&wire.Message{Kind: wire.Opaque, Name: path})
	if err == unix.ENOTSUP {
		return errdef.WithHint(errdef.Errorf(errdef.Unsupported, "mark an opaque directory: this file system has no trusted attributes: %w", err),
			"put the engine's directory on ext4, xfs, btrfs or tmpfs")
	}
	if err != nil {
		return errdef.Errorf(errdef.Internal, "mark an opaque directory: %w", err)
	}
	return nil
}

// diff writes the archive of a directory.
func (r *request) diff(ctx context.Context) (wire.Result, error) {
	if r.fd < 0 {
		return wire.Result{}, errdef.Errorf(errdef.Invalid, "the request has nowhere to write to")
	}
	tree := overlay.Tree{Upper: -1, UserXattr: r.m.Flags&wire.UserXattr != 0}
	defer tree.Close()
	var err error
	if tree.Upper, err = r.directory(r.m.Name); err != nil {
		return wire.Result{}, err
	}
	for _, name := range r.m.List {
		if !plain(name) {
			return wire.Result{}, errdef.Errorf(errdef.Invalid, "%q is no name of a directory", name)
		}
		fd, err := r.directory(name)
		if err != nil {
			return wire.Result{}, err
		}
		tree.Lower = append(tree.Lower, fd)
	}
	f := os.NewFile(uintptr(r.fd), "archive")
	r.fd = -1
	result, err := overlay.Diff(ctx, &tree, f)
	if cerr := f.Close(); err == nil && cerr != nil {
		err = errdef.Errorf(errdef.Internal, "write the archive: %w", cerr)
	}
	return result, err
}

func (r *request) directory(name string) (int, error) {
	fd, err := unix.Openat(r.s.root, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, errdef.Errorf(errdef.Internal, "open %q: %w", name, err)
	}
	return fd, nil
}

// peak is the most memory that this process had resident, bytes (getrusage(2)).
func peak() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Maxrss << 10
}
