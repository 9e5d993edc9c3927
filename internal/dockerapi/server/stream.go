package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/jsonstream"
	"golang.org/x/sys/unix"
)

// Media types of streams.
const (
	rawStream   = "application/vnd.docker.raw-stream"
	multiplexed = "application/vnd.docker.multiplexed-stream"
)

// mediaType is how a stream of output is named to this client.
func (r *request) mediaType(tty bool) string {
	if tty || !r.atLeast(42) {
		return rawStream
	}
	return multiplexed
}

// A hijack is a connection that was taken over.
type hijack struct {
	conn    net.Conn
	done    chan struct{}   // closed when the request has ended
	tell    func(error)     // nil, or tells what went wrong in the middle
	closing func()          // nil, or what is said before the end
	leaving <-chan struct{} // nil, or closed when the client has said that it goes
}

// hijacked serves a request that takes its connection over, as attach and exec do. What the client types comes in as it is, output goes out as it is with a
// terminal, and in frames without one. The context ends when the client has gone, which the end of what it sends is not: it may have closed that half alone.
func (r *request) hijacked(take func(tty bool) (option.Streams, *hijack, error), do func(ctx context.Context, open option.Open) error) error {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	defer cancel(nil)
	before := context.AfterFunc(r.Context(), func() { cancel(context.Cause(r.Context())) }) // which from the hijack on takes the end of the client's input for its end
	defer before()
	var h *hijack
	err := do(ctx, func(tty bool) (s option.Streams, err error) {
		if h != nil {
			return s, errdef.Errorf(errdef.Internal, "the streams of a request are opened twice")
		}
		before()
		s, h, err = take(tty)
		if err == nil {
			go h.watch(func() { cancel(errdef.Errorf(errdef.Unavailable, "the client has gone")) })
		}
		return s, err
	})
	if h == nil {
		return err
	}
	if err != nil && h.tell != nil && ctx.Err() == nil {
		h.tell(err) // which waits for one that does not read, as output does
	}
	h.end()
	return nil
}

// hijack takes the connection over for Docker's raw streams.
func (r *request) hijack(tty bool) (s option.Streams, h *hijack, err error) {
	head := "HTTP/1.1 200 OK\r\nContent-Type: " + r.mediaType(tty) + "\r\n\r\n"
	if r.Header.Get("Upgrade") != "" {
		head = "HTTP/1.1 101 UPGRADED\r\nContent-Type: " + r.mediaType(tty) + "\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
	}
	h, s.In, err = r.take(head)
	if err == nil {
		s.Out, s.Err = outputs(h.conn, tty)
		h.tell = func(err error) {
			text := []byte("\r\n" + err.Error() + "\r\n")
			if !tty { // Docker's third stream
				text = appendFrame(nil, 3, []byte(err.Error()+"\n"))
			}
			_, _ = h.conn.Write(text)
		}
	}
	return s, h, err
}

// take takes the connection over, answers with a head, and returns what the client sends.
func (r *request) take(head string) (*hijack, io.Reader, error) {
	conn, buffered, err := http.NewResponseController(r.w).Hijack()
	if err != nil {
		return nil, nil, errdef.Errorf(errdef.Internal, "hijack the connection: %w", err)
	}
	r.answered = true
	h := &hijack{conn: conn, done: make(chan struct{})}
	_ = conn.SetDeadline(time.Time{})
	if _, err := io.WriteString(conn, head); err != nil {
		return h, nil, errdef.Errorf(errdef.Unavailable, "client: %w", err)
	}
	early := make([]byte, buffered.Reader.Buffered())
	_, _ = io.ReadFull(buffered.Reader, early)
	return h, io.MultiReader(bytes.NewReader(early), conn), nil
}

const (
	lookTime   = time.Second     // between two looks whether a client is still there
	lingerTime = 2 * time.Second // for a client to see the end
)

// watch calls gone when the other side has closed the connection. To close one half is not that, and a read cannot tell the one from the other.
func (h *hijack) watch(gone func()) {
	tick := time.NewTicker(lookTime)
	defer tick.Stop()
	for {
		select {
		case <-h.done:
			return
		case <-h.leaving:
			gone()
			return
		case <-tick.C:
			if hungUp(h.conn) {
				gone()
				return
			}
		}
	}
}

// hungUp asks poll(2), which reports the end of both halves, or of the connection, without being asked for anything.
func hungUp(conn net.Conn) bool {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = t.NetConn()
	}
	c, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	up := true
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(fds, 0)
		up = err != nil || n == 0
	})
	return err != nil || !up
}

// end ends a connection so that what was written arrives: if bytes of the client's were left unread it would see a reset where the end should be (unix(7), tcp(7)).
func (h *hijack) end() {
	close(h.done)
	defer h.conn.Close()
	if h.closing != nil {
		_ = h.conn.SetWriteDeadline(time.Now().Add(lingerTime))
		h.closing()
	}
	c, ok := h.conn.(interface{ CloseWrite() error })
	if !ok || c.CloseWrite() != nil {
		return
	}
	_ = h.conn.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.Copy(io.Discard, h.conn)
}

// outputs returns the two streams over one writer.
func outputs(w io.Writer, tty bool) (out, problems io.Writer) {
	if tty {
		return w, w
	}
	lock := &sync.Mutex{}
	return &frames{w: w, stream: 1, lock: lock}, &frames{w: w, stream: 2, lock: lock}
}

// frames writes Docker's frames: stream, three zeros, length, bytes.
type frames struct {
	w      io.Writer
	stream byte
	lock   *sync.Mutex
	buf    []byte
}

func (f *frames) Write(p []byte) (int, error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.buf = appendFrame(f.buf[:0], f.stream, p)
	if _, err := f.w.Write(f.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

func appendFrame(buf []byte, stream byte, p []byte) []byte {
	buf = append(buf, stream, 0, 0, 0)
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(p)))
	return append(buf, p...)
}

// flushed writes to a client at once.
type flushed struct{ r *request }

func (f flushed) Write(p []byte) (int, error) {
	f.r.answered = true
	n, err := f.r.w.Write(p)
	if err == nil {
		err = http.NewResponseController(f.r.w).Flush()
	}
	return n, err
}

// plain writes to a client when enough has come together.
type plain struct{ r *request }

func (w plain) Write(p []byte) (int, error) {
	w.r.answered = true
	return w.r.w.Write(p)
}

const (
	gatherSize = 32 << 10
	gatherTime = 5 * time.Millisecond
)

// A gathering writes to a client what has come together in a short time: lines of a log come by the thousand, or one a minute. stop must be called.
type gathering struct {
	r     *request
	lock  sync.Mutex
	buf   []byte
	timer *time.Timer // runs while there is something in buf
	err   error
}

func (g *gathering) Write(p []byte) (int, error) {
	g.lock.Lock()
	defer g.lock.Unlock()
	if g.err != nil {
		return 0, g.err
	}
	g.buf = append(g.buf, p...)
	switch {
	case len(g.buf) >= gatherSize:
		g.send()
	case len(g.buf) == len(p) && g.timer == nil:
		g.timer = time.AfterFunc(gatherTime, g.late)
	case len(g.buf) == len(p):
		g.timer.Reset(gatherTime)
	}
	return len(p), g.err
}

func (g *gathering) late() {
	g.lock.Lock()
	defer g.lock.Unlock()
	g.send()
}

func (g *gathering) send() {
	if len(g.buf) == 0 || g.err != nil {
		return
	}
	_, g.err = flushed{g.r}.Write(g.buf)
	g.buf = g.buf[:0]
}

// stop sends what is left, and lets nothing come later.
func (g *gathering) stop() {
	g.lock.Lock()
	defer g.lock.Unlock()
	g.send()
	if g.err == nil {
		g.err = net.ErrClosed
	}
	if g.timer != nil {
		g.timer.Stop()
	}
}

// messages sends messages of JSON as they come. The status is sent with the first: an error before it has one of its own.
func (r *request) messages() option.Tell {
	r.w.Header().Set("Content-Type", "application/json")
	var lock sync.Mutex
	return func(m jsonstream.Message) error {
		said := struct {
			jsonstream.Message
			Text string `json:"error,omitempty"` // where clients look that are older than errorDetail
		}{Message: m}
		if m.Error != nil {
			said.Text = m.Error.Message
		}
		data, err := json.Marshal(said)
		if err != nil {
			return err
		}
		lock.Lock()
		defer lock.Unlock()
		_, err = flushed{r}.Write(append(data, '\r', '\n'))
		return err
	}
}

// lastMessage tells of an error in a stream that has begun; one that has not fails as usual.
func (r *request) lastMessage(tell option.Tell, err error) error {
	if err == nil || !r.answered {
		return err
	}
	m := jsonstream.Message{Error: &jsonstream.Error{Code: statusOf(errdef.KindOf(err)), Message: err.Error()}}
	hint := errdef.Hint(err)
	if r.ours() {
		if data, err := json.Marshal(option.Aux{Kind: errdef.KindOf(err).String(), Hint: hint}); err == nil {
			m.Aux = (*json.RawMessage)(&data)
		}
	} else if hint != "" {
		m.Error.Message += "\nhint: " + hint
	}
	_ = tell(m)
	return nil
}

// ErrorTrailer carries what went wrong in the middle of an archive, as JSON in base64.
const ErrorTrailer = "Bulkhead-Error"

func trailer(err error) string {
	data, _ := json.Marshal(option.Failure{Message: err.Error(), Kind: errdef.KindOf(err).String(), Hint: errdef.Hint(err)}) // strings
	return base64.StdEncoding.EncodeToString(data)
}
