package monitor

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
)

// A logFile keeps output as Docker's json-file does: a JSON object per line, rotated by size.
type logFile struct {
	o      *control.Log
	f      *os.File
	size   int64
	packed chan struct{} // closed when the file that was turned away last is packed; nil: none
}

// A line is one of the file.
type line struct {
	Log    string            `json:"log"`
	Stream string            `json:"stream"`
	Attrs  map[string]string `json:"attrs,omitempty"`
	Time   time.Time         `json:"time"`
}

func openFile(o *control.Log) (*logFile, error) {
	f, err := os.OpenFile(o.Path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "%w", err)
	}
	l := &logFile{o: o, f: f}
	st, err := f.Stat()
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "%w", err)
	}
	if l.size = st.Size(); l.size > 0 { // a line that a killed monitor left half
		var last [1]byte
		if _, err := f.ReadAt(last[:], l.size-1); err == nil && last[0] != '\n' {
			n, _ := f.Write([]byte{'\n'})
			l.size += int64(n)
		}
	}
	return l, nil
}

// put appends an entry; a line that the disk takes half of is taken back.
func (l *logFile) put(e *entry) error {
	text := string(e.text)
	if e.whole {
		text += "\n"
	}
	data, err := json.Marshal(&line{text, e.name(), l.o.Attrs, e.time.UTC()})
	if err != nil {
		return err
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
		return err
	}
	l.size += int64(n)
	return nil
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
	l.wait()
	for i := most - 1; i > 1; i-- {
		for _, end := range []string{"", ".gz"} {
			_ = os.Rename(l.name(i-1)+end, l.name(i)+end)
		}
	}
	if os.Rename(l.o.Path, l.name(1)) != nil {
		return
	}
	f, err := os.OpenFile(l.o.Path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return // the old file goes on under its new name
	}
	_ = l.f.Close()
	l.f, l.size = f, 0
	if l.o.Compress {
		l.packed = make(chan struct{})
		go func(done chan struct{}) {
			defer close(done)
			_ = pack(l.name(1)) // it stays as it is, then
		}(l.packed)
	}
}

func (l *logFile) name(n int) string { return l.o.Path + "." + strconv.Itoa(n) }

// wait waits until the last file is packed, which would have another name by then.
func (l *logFile) wait() {
	if l.packed != nil {
		<-l.packed
		l.packed = nil
	}
}

// pack compresses a file, which is called NAME.gz then.
func pack(path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	const half = ".new"
	out, err := os.OpenFile(path+".gz"+half, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(path + ".gz" + half)
	defer out.Close()
	w, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if _, err = io.Copy(w, in); err == nil {
		err = w.Close()
	}
	if err != nil {
		return err
	}
	if err := os.Rename(path+".gz"+half, path+".gz"); err != nil {
		return err
	}
	return os.Remove(path)
}

func (l *logFile) close() {
	l.wait()
	_ = l.f.Close()
}
