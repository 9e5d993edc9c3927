package monitor

import (
	"bytes"
	"strconv"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
)

// maxPiece is how much of a line without an end is one entry: Docker's, whose readers join them again.
const maxPiece = 16 << 10

// An entry is a line of output, or a piece of a long one.
type entry struct {
	stream byte   // 1 output, 2 error output
	text   []byte // without the end of the line
	whole  bool   // a line ends here
	time   time.Time
	lost   int // in a buffer, instead of a text: how many lines found no room here
}

// name is the stream's, as Docker has it.
func (e *entry) name() string {
	if e.stream == 2 {
		return "stderr"
	}
	return "stdout"
}

// A driver keeps entries somewhere. put may keep no part of the entry, and waits for a bounded time only; its error is an entry that is lost.
type driver interface {
	put(e *entry) error
	close()
}

// openDriver opens the log of a container.
func openDriver(o *control.Log) (driver, error) {
	var d driver
	var err error
	switch o.Driver {
	case "none":
		return nothing{}, nil
	case "json-file":
		d, err = openFile(o)
	case "journald":
		d, err = openJournal(o)
	case "syslog":
		d, err = openSyslog(o)
	default:
		err = errdef.Errorf(errdef.Unsupported, "there is no such driver")
	}
	if err != nil {
		return nil, errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "log driver %s: %w", o.Driver, err), errdef.Hint(err))
	}
	if o.Buffer > 0 {
		d = newBuffer(d, o.Buffer)
	}
	return d, nil
}

// nothing is the driver none.
type nothing struct{}

func (nothing) put(*entry) error { return nil }
func (nothing) close()           {}

// A log makes lines of the output of a program and has them kept. What is lost is told in the log itself, as soon as it takes something again.
type log struct {
	mu      sync.Mutex
	d       driver
	partial [3][]byte // of each stream: what has no end of line yet
	lost    int
	closed  bool
}

func openLog(o *control.Log) (*log, error) {
	d, err := openDriver(o)
	if err != nil {
		return nil, err
	}
	return &log{d: d}, nil
}

// write keeps a piece of output, by lines.
func (l *log) write(stream byte, data []byte, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, none := l.d.(nothing); l.closed || none {
		return
	}
	for len(data) > 0 {
		piece, whole := data, false
		if end := bytes.IndexByte(data, '\n'); end >= 0 {
			piece, whole = data[:end], true
		}
		room := maxPiece - len(l.partial[stream])
		if len(piece) > room || len(piece) == room && !whole {
			piece, whole = piece[:room], false
		}
		l.partial[stream] = append(l.partial[stream], piece...)
		data = data[len(piece):]
		if whole {
			data = data[1:]
		}
		if whole || len(l.partial[stream]) == maxPiece {
			l.put(stream, whole, now)
		}
	}
}

// put has kept what has come of a stream.
func (l *log) put(stream byte, whole bool, now time.Time) {
	text := l.partial[stream]
	l.partial[stream] = text[:0]
	if cap(text) > maxPiece+1024 {
		l.partial[stream] = nil
	}
	if l.lost > 0 && l.d.put(note(l.lost, now)) == nil {
		l.lost = 0
	}
	if l.d.put(&entry{stream: stream, text: text, whole: whole, time: now}) != nil {
		l.lost++
	}
}

// note is the line that says that lines are missing.
func note(lost int, now time.Time) *entry {
	return &entry{stream: 2, text: []byte("[bulkhead: " + strconv.Itoa(lost) + " lines of output could not be written here]"), whole: true, time: now}
}

func (l *log) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	l.rest()
	l.d.close()
}

// rest puts what has no end of line, and never will.
func (l *log) rest() {
	for stream := byte(1); stream <= 2; stream++ {
		if len(l.partial[stream]) > 0 {
			l.put(stream, false, time.Now())
		}
	}
}

// flush is called when a run of the program has ended: who reads the log then finds all of it, but for what a slow log has not taken in time.
func (l *log) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.rest()
	if b, ok := l.d.(*buffer); ok {
		for end := time.Now().Add(drainPatience); !b.empty() && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	}
}

// A buffer is what mode=non-blocking puts before a driver: the program does not wait for a slow log, and loses lines instead.
type buffer struct {
	d    driver
	most int64

	mu     sync.Mutex
	turn   *sync.Cond
	queue  []entry
	size   int64
	busy   bool // the driver has some of it
	closed bool
	done   chan struct{}
}

// maxQueue bounds what waits in entries, which cost more than their bytes.
const maxQueue = 64 << 10

// drainPatience is how long a log has for what is still in the buffer when the program has ended.
const drainPatience = 5 * time.Second

func newBuffer(d driver, most int64) *buffer {
	b := &buffer{d: d, most: most, done: make(chan struct{})}
	b.turn = sync.NewCond(&b.mu)
	go b.drain()
	return b
}

// put never fails: the buffer itself tells what was lost, in its place.
func (b *buffer) put(e *entry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	size := int64(len(e.text))
	switch full := b.size > 0 && b.size+size > b.most || len(b.queue) > maxQueue; {
	case b.closed:
	case full && len(b.queue) > 0 && b.queue[len(b.queue)-1].lost > 0:
		b.queue[len(b.queue)-1].lost++
	case full:
		b.queue = append(b.queue, entry{lost: 1, time: e.time})
	default:
		b.size += size
		b.queue = append(b.queue, entry{stream: e.stream, text: bytes.Clone(e.text), whole: e.whole, time: e.time})
	}
	b.turn.Signal()
	return nil
}

// next takes all that waits; nil: nothing will come any more.
func (b *buffer) next() []entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy = false
	for len(b.queue) == 0 && !b.closed {
		b.turn.Wait()
	}
	list := b.queue
	b.queue, b.busy = nil, len(list) > 0
	return list
}

// empty reports whether the driver has taken all.
func (b *buffer) empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue) == 0 && !b.busy
}

func (b *buffer) drain() {
	defer close(b.done)
	lost := 0
	for list := b.next(); list != nil; list = b.next() {
		for i := range list {
			e := &list[i]
			if lost += e.lost; lost > 0 && b.d.put(note(lost, e.time)) == nil {
				lost = 0
			}
			if e.lost == 0 && b.d.put(e) != nil {
				lost++
			}
			b.mu.Lock()
			b.size -= int64(len(e.text))
			b.mu.Unlock()
		}
	}
}

func (b *buffer) close() {
	b.mu.Lock()
	b.closed = true
	b.turn.Signal()
	b.mu.Unlock()
	select {
	case <-b.done:
		b.d.close()
	case <-time.After(drainPatience): // the driver is the drain's as long as it has it
	}
}
