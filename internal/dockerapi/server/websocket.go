package server

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Frames of RFC 6455.
const (
	frameMore   = 0 // of the message that has begun
	frameText   = 1
	frameBinary = 2
	frameClose  = 8
	framePing   = 9
	framePong   = 10

	finalBit   = 0x80
	maskBit    = 0x80
	maxControl = 125 // bytes of a control frame
	statusEnd  = 1000
	statusFail = 1002
)

// websocketKey is what RFC 6455 joins to a client's key; SHA-1 protects nothing there.
const websocketKey = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// websocketAccept checks a handshake and returns the answer to its key. A page of the web may open a websocket to whatever its reader can reach, and a browser says which page it
// is: only one that comes from this host, as it is called in the request, is let in.
func (r *request) websocketAccept() (string, error) {
	has := func(header, word string) bool {
		for _, v := range r.Header.Values(header) {
			for part := range strings.SplitSeq(v, ",") {
				if strings.EqualFold(strings.TrimSpace(part), word) {
					return true
				}
			}
		}
		return false
	}
	key := r.Header.Get("Sec-Websocket-Key")
	raw, err := base64.StdEncoding.DecodeString(key)
	switch {
	case !has("Upgrade", "websocket") || !has("Connection", "upgrade"):
		return "", errdef.Errorf(errdef.Invalid, "attach/ws: wants a websocket: the headers Connection: Upgrade and Upgrade: websocket")
	case r.Header.Get("Sec-Websocket-Version") != "13":
		return "", errdef.Errorf(errdef.Invalid, "attach/ws: version %.16q of the websocket protocol: wants 13", r.Header.Get("Sec-Websocket-Version"))
	case err != nil || len(raw) != 16:
		return "", errdef.Errorf(errdef.Invalid, "attach/ws: Sec-WebSocket-Key %.64q: wants 16 bytes in base64", key)
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
			return "", errdef.Errorf(errdef.Denied, "attach/ws: a page of %.256q may not attach to containers of %.256q", origin, r.Host)
		}
	}
	sum := sha1.Sum([]byte(key + websocketKey))
	return base64.StdEncoding.EncodeToString(sum[:]), nil
}

// containerAttachWebsocket attaches over a websocket. Both outputs come as they are, in binary messages; what messages carry goes to the program's input. Versions before 1.42
// attach all streams, whatever is asked for.
func (s *Server) containerAttachWebsocket(r *request) error {
	o := option.Attach{Stdin: true, Stdout: true, Stderr: true, Logs: r.flag("logs"), Stream: r.flag("stream"), DetachKeys: r.query("detachKeys")}
	if r.atLeast(42) {
		o.Stdin, o.Stdout, o.Stderr = r.flag("stdin"), r.flag("stdout"), r.flag("stderr")
	}
	accept, err := r.websocketAccept()
	if err != nil {
		if errdef.Is(err, errdef.Invalid) { // what it names is looked for first
			if _, missing := s.Containers.Inspect(r.Context(), r.value("name"), false); missing != nil {
				return missing
			}
		}
		return err
	}
	var ws *websocket
	return r.hijacked(func(tty bool) (option.Streams, *hijack, error) {
		h, from, err := r.take("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + "\r\n\r\n")
		if err != nil {
			return option.Streams{}, h, err
		}
		ws = &websocket{conn: h.conn, r: bufio.NewReader(from), closed: make(chan struct{})}
		h.closing, h.leaving = ws.goodbye, ws.closed
		return option.Streams{In: ws, Out: ws, Err: ws}, h, nil
	}, func(ctx context.Context, open option.Open) error {
		return s.Containers.Attach(ctx, r.value("name"), o, func(tty bool) (option.Streams, error) {
			streams, err := open(tty)
			if err == nil && !o.Stdin { // nobody reads then, and pings must be answered all the same
				go func() { _, _ = io.Copy(io.Discard, ws) }()
			}
			return streams, err
		})
	})
}

// A websocket is the server's side of a connection after the handshake. Read returns what the client's messages carry; Write sends a message.
type websocket struct {
	conn   net.Conn
	r      *bufio.Reader
	left   uint64 // of the frame that is read
	mask   [4]byte
	at     int // of mask
	within bool
	closed chan struct{} // the client has said goodbye, or talks nonsense

	mu   sync.Mutex // of what is written
	over bool       // we have said goodbye
	buf  []byte
}

// errFrame is a client that does not keep to the protocol.
var errFrame = errors.New("websocket: a frame that RFC 6455 forbids")

func (w *websocket) Read(p []byte) (int, error) {
	for w.left == 0 {
		if err := w.next(); err != nil {
			select {
			case <-w.closed:
			default:
				close(w.closed)
			}
			if errors.Is(err, errFrame) {
				w.say(statusFail)
			}
			return 0, err
		}
	}
	n, err := w.r.Read(p[:min(uint64(len(p)), w.left)])
	for i := range p[:n] {
		p[i] ^= w.mask[w.at&3]
		w.at++
	}
	w.left -= uint64(n)
	return n, err
}

// next reads the head of the next frame with data; control frames are answered on the way.
func (w *websocket) next() error {
	var head [2]byte
	if _, err := io.ReadFull(w.r, head[:]); err != nil {
		return err
	}
	op, final := head[0]&0xf, head[0]&finalBit != 0
	size, err := w.size(head[1] &^ maskBit)
	if err == nil && (head[1]&maskBit == 0 || head[0]&0x70 != 0) {
		err = errFrame // a client's is masked, and there are no extensions
	}
	if err == nil {
		_, err = io.ReadFull(w.r, w.mask[:])
	}
	if err != nil {
		return err
	}
	w.at = 0
	switch {
	case op >= frameClose:
		return w.control(op, size, final)
	case op > frameBinary, (op == frameMore) != w.within: // a message inside of another, or the rest of none
		return errFrame
	}
	w.left, w.within = size, !final
	return nil
}

func (w *websocket) size(short byte) (uint64, error) {
	var b [8]byte
	switch short {
	case 126:
		_, err := io.ReadFull(w.r, b[6:])
		return binary.BigEndian.Uint64(b[:]), err
	case 127:
		_, err := io.ReadFull(w.r, b[:])
		if err == nil && b[0]&0x80 != 0 {
			err = errFrame
		}
		return binary.BigEndian.Uint64(b[:]), err
	}
	return uint64(short), nil
}

func (w *websocket) control(op byte, size uint64, final bool) error {
	if size > maxControl || !final {
		return errFrame
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(w.r, data); err != nil {
		return err
	}
	for i := range data {
		data[i] ^= w.mask[i&3]
	}
	switch op {
	case framePing:
		return w.frame(framePong, data)
	case framePong:
		return nil
	case frameClose:
		w.say(statusEnd)
		return io.EOF
	}
	return errFrame
}

// Write sends a message. After the goodbye there is nobody to take it.
func (w *websocket) Write(p []byte) (int, error) {
	if err := w.frame(frameBinary, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *websocket) frame(op byte, p []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return net.ErrClosed
	}
	w.over = op == frameClose
	w.buf = append(w.buf[:0], finalBit|op)
	switch n := len(p); {
	case n < 126:
		w.buf = append(w.buf, byte(n))
	case n < 1<<16:
		w.buf = binary.BigEndian.AppendUint16(append(w.buf, 126), uint16(n))
	default:
		w.buf = binary.BigEndian.AppendUint64(append(w.buf, 127), uint64(n))
	}
	w.buf = append(w.buf, p...)
	_, err := w.conn.Write(w.buf)
	return err
}

// say says goodbye, once.
func (w *websocket) say(status uint16) {
	_ = w.frame(frameClose, binary.BigEndian.AppendUint16(nil, status))
}

func (w *websocket) goodbye() { w.say(statusEnd) }
