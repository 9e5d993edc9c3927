package api

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// websocket opens a websocket with a client that is not ours.
func (e *engine) websocket(path, origin string) (*websocket.Conn, error) {
	e.Helper()
	config, err := websocket.NewConfig("ws://docker"+path, origin)
	if err != nil {
		e.Fatal(err)
	}
	conn, err := net.Dial("unix", e.socket)
	if err != nil {
		e.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	ws, err := websocket.NewClient(config, conn)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	ws.PayloadType = websocket.BinaryFrame
	return ws, nil
}

// TestAPIWebsocket: attach over a websocket: both ways, the end, and who is let in.
func TestAPIWebsocket(t *testing.T) {
	anyBox(t, func(t *testing.T, e *engine) {
		e.ok("run", "-d", "-i", "--name", "reader", "box", "sh", "-c", "while read line; do echo got $line; echo problem >&2; test $line = end && exit 6; done")
		const all = "?stream=1&stdin=1&stdout=1&stderr=1"
		ws, err := e.websocket("/v1.51/containers/reader/attach/ws"+all, "http://docker")
		if err != nil {
			t.Fatal(err)
		}
		long := strings.Repeat("x", 70_000)
		for _, line := range []string{"one", long, "end"} {
			if _, err := io.WriteString(ws, line+"\n"); err != nil {
				t.Fatal(err)
			}
		}
		out, err := io.ReadAll(ws) // until the server's goodbye
		if err != nil || !bytes.HasPrefix(out, []byte("got one\n")) && !bytes.HasPrefix(out, []byte("problem\n")) || !bytes.Contains(out, []byte("got "+long+"\n")) || !bytes.Contains(out, []byte("got end\n")) {
			t.Errorf("%d bytes: %.80q: %v", len(out), out, err)
		}
		_ = ws.Close()
		e.says("6\n", "wait", "reader")
		// A client that says goodbye leaves the program running.
		e.ok("run", "-d", "-i", "--name", "stays", "box", "cat")
		if ws, err = e.websocket("/containers/stays/attach/ws"+all, "http://docker"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(ws, "x\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(ws).ReadString('\n'); line != "x\n" {
			t.Errorf("%q: %v", line, err)
		}
		_ = ws.Close()
		e.says("running\n", "inspect", "-f", "{{.State.Status}}", "stays")
		if _, err := e.websocket("/containers/stays/attach/ws"+all, "http://evil.example"); err == nil {
			t.Error("a page of another host is let in")
		}
		if _, err := e.websocket("/containers/stays/attach/ws"+all+"&detachKeys=nonsense", "http://docker"); err == nil {
			t.Error("nonsense for keys is taken")
		}
		e.asks([]ask{{"GET", "/containers/stays/attach/ws" + all, "", 400, "websocket"}})
	})
}

// TestAPIWebsocketFrames: pings, fragments, and what the protocol forbids.
func TestAPIWebsocketFrames(t *testing.T) {
	anyBox(t, func(t *testing.T, e *engine) {
		e.ok("run", "-d", "-i", "--name", "cat", "box", "cat")
		open := func() (net.Conn, *bufio.Reader) {
			t.Helper()
			conn, err := net.Dial("unix", e.socket)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			_ = conn.SetDeadline(time.Now().Add(patience))
			key := make([]byte, 16)
			_, _ = rand.Read(key)
			_, err = io.WriteString(conn, "GET /containers/cat/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: d\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"+
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "+base64.StdEncoding.EncodeToString(key)+"\r\n\r\n")
			r := bufio.NewReader(conn)
			a, rerr := http.ReadResponse(r, nil)
			if err != nil || rerr != nil || a.StatusCode != http.StatusSwitchingProtocols {
				t.Fatal(a, err, rerr)
			}
			return conn, r
		}
		masked := func(first byte, text string) string {
			b := []byte{first, 0x80 | byte(len(text)), 1, 2, 3, 4}
			for i := range len(text) {
				b = append(b, text[i]^byte(i&3+1))
			}
			return string(b)
		}
		conn, r := open()
		// A message in three frames, with a ping among them.
		if _, err := io.WriteString(conn, masked(2, "a")+masked(0x89, "ping")+masked(0, "b")+masked(0x80, "c\n")); err != nil {
			t.Fatal(err)
		}
		var data, pong string // cat may answer each part by itself
		for data != "abc\n" || pong == "" {
			var head [2]byte
			_, err := io.ReadFull(r, head[:])
			part := make([]byte, head[1])
			if err == nil {
				_, err = io.ReadFull(r, part)
			}
			if err != nil || len(data) > 4 {
				t.Fatalf("%q, pong %q: %v", data, pong, err)
			}
			switch head[0] {
			case 0x82:
				data += string(part)
			case 0x8a:
				pong += string(part)
			default:
				t.Fatalf("a frame of kind %#x", head[0])
			}
		}
		if pong != "ping" {
			t.Errorf("a ping is answered by %q", pong)
		}
		if _, err := io.WriteString(conn, masked(0x88, "\x03\xe8")); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(r); err != nil || string(rest) != "\x88\x02\x03\xe8" {
			t.Errorf("after a goodbye: %q %v", rest, err)
		}
		for name, bad := range map[string]string{
			"not masked":              "\x82\x01x",
			"the rest of no message":  masked(0x80, "x"),
			"an extension":            masked(0xc2, "x"),
			"an unknown kind":         masked(0x83, "x"),
			"a ping in parts":         masked(0x09, "x"),
			"a ping of 126 bytes":     "\x89\xfe\x00\x7e" + strings.Repeat("x", 130),
			"a length with a sign":    "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff1234",
			"a message within a part": masked(2, "x") + masked(0x82, "y"),
		} {
			conn, r := open()
			if _, err := io.WriteString(conn, bad); err != nil {
				t.Fatal(err)
			}
			if rest, err := io.ReadAll(r); err != nil || !strings.HasSuffix(string(rest), "\x88\x02\x03\xea") {
				t.Errorf("%s: %q %v", name, rest, err)
			}
		}
		e.says("running\n", "inspect", "-f", "{{.State.Status}}", "cat")
	})
}
