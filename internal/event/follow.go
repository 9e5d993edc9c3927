package event

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/events"
	"golang.org/x/sys/unix"
)

// pollTime is how often a file is looked at where the kernel does not tell of changes.
const pollTime = 200 * time.Millisecond

// Follow calls do with each event from since on that the filter takes, until the time until has come, ctx ends, or do fails. The zero since is now, the zero until is never. An
// event of the past is told when since lies before it.
func (l *Log) Follow(ctx context.Context, since, until time.Time, f Filter, do func(events.Message) error) error {
	if err := f.Check(); err != nil {
		return err
	}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return errdef.Errorf(errdef.Unavailable, "events: %w", err)
	}
	stop := ctx
	if !until.IsZero() {
		var cancel context.CancelFunc
		stop, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	w := newWatch(l.dir)
	defer w.close()
	r := &reader{log: l, do: func(line []byte) error {
		var m events.Message
		if json.Unmarshal(line, &m) != nil {
			return nil //nolint:nilerr // torn
		}
		at := time.Unix(0, m.TimeNano)
		if !since.IsZero() && at.Before(since) || !until.IsZero() && at.After(until) || !f.Match(&m) {
			return nil
		}
		return do(m)
	}}
	defer r.close()
	if err := r.begin(!since.IsZero()); err != nil {
		return err
	}
	for {
		if err := r.read(); err != nil {
			return err
		}
		if !w.wait(stop) {
			break
		}
	}
	if err := r.read(); err != nil { // what came at the last moment
		return err
	}
	if ctx.Err() != nil && (until.IsZero() || time.Now().Before(until)) {
		return errdef.Errorf(errdef.Timeout, "events: %w", context.Cause(ctx))
	}
	return nil
}

// A reader goes through the files in order.
type reader struct {
	log  *Log
	f    *os.File // nil: none yet
	rest []byte   // of a line without its end
	do   func(line []byte) error
}

// begin opens the first file that matters: the older one for the past, the end of the current one else.
func (r *reader) begin(past bool) error {
	name := current
	if past {
		name = before
	}
	err := r.open(name)
	if past && os.IsNotExist(err) {
		err = r.open(current)
	}
	if os.IsNotExist(err) {
		return nil
	}
	if err == nil && !past {
		_, err = r.f.Seek(0, io.SeekEnd)
	}
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "events: %w", err)
	}
	return nil
}

func (r *reader) open(name string) error {
	f, err := os.OpenFile(r.log.path(name), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	r.close()
	r.f, r.rest = f, nil
	return nil
}

func (r *reader) close() {
	if r.f != nil {
		_ = r.f.Close()
	}
}

// read tells all lines that are there, through all files.
func (r *reader) read() error {
	for {
		last := r.f == nil || same(int(r.f.Fd()), r.log.path(current)) // before the end of it is read: a file that was renamed does not grow
		if r.f != nil {
			if err := r.lines(); err != nil {
				return err
			}
		}
		if r.f != nil && last {
			return nil
		}
		if err := r.next(); err != nil || r.f == nil {
			return err
		}
	}
}

// next opens the file after this one.
func (r *reader) next() error {
	name := current
	if r.f != nil && !same(int(r.f.Fd()), r.log.path(before)) {
		name = before // two behind
	}
	err := r.open(name)
	if os.IsNotExist(err) { // not written yet
		if r.f != nil {
			r.close()
			r.f = nil
		}
		return nil
	}
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "events: %w", err)
	}
	return nil
}

// lines tells the lines up to the end of the file.
func (r *reader) lines() error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.f.Read(buf)
		r.rest = append(r.rest, buf[:n]...)
		for {
			end := bytes.IndexByte(r.rest, '\n')
			if end < 0 {
				break
			}
			line := r.rest[:end]
			r.rest = r.rest[end+1:]
			if err := r.do(line); err != nil {
				return err
			}
		}
		if len(r.rest) > 2*maxLine { // nothing that we wrote
			r.rest = nil
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return errdef.Errorf(errdef.Unavailable, "events: %w", err)
		}
	}
}

// A watch waits for changes in a directory.
type watch struct{ f *os.File } // nil: the kernel has no more of them

func newWatch(dir string) *watch {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return &watch{}
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONLYDIR); err != nil {
		_ = unix.Close(fd)
		return &watch{}
	}
	return &watch{os.NewFile(uintptr(fd), "inotify")}
}

// wait returns when something may have changed; false when ctx has ended.
func (w *watch) wait(ctx context.Context) bool {
	if w.f == nil {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pollTime):
			return true
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = w.f.SetReadDeadline(time.Now()) })
	defer stop()
	buf := make([]byte, 4096)
	_, err := w.f.Read(buf)
	return err == nil && ctx.Err() == nil
}

func (w *watch) close() {
	if w.f != nil {
		_ = w.f.Close()
	}
}
