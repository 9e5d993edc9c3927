package server

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/jsonstream"
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

// hijack takes the connection over and returns its streams, as attach and exec do: what the client types comes in as it is, output goes out as it is with a
// terminal, and in frames without one. close ends it.
func (r *request) hijack(tty bool) (s option.Streams, closeIt func() error, err error) {
	conn, buffered, err := http.NewResponseController(r.w).Hijack()
	if err != nil {
		return s, nil, errdef.Errorf(errdef.Internal, "hijack the connection: %w", err)
	}
	r.answered = true
	head := "HTTP/1.1 200 OK\r\nContent-Type: " + r.mediaType(tty) + "\r\n\r\n"
	if r.Header.Get("Upgrade") != "" {
		head = "HTTP/1.1 101 UPGRADED\r\nContent-Type: " + r.mediaType(tty) + "\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
	}
	if _, err := io.WriteString(conn, head); err != nil {
		_ = conn.Close()
		return s, nil, errdef.Errorf(errdef.Unavailable, "client: %w", err)
	}
	s.In = buffered.Reader
	s.Out, s.Err = outputs(conn, tty)
	return s, func() error { return endWriting(conn) }, nil
}

// endWriting ends a connection so that what was written arrives: an end with bytes of the peer's unread would take it along (tcp(7), SO_LINGER apart).
func endWriting(conn net.Conn) error {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
	return conn.Close()
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
	f.buf = append(f.buf[:0], f.stream, 0, 0, 0)
	f.buf = binary.BigEndian.AppendUint32(f.buf, uint32(len(p)))
	f.buf = append(f.buf, p...)
	if _, err := f.w.Write(f.buf); err != nil {
		return 0, err
	}
	return len(p), nil
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

// messages sends messages of JSON as they come. The status is sent with the first: an error before it has one of its own.
func (r *request) messages() option.Tell {
	r.w.Header().Set("Content-Type", "application/json")
	var lock sync.Mutex
	return func(m jsonstream.Message) error {
		data, err := json.Marshal(m)
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
	text := err.Error()
	if hint := errdef.Hint(err); hint != "" && !strings.HasPrefix(r.UserAgent(), Agent) {
		text += "\nhint: " + hint
	}
	code := statusOf(errdef.KindOf(err))
	_ = tell(jsonstream.Message{Error: &jsonstream.Error{Code: code, Message: text}})
	return nil
}
