package monitor

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"golang.org/x/sys/unix"
)

const (
	syslogQueue = 1 << 20 // bytes that wait for a server that is slow or away
	syslogDial  = 5 * time.Second
	syslogPause = time.Second // before a server that was away is tried again
	maxTries    = 5           // of one message at a server that can be reached: it does not take this one
)

// A syslog sends entries to a server as RFC 3164 or RFC 5424 have them, or as Docker does without a format. A queue stands between: while the server reads, the program
// waits for room in it; while there is no server, what finds no room is lost.
type syslog struct {
	o    *control.Log
	host string
	pid  int

	mu     sync.Mutex
	turn   *sync.Cond // queue, up or closed has changed
	queue  [][]byte
	size   int
	up     bool
	closed bool
	done   chan struct{}
	quit   chan struct{} // closed by close: no more pauses
}

func openSyslog(o *control.Log) (*syslog, error) {
	s := &syslog{o: o, pid: os.Getpid(), up: true, done: make(chan struct{}), quit: make(chan struct{})}
	s.turn = sync.NewCond(&s.mu)
	var err error
	if s.host, err = os.Hostname(); err != nil || s.host == "" {
		s.host = "-"
	}
	conn, err := s.dial()
	if err != nil {
		err := errdef.Errorf(errdef.Unavailable, "syslog-address %s://%s: %w", o.Network, o.Address, err)
		return nil, errdef.WithHint(err, "start the server, or name another with --log-opt syslog-address=")
	}
	go s.send(conn)
	return s, nil
}

func (s *syslog) dial() (net.Conn, error) {
	d := net.Dialer{Timeout: syslogDial}
	if s.o.Network == "unix" { // a log socket is of datagrams, or of a stream
		if conn, err := d.Dial("unixgram", s.o.Address); err == nil {
			return conn, nil
		}
	}
	return d.Dial(s.o.Network, s.o.Address)
}

// message makes an entry's line. What would begin another line is written as \n, so that a program cannot forge one.
func (s *syslog) message(e *entry) []byte {
	severity := 6 // informational
	if e.stream == 2 {
		severity = 3 // error
	}
	priority := s.o.Facility | severity
	text := bytes.ReplaceAll(bytes.ReplaceAll(e.text, []byte("\x00"), []byte(`\0`)), []byte("\r"), []byte(`\r`))
	text = bytes.ReplaceAll(text, []byte("\n"), []byte(`\n`))
	var b []byte
	switch s.o.Format {
	case "rfc5424", "rfc5424micro":
		stamp := time.RFC3339
		if s.o.Format == "rfc5424micro" {
			stamp = "2006-01-02T15:04:05.000000Z07:00"
		}
		b = fmt.Appendf(nil, "<%d>1 %s %s %s %d %s - %s", priority, e.time.Format(stamp), s.host, s.o.Tag, s.pid, s.o.Tag, text)
	case "rfc3164":
		b = fmt.Appendf(nil, "<%d>%s %s %s[%d]: %s", priority, e.time.Format(time.Stamp), s.host, s.o.Tag, s.pid, text)
	default:
		b = fmt.Appendf(nil, "<%d>%s %s[%d]: %s", priority, e.time.Format(time.Stamp), s.o.Tag, s.pid, text)
	}
	return append(b, '\n')
}

func (s *syslog) put(e *entry) error {
	b := s.message(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.up && !s.closed && s.size > 0 && s.size+len(b) > syslogQueue {
		s.turn.Wait()
	}
	if s.closed || s.size > 0 && s.size+len(b) > syslogQueue {
		return unix.ENOBUFS
	}
	s.queue, s.size = append(s.queue, b), s.size+len(b)
	s.turn.Broadcast()
	return nil
}

// next takes the oldest message; nil: there will be none.
func (s *syslog) next() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) == 0 && !s.closed {
		s.turn.Wait()
	}
	if len(s.queue) == 0 {
		return nil
	}
	return s.queue[0]
}

// sent forgets the oldest message.
func (s *syslog) sent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size -= len(s.queue[0])
	s.queue[0] = nil
	s.queue = s.queue[1:]
	s.turn.Broadcast()
}

func (s *syslog) is(up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up = up
	s.turn.Broadcast()
}

// send empties the queue, and connects anew when that is needed.
func (s *syslog) send(conn net.Conn) {
	defer close(s.done)
	tries := 0 // of the oldest message, at a server that is there
	for b := s.next(); b != nil; b = s.next() {
		if conn == nil {
			var err error
			if conn, err = s.dial(); err != nil {
				conn = nil
				s.is(false)
				select {
				case <-time.After(syslogPause):
				case <-s.quit: // one try more was enough
					return
				}
				continue
			}
		}
		if gone(conn) {
			_ = conn.Close()
			conn = nil
			continue
		}
		_ = conn.SetWriteDeadline(time.Now().Add(syslogDial))
		if _, err := conn.Write(b); err != nil {
			_ = conn.Close()
			conn = nil
			s.is(false)
			if tries++; tries < maxTries {
				continue
			}
		} else {
			s.is(true) // not before: a server that can be reached and does not read is away, too
		}
		tries = 0
		s.sent()
	}
	if conn != nil {
		_ = conn.Close()
	}
}

// gone reports whether the other end of a stream has closed it: what is written then is lost without an error.
func gone(c net.Conn) bool {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return true
	}
	closed := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		closed = n == 0 && err == nil || err != nil && err != unix.EAGAIN && err != unix.EINTR
	})
	return closed || err != nil
}

// close gives the server a moment for what is in the queue.
func (s *syslog) close() {
	s.mu.Lock()
	s.closed = true
	s.turn.Broadcast()
	s.mu.Unlock()
	timer := time.AfterFunc(drainPatience/5, func() { close(s.quit) })
	defer timer.Stop()
	select {
	case <-s.done:
	case <-time.After(drainPatience):
	}
}
