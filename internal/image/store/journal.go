package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/strictjson"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// Actions that the store itself writes; those of commands (pull, tag, load ...) are the caller's words.
const (
	ActionUntag = "untag"
	ActionFound = "found" // index.json was changed by another tool: seen, not done
	ActionLost  = "lost"  // index.json has the name no more, and nobody here took it
	ActionFsck  = "fsck"  // taken away because what it pointed to is not whole
)

// Bounds of a journal.
const (
	maxJournal = 4 << 20 // bytes that are read, from the end
	maxLine    = 4096    // bytes
	maxSource  = 1024    // bytes of Event.Source
	maxAction  = 64
)

// Event is something that happened to a name.
type Event struct {
	When   time.Time     `json:"when"`             // UTC; Tag fills it in
	Action string        `json:"action"`           // pull, tag, load, untag ...
	Digest digest.Digest `json:"digest,omitempty"` // what the name points to from then on; what it pointed to, for untag
	Source string        `json:"source,omitempty"` // where it came from: a reference, a file
}

// record is a line of a journal: enough to make index.json anew.
type record struct {
	Name string `json:"name"`
	Event
	MediaType string `json:"mediaType,omitempty"`
	Size      int64  `json:"size,omitempty"`
}

func (r record) gone() bool {
	return r.Action == ActionUntag || r.Action == ActionLost || r.Action == ActionFsck
}

func newRecord(name string, desc v1.Descriptor, by Event) record {
	by.When, by.Digest = time.Now().UTC().Round(0), desc.Digest
	by.Action, by.Source = cut(by.Action, maxAction), cut(by.Source, maxSource)
	return record{Name: name, Event: by, MediaType: desc.MediaType, Size: desc.Size}
}

func cut(s string, most int) string { return s[:min(len(s), most)] }

// journalName is the file name of a name's journal: a name has slashes, and 512 bytes.
func journalName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// readJournal returns the records of a name, the oldest first; none when there is no journal. Lines that are none are counted.
func (s *Store) readJournal(file string) (records []record, bad int, err error) {
	f, size, err := s.openFile(s.tags, file)
	if errdef.Is(err, errdef.NotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, errdef.Errorf(errdef.KindOf(err), "journal %s: %w", file, err)
	}
	defer f.Close()
	data := make([]byte, min(size, maxJournal))
	if _, err := f.ReadAt(data, size-int64(len(data))); err != nil && err != io.EOF {
		return nil, 0, errdef.Errorf(errdef.Internal, "journal %s: read: %w", file, err)
	}
	if int64(len(data)) < size {
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	for len(data) > 0 {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		r, ok := parseRecord(line)
		if ok && whole && journalName(r.Name) == file {
			records = append(records, r)
		} else {
			bad++
		}
		data = rest
	}
	return records, bad, nil
}

func parseRecord(line []byte) (record, bool) {
	var r record
	err := strictjson.Decode(line, strictjson.Limits{Bytes: maxLine, Depth: 4, Values: 32}, &r)
	return r, err == nil && CheckName(r.Name) == nil && reference.CheckDigest(r.Digest) == nil && r.Size >= 0
}

// appendJournal writes records of one name and syncs them. A line that a killed writer left half is cut off first; index.lock is held.
func (s *Store) appendJournal(name string, records ...record) error {
	file := journalName(name)
	var lines bytes.Buffer
	for _, r := range records {
		line, err := json.Marshal(r)
		if err != nil {
			return errdef.Errorf(errdef.Internal, "journal of %q: %w", name, err)
		}
		lines.Write(append(line, '\n'))
	}
	flags := unix.O_RDWR | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	fresh := false
	fd, err := unix.Openat(s.tags, file, flags, 0)
	if err == unix.ENOENT {
		fresh = true
		fd, err = unix.Openat(s.tags, file, flags|unix.O_CREAT|unix.O_EXCL, 0o600)
	}
	if err != nil {
		return errdef.Errorf(kindOf(err), "journal of %q: open: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), file)
	defer f.Close()
	if err := s.appendLines(f, lines.Bytes()); err != nil {
		return writeFailed(err, "journal of %q", name)
	}
	if fresh {
		return syncDir(s.tags, "the journals")
	}
	return nil
}

func (s *Store) appendLines(f *os.File, lines []byte) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if what := s.trouble(&st); what != "" {
		return errdef.Errorf(errdef.Conflict, "%s stands in its place", what)
	}
	end, err := wholeLines(f, st.Size)
	if err != nil {
		return err
	}
	if end != st.Size {
		if err := f.Truncate(end); err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(lines, end); err != nil {
		_ = f.Truncate(end) // the disk is full: no half a line
		return err
	}
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return err
	}
	return nil
}

// wholeLines returns where the last whole line of the file ends.
func wholeLines(f *os.File, size int64) (int64, error) {
	tail := make([]byte, min(size, 2*maxLine))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil && err != io.EOF {
		return 0, err
	}
	if i := bytes.LastIndexByte(tail, '\n'); i >= 0 {
		return size - int64(len(tail)) + int64(i) + 1, nil
	}
	if int64(len(tail)) < size {
		return size, nil // no journal of ours; Fsck says so
	}
	return 0, nil
}

// writeFailed gives a failed write its kind and, when the disk is full, the way out.
func writeFailed(err error, format string, args ...any) error {
	kind := errdef.KindOf(err)
	if errno := unix.Errno(0); kind == errdef.Internal && errors.As(err, &errno) {
		kind = kindOf(errno)
	}
	err = errdef.Errorf(kind, format+": %w", append(args, err)...)
	if kind == errdef.Unavailable {
		return errdef.WithHint(err, "make room on the disk, `image prune` may help")
	}
	return err
}

// unrecorded returns what the journal does not know yet of a name: that index.json gives it to something else than the last record says.
func unrecorded(name string, records []record, x *index) (record, bool) {
	e, _, there := x.named(name)
	var last record
	if len(records) > 0 {
		last = records[len(records)-1]
	}
	known := len(records) > 0 && !last.gone()
	switch {
	case there && (!known || last.Digest != e.desc.Digest):
		r := newRecord(name, e.desc, Event{Action: ActionFound, Source: indexFile})
		if !x.changed.IsZero() {
			r.When = x.changed.UTC()
		}
		return r, true
	case !there && known:
		r := newRecord(name, v1.Descriptor{Digest: last.Digest, MediaType: last.MediaType, Size: last.Size}, Event{Action: ActionLost, Source: indexFile})
		return r, true
	}
	return record{}, false
}

// History returns what happened to a name, the oldest first. It outlives the name. A change that another tool made shows as ActionFound
// or ActionLost. Of a very long journal only the last 4 MiB are read.
func (s *Store) History(name string) ([]Event, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	records, _, err := s.readJournal(journalName(name))
	if err != nil {
		return nil, errdef.Errorf(errdef.KindOf(err), "history of %q: %w", name, err)
	}
	x, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	if r, ok := unrecorded(name, records, x); ok {
		records = append(records, r)
	}
	events := make([]Event, len(records))
	for i, r := range records {
		events[i] = r.Event
	}
	return events, nil
}
