package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// A Hijacked connection carries a program's streams: what is written goes to its input.
type Hijacked struct {
	net.Conn
	r   *bufio.Reader
	TTY bool // output comes as it is; else in frames
}

// Read reads what comes after the head of the answer.
func (h *Hijacked) Read(b []byte) (int, error) { return h.r.Read(b) }

// CloseWrite ends the program's input.
func (h *Hijacked) CloseWrite() error {
	if c, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// Copy writes the output to two writers until its end.
func (h *Hijacked) Copy(out, problems io.Writer) error {
	if h.TTY {
		_, err := io.Copy(out, h.r)
		return err
	}
	return Demultiplex(h.r, out, problems)
}

// Hijack posts JSON (nil: none) and takes the connection over.
func (c *Client) Hijack(ctx context.Context, path string, query url.Values, body any) (*Hijacked, error) {
	q := Request{Method: http.MethodPost, Path: path, Query: query, Header: http.Header{"Connection": {"Upgrade"}, "Upgrade": {"tcp"}}}
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "request %s: %w", path, err)
		}
		q.Body = bytes.NewReader(data)
		q.Header.Set("Content-Type", "application/json")
	}
	r, err := c.request(ctx, q)
	if err != nil {
		return nil, err
	}
	conn, err := c.o.Dial(ctx)
	if err != nil {
		return nil, c.failed(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	reader := bufio.NewReaderSize(conn, 32<<10)
	err = r.Write(conn)
	var answer *http.Response
	if err == nil {
		answer, err = http.ReadResponse(reader, r)
	}
	if err != nil {
		_ = conn.Close()
		return nil, c.failed(ctx, err)
	}
	if answer.StatusCode >= 400 {
		defer conn.Close()
		return nil, errorOf(answer)
	}
	if !stop() { // the context ended at this moment
		_ = conn.Close()
		return nil, c.failed(ctx, context.Cause(ctx))
	}
	return &Hijacked{Conn: conn, r: reader, TTY: answer.Header.Get("Content-Type") != "application/vnd.docker.multiplexed-stream"}, nil
}

// maxFrame bounds a frame, in bytes.
const maxFrame = 16 << 20

// Demultiplex splits Docker's frames into output and error output, until the end of the stream. A frame of the third stream is an error of the engine.
func Demultiplex(r io.Reader, out, problems io.Writer) error {
	var head [8]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return errdef.Errorf(errdef.Unavailable, "stream of the engine: %w", err)
		}
		size := binary.BigEndian.Uint32(head[4:])
		if size > maxFrame {
			return errdef.Errorf(errdef.Invalid, "stream of the engine: a frame of %d bytes", size)
		}
		w := out
		switch head[0] {
		case 0, 1:
		case 2:
			w = problems
		case 3:
			text, _ := io.ReadAll(io.LimitReader(r, int64(size)))
			return errdef.Errorf(errdef.Internal, "%s", text)
		default:
			return errdef.Errorf(errdef.Invalid, "stream of the engine: no stream has the number %d", head[0])
		}
		if _, err := io.CopyN(w, r, int64(size)); err != nil {
			return err
		}
	}
}
