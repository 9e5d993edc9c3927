// Package event is the record of what happens to containers, images and volumes: a file that whoever does something appends to, and that `events` follows. There is no
// daemon that would have to be there for it.
//
//	log := event.Open(filepath.Join(run, "events"))
//	err := log.Append(event.New(events.ContainerEventType, events.ActionStart, id, attributes))
//	err := log.Follow(ctx, since, until, event.Filter{"container": {"web"}}, func(m events.Message) error { ... })
//
// The file is `log` in a directory of its own on a tmpfs, one line of JSON for each event, in the types of Docker's API. When it has grown over maxFile bytes it becomes `log.1`, and
// the one that had that name is forgotten: the record is bounded, as Docker's is, which keeps the last 256 events.
//
// Guarantees. A line is written by one write(2) with O_APPEND, so that lines of several writers do not mix; a line that a full disk or a kill has torn is passed over by readers. A
// writer holds a shared lock (flock(2)) of the file while it writes, and renames it only with an exclusive one: no line goes into a file that its readers have left. Who follows sees each line
// once and in order, across renames, unless it is two files behind. Attributes that are too long are cut, not the event left out.
//
// The clock of the events is the wall clock: it may jump, and since and until are compared with it.
package event

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/events"
	"golang.org/x/sys/unix"
)

const (
	maxFile  = 1 << 20         // bytes of a file, about 3,000 events
	maxLine  = 16 << 10        // bytes of a line
	maxValue = 512             // bytes of an attribute in a line that were too long otherwise
	lockTime = 5 * time.Second // for somebody who renames the file
)

// Names in the directory.
const (
	current = "log"
	before  = "log.1"
)

// A Log is a record in a directory.
type Log struct {
	dir string
	max int64 // bytes of a file
}

// Open names the directory of a record. It is made by the first event.
func Open(dir string) *Log { return &Log{dir: dir, max: maxFile} }

// New returns an event of this moment.
func New(kind events.Type, action events.Action, id string, attributes map[string]string) events.Message {
	now := time.Now()
	return events.Message{
		Type: kind, Action: action, Actor: events.Actor{ID: id, Attributes: attributes}, Scope: "local", Time: now.Unix(), TimeNano: now.UnixNano(),
	}
}

// Append adds an event.
func (l *Log) Append(m events.Message) error {
	line, err := encode(m)
	if err != nil {
		return err
	}
	fd, err := l.open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	n, err := unix.Write(fd, line)
	if err == nil && n < len(line) {
		err = unix.ENOSPC
	}
	if err != nil {
		if n > 0 {
			_, _ = unix.Write(fd, []byte{'\n'}) // the next line is not joined to the torn one
		}
		return errdef.Errorf(errdef.Unavailable, "event: write %s: %w", l.path(current), err)
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && st.Size > l.max {
		l.rotate(fd)
	}
	return nil
}

// encode makes the line of an event. One that is too long loses the ends of its attributes, and then all but the shortest of them.
func encode(m events.Message) ([]byte, error) {
	for most := maxValue; ; most /= 4 {
		line, err := json.Marshal(m)
		if err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "event: %w", err)
		}
		if len(line) < maxLine {
			return append(line, '\n'), nil
		}
		if most == 0 {
			return nil, errdef.Errorf(errdef.Invalid, "event: %d bytes are more than %d", len(line), maxLine)
		}
		m.Action = events.Action(cut(string(m.Action), most))
		m.Actor.Attributes = shorten(m.Actor.Attributes, most)
	}
}

// shorten cuts values, and leaves attributes out when they are many.
func shorten(attributes map[string]string, most int) map[string]string {
	keys := slices.SortedFunc(maps.Keys(attributes), func(a, b string) int { return len(a) - len(b) })
	out := map[string]string{}
	for _, k := range keys[:min(len(keys), most)] {
		if len(k) <= most {
			out[k] = cut(attributes[k], most)
		}
	}
	return out
}

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most]
}

func (l *Log) path(name string) string { return filepath.Join(l.dir, name) }

// open opens the current file and locks it, so that it stays that.
func (l *Log) open() (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lockTime)
	defer cancel()
	for {
		fd, err := unix.Open(l.path(current), unix.O_RDWR|unix.O_APPEND|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
		if err == unix.ENOENT {
			if err = os.MkdirAll(l.dir, 0o700); err == nil {
				continue
			}
		}
		if err != nil {
			return -1, errdef.Errorf(errdef.Unavailable, "event: open %s: %w", l.path(current), err)
		}
		if err := atomicfile.Flock(ctx, fd, atomicfile.Shared); err != nil {
			_ = unix.Close(fd)
			return -1, errdef.Errorf(errdef.KindOf(err), "event: %w", err)
		}
		if same(fd, l.path(current)) {
			return fd, nil
		}
		_ = unix.Close(fd) // renamed meanwhile
		if ctx.Err() != nil {
			return -1, errdef.Errorf(errdef.Timeout, "event: %s is renamed again and again", l.path(current))
		}
	}
}

// rotate gives the file its second name, if nobody is just writing into it: then the next writer does it.
func (l *Log) rotate(fd int) {
	if ok, err := atomicfile.TryFlock(fd, atomicfile.Exclusive); err != nil || !ok || !same(fd, l.path(current)) {
		return
	}
	_ = unix.Rename(l.path(current), l.path(before)) // if it cannot be, the file grows: an event is worth more than the bound
}

// same reports whether an open file has that name.
func same(fd int, path string) bool {
	var a, b unix.Stat_t
	return unix.Fstat(fd, &a) == nil && unix.Lstat(path, &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino
}
