package monitor

import (
	"bytes"
	"encoding/json"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
)

// maxPiece is how much of a line without an end is one entry: Docker's, whose readers join them again.
const maxPiece = 16 << 10

// A logFile keeps output as Docker's json-file does: a JSON object per line, rotated by size.
type logFile struct {
	mu      sync.Mutex
	o       control.Log
	f       *os.File
	size    int64
	partial [3][]byte // of each stream: what has no end of line yet
	lost    int       // entries that could not be written
}

// An entry is a line of the file.
type entry struct {
	Log    string    `json:"log"`
	Stream string    `json:"stream"`
	Time   time.Time `json:"time"`
}

func openLog(o control.Log) (*logFile, error) {
	l := &logFile{o: o}
	if o.Driver != "json-file" {
		return l, nil
	}
	var err error
	if l.f, err = os.OpenFile(o.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "log: %w", err)
	}
	st, err := l.f.Stat()
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "log: %w", err)
	}
	l.size = st.Size()
	return l, nil
}

// write keeps a piece of output, by lines.
func (l *logFile) write(stream byte, data []byte, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return
	}
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n')
		piece, whole := data, false
		if end >= 0 {
			piece, whole = data[:end+1], true
		}
		if room := maxPiece - len(l.partial[stream]); len(piece) >= room {
			piece, whole = piece[:room], true
		}
		l.partial[stream] = append(l.partial[stream], piece...)
		data = data[len(piece):]
		if whole {
			l.put(stream, now)
		}
	}
}

// put writes what has come of a stream as one entry.
func (l *logFile) put(stream byte, now time.Time) {
	text := l.partial[stream]
	l.partial[stream] = text[:0]
	if len(text) == 0 {
		return
	}
	name := map[byte]string{1: "stdout", 2: "stderr"}[stream]
	if l.lost > 0 {
		note := "[bulkhead: " + strconv.Itoa(l.lost) + " lines of output could not be written here]\n"
		if l.line(&entry{note, "stderr", now}) {
			l.lost = 0
		}
	}
	if !l.line(&entry{string(text), name, now}) {
		l.lost++
	}
}

// line appends an entry; a line that the disk takes half of is taken back.
func (l *logFile) line(e *entry) bool {
	data, err := json.Marshal(e)
	if err != nil {
		return false
	}
	data = append(data, '\n')
	if l.o.MaxSize > 0 && l.size > 0 && l.size+int64(len(data)) > l.o.MaxSize {
		l.rotate()
	}
	n, err := l.f.Write(data)
	if err != nil {
		if n > 0 {
			_ = l.f.Truncate(l.size)
		}
		return false
	}
	l.size += int64(n)
	return true
}

// rotate gives each file the next number, and forgets the last.
func (l *logFile) rotate() {
	most := max(l.o.MaxFile, 1)
	if most == 1 {
		if l.f.Truncate(0) == nil {
			l.size = 0
		}
		return
	}
	for i := most - 1; i > 1; i-- {
		_ = os.Rename(l.o.Path+"."+strconv.Itoa(i-1), l.o.Path+"."+strconv.Itoa(i))
	}
	if os.Rename(l.o.Path, l.o.Path+".1") != nil {
		return
	}
	f, err := os.OpenFile(l.o.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return // the old file goes on under its new name
	}
	_ = l.f.Close()
	l.f, l.size = f, 0
}

func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return
	}
	for stream := byte(1); stream <= 2; stream++ {
		l.put(stream, time.Now())
	}
	_ = l.f.Close()
	l.f = nil
}
