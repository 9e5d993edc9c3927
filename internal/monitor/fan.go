package monitor

import (
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
)

// How long clients that do not read may hold the container up: all of them together for a second with each piece of output, the one that started it, where the user waits as
// for a pipe, for an hour. Who takes nothing for so long is let go of, and told so: the end of the output has a frame of its own, which it does not get.
const (
	patience      = time.Second
	firstPatience = time.Hour
)

// A fan hands output to the log and to all clients.
type fan struct {
	mu      sync.Mutex
	log     *log
	clients map[net.Conn]bool // true: the first, which is waited for
	closed  bool

	firstPatience time.Duration
}

func newFan(log *log) *fan {
	return &fan{log: log, clients: map[net.Conn]bool{}, firstPatience: firstPatience}
}

// add takes a client; false when the output has ended.
func (f *fan) add(c net.Conn, first bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.clients[c] = first
	return true
}

// count is how many clients there are.
func (f *fan) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.clients)
}

// has reports whether a client is one still.
func (f *fan) has(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.clients[c]
	return ok
}

func (f *fan) drop(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.clients, c)
	_ = c.Close()
}

// write hands on a piece of output. A log that cannot be written loses it, and says so when it can again.
func (f *fan) write(stream byte, data []byte) {
	f.log.write(stream, data, time.Now())
	f.mu.Lock()
	clients := make(map[net.Conn]bool, len(f.clients))
	for c, first := range f.clients {
		clients[c] = first
	}
	f.mu.Unlock()
	if len(clients) == 1 {
		for c, first := range clients {
			f.hand(c, first, stream, data)
		}
		return
	}
	var group sync.WaitGroup // one that does not read costs the others nothing of their time
	for c, first := range clients {
		group.Go(func() { f.hand(c, first, stream, data) })
	}
	group.Wait()
}

// hand gives a piece of output to a client, or lets go of it.
func (f *fan) hand(c net.Conn, first bool, stream byte, data []byte) {
	wait := patience
	if first {
		wait = f.firstPatience
	}
	_ = c.SetWriteDeadline(time.Now().Add(wait))
	if control.Frame(c, stream, data) != nil {
		f.drop(c)
	}
}

// close ends all clients and the log.
func (f *fan) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	deadline := time.Now().Add(patience)
	for c := range f.clients {
		_ = c.SetWriteDeadline(deadline)
		_ = control.Frame(c, control.EndStream, nil)
		_ = c.Close()
	}
	f.clients = nil
	f.log.close()
}

// An input is the program's, from whoever is attached. What comes before the program does, or between two runs, waits.
type input struct {
	mu    sync.Mutex
	turn  *sync.Cond // f, ended or gone has changed
	f     *os.File
	once  bool // the end of a client's input is the end of the program's
	tty   bool
	ended bool // no more input will come: for the program that is next, too
	gone  bool // no program will come any more
}

func newInput(once, tty bool) *input {
	i := &input{once: once, tty: tty}
	i.turn = sync.NewCond(&i.mu)
	return i
}

// take copies what a client types until its end.
func (i *input) take(c io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := c.Read(buf)
		if n > 0 {
			f := i.wait()
			if f == nil {
				return
			}
			if _, err := f.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if i.once && !i.tty {
				i.end()
			}
			return
		}
	}
}

// wait returns where input goes, when there is such a place; nil if there never will be.
func (i *input) wait() *os.File {
	i.mu.Lock()
	defer i.mu.Unlock()
	for i.f == nil && !i.gone && !i.ended {
		i.turn.Wait()
	}
	return i.f
}

// end closes the program's input, now or when it comes.
func (i *input) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended = true
	i.drop()
	i.turn.Broadcast()
}

func (i *input) drop() {
	if i.f != nil && !i.tty {
		_ = i.f.Close()
	}
	i.f = nil
}

// put gives the input a program to go to; nil takes it away.
func (i *input) put(f *os.File) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.drop()
	if i.f = f; i.ended {
		i.drop()
	}
	i.turn.Broadcast()
}

// finish lets go of all who wait for a program.
func (i *input) finish() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.gone = true
	i.turn.Broadcast()
}

// copy begins to carry a run's streams.
func (m *monitor) copy(s *streams, group *sync.WaitGroup) {
	m.mu.Lock()
	if m.o.TTY {
		m.console = s.ours[1]
		m.stdin.put(s.ours[1])
		if m.o.Height > 0 {
			_ = resize(m.console, m.o.Height, m.o.Width)
		}
	} else {
		m.stdin.put(s.ours[0])
		s.ours[0] = nil // the input's
	}
	m.mu.Unlock()
	for stream := byte(1); stream <= 2; stream++ {
		f := s.ours[stream]
		if f == nil {
			continue
		}
		group.Go(func() {
			buf := make([]byte, 32<<10)
			for {
				n, err := f.Read(buf)
				if n > 0 {
					m.stir()
					m.fan.write(stream, buf[:n])
				}
				if err != nil { // EIO is a terminal's end
					return
				}
			}
		})
	}
}

// forget closes what belonged to a run.
func (m *monitor) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.console = nil
	m.stdin.put(nil)
}
