package monitor

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/moby/moby/api/types/events"
)

// Bounds of how many are served at once: each has a goroutine. Those who stay leave room for those who have an order, whatever they do: a container can be stopped that
// everybody watches.
const (
	maxAsking   = 64 // whose request has not come yet, or is being answered
	maxAttached = 256
	maxWaiting  = 1024
)

const (
	requestTime = 5 * time.Second // for a request to come
	lineSize    = 1 << 10         // bytes of a request that come at once
)

// serve listens on the socket until stop is called.
func (m *monitor) serve() (stop func(), err error) {
	m.stdin = newInput(m.o.StdinOnce, m.o.TTY)
	l, err := bind(m.o.Run, control.SocketFile)
	if err != nil {
		return nil, err
	}
	var serving sync.WaitGroup
	free := make(chan struct{}, maxAsking)
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			free <- struct{}{}
			serving.Go(func() {
				done := sync.OnceFunc(func() { <-free })
				defer done()
				m.serveClient(c, false, done)
			})
		}
	})
	return func() { _ = l.Close() }, nil
}

// adopt serves the clients that came with us, before the program runs, so that they miss nothing of it, and not its end.
func (m *monitor) adopt() error {
	for n := range m.o.Clients {
		f := os.NewFile(uintptr(control.ClientsFD+n), "client")
		c, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			return errdef.Errorf(errdef.Internal, "monitor: a first client: %w", err)
		}
		served := make(chan struct{})
		go m.serveClient(c, true, sync.OnceFunc(func() { close(served) }))
		select {
		case <-served:
		case <-time.After(patience):
			return errdef.Errorf(errdef.Timeout, "monitor: a first client asks for nothing")
		}
	}
	return nil
}

// serveClient answers one request. served is called when nothing that happens from then on is missed, or when it has gone.
func (m *monitor) serveClient(c net.Conn, first bool, served func()) {
	defer served()
	m.stir()
	_ = c.SetReadDeadline(time.Now().Add(requestTime))
	r := bufio.NewReaderSize(c, lineSize)
	line, err := readLine(r)
	var q control.Request
	if err != nil || json.Unmarshal(line, &q) != nil {
		_ = c.Close()
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	if q.Op == "attach" {
		m.attached(c, r, q, first, served)
		return
	}
	if q.Op == "exec" {
		served() // it may last
		m.exec(c, q)
		return
	}
	if q.Op == "wait" {
		defer m.waiting.Add(-1)
		if m.waiting.Add(1) > maxWaiting {
			_ = reply(c, control.Reply{Error: "too many wait for the end of the container already: " + strconv.Itoa(maxWaiting)})
			_ = c.Close()
			return
		}
		served()
	}
	_ = reply(c, m.answer(q))
	_ = c.Close()
}

// attached serves a client that has the streams. The fan closes it: output may come for long after the end of its input. But one that has gone is let go of at once,
// not when the program, which may be silent for days, has something to say.
func (m *monitor) attached(c net.Conn, r io.Reader, q control.Request, first bool, served func()) {
	if m.fan.count() >= maxAttached {
		_ = reply(c, control.Reply{Error: "too many are attached to the container already: " + strconv.Itoa(maxAttached)})
		_ = c.Close()
		return
	}
	if reply(c, control.Reply{Ends: true}) != nil || !m.fan.add(c, first) {
		_ = c.Close()
		return
	}
	m.event(events.ActionAttach, nil)
	served()
	if q.Stdin {
		m.stdin.take(r)
	} else {
		_, _ = io.Copy(io.Discard, r)
	}
	for m.fan.has(c) && !control.HungUp(c) {
		time.Sleep(patience)
	}
	m.fan.drop(c)
}

// readLine reads a line, control.MaxLine bytes at most.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if err != bufio.ErrBufferFull || len(line) > control.MaxLine {
			return line, err
		}
	}
}

func reply(c net.Conn, p control.Reply) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	_, err = c.Write(append(data, '\n'))
	return err
}

// sendReply sends descriptors with the answer.
func sendReply(c *net.UnixConn, p control.Reply, oob []byte) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	_, _, err = c.WriteMsgUnix(append(data, '\n'), oob, nil)
	return err
}

// answer does what a request says.
func (m *monitor) answer(q control.Request) control.Reply {
	switch q.Op {
	case "resize":
		m.mu.Lock()
		m.o.Height, m.o.Width = q.Height, q.Width
		console := m.console
		m.mu.Unlock()
		if console != nil {
			if err := resize(console, q.Height, q.Width); err != nil {
				return control.Reply{Error: err.Error()}
			}
			m.event(events.ActionResize, map[string]string{"height": strconv.Itoa(int(q.Height)), "width": strconv.Itoa(int(q.Width))})
		}
		return control.Reply{}
	case "execresize":
		if err := m.programs.resize(q); err != nil {
			return control.Reply{Error: err.Error()}
		}
		return control.Reply{}
	case "stopping":
		m.meanIt()
		return control.Reply{}
	case "keep":
		m.mu.Lock()
		m.o.AutoRemove = nil
		m.mu.Unlock()
		return control.Reply{}
	case "change":
		m.change(q)
		return control.Reply{}
	case "connect", "disconnect":
		if q.Network == nil {
			return control.Reply{Error: "monitor: a request without a network"}
		}
		if err := m.net.change(q); err != nil {
			return control.Reply{Error: err.Error(), Kind: errdef.KindOf(err), Hint: errdef.Hint(err)}
		}
		return control.Reply{}
	case "wait":
		<-m.ended
		m.mu.Lock()
		defer m.mu.Unlock()
		s := m.state
		return control.Reply{State: &s}
	}
	return control.Reply{Error: "monitor: there is no such request"}
}
