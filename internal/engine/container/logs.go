package container

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
)

const (
	followFirst = 5 * time.Millisecond   // between two looks at a log that has said nothing; then each takes longer
	followLast  = 100 * time.Millisecond // up to this
)

// stampFormat is RFC 3339 with all nine digits, as Docker writes it.
const stampFormat = "2006-01-02T15:04:05.000000000Z07:00"

// Logs writes what a container has printed, and with Follow what it prints until it ends for good.
func (s *Service) Logs(ctx context.Context, name string, o option.Logs, open option.Open) error {
	c, err := s.Get(name)
	if err != nil {
		return err
	}
	if t := c.Host.LogConfig.Type; t != "" && t != "json-file" {
		return errdef.Errorf(errdef.Unsupported, "configured logging driver does not support reading: container %s has %s", c.Name, t)
	}
	streams, err := open(c.Config.Tty)
	if err != nil {
		return err
	}
	return s.copyLog(ctx, c, o, streams)
}

// copyLog writes entries of a log.
func (s *Service) copyLog(ctx context.Context, c *Container, o option.Logs, streams option.Streams) error {
	r, err := openLog(s.LogPath(c.ID), o.Tail)
	if err != nil {
		return err
	}
	defer r.close()
	w := &logWriter{o: o, streams: streams}
	look := followFirst
	for {
		alive := o.Follow && control.Alive(s.runDir(c.ID)) // before what it has written is read
		some, err := w.copy(ctx, r)
		if err != nil || !alive {
			return err
		}
		if !o.Until.IsZero() && time.Now().After(o.Until) {
			return nil
		}
		if look = min(2*look, followLast); some {
			look = followFirst
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(look):
		}
	}
}

// A logEntry is a line of a log file.
type logEntry struct {
	Log    string
	Stream string
	Attrs  map[string]string
	Time   time.Time
}

// A logWriter writes entries as they are wanted.
type logWriter struct {
	o       option.Logs
	streams option.Streams
	within  [2]bool // the last entry of the stream was no whole line
	buf     []byte
}

// copy writes all that can be read, and reports whether that was something.
func (w *logWriter) copy(ctx context.Context, r *logReader) (bool, error) {
	some := false
	for n := 0; ; n++ {
		if n%64 == 0 && ctx.Err() != nil {
			return some, nil
		}
		line, err := r.next()
		if err == io.EOF {
			return some, nil
		}
		if err != nil {
			return some, err
		}
		some = true
		var e logEntry
		if json.Unmarshal(line, &e) != nil {
			continue // what a kill or a full disk has torn
		}
		if err := w.write(&e); err != nil {
			return some, err
		}
	}
}

func (w *logWriter) write(e *logEntry) error {
	at, wanted, to := 0, w.o.Stdout, w.streams.Out
	if e.Stream == "stderr" {
		at, wanted, to = 1, w.o.Stderr, w.streams.Err
	}
	within := w.within[at]
	w.within[at] = !strings.HasSuffix(e.Log, "\n")
	if !wanted || to == nil || e.Time.Before(w.o.Since) || !w.o.Until.IsZero() && e.Time.After(w.o.Until) {
		return nil
	}
	w.buf = w.buf[:0]
	if !within { // a long line is several entries, and has one beginning
		if w.o.Timestamps {
			w.buf = append(e.Time.AppendFormat(w.buf, stampFormat), ' ')
		}
		if w.o.Details {
			w.buf = append(append(w.buf, details(e.Attrs)...), ' ')
		}
	}
	w.buf = append(w.buf, e.Log...)
	_, err := to.Write(w.buf)
	return err
}

// details are what was asked to be kept with each entry: KEY=VALUE, by commas.
func details(attrs map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		out = append(out, url.QueryEscape(k)+"="+url.QueryEscape(attrs[k]))
	}
	return strings.Join(out, ",")
}

// sameFile reports whether two descriptions are of one file.
func sameFile(a, b os.FileInfo) bool { return a != nil && b != nil && os.SameFile(a, b) }
