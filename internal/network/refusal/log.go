package refusal

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

const (
	fileName = "refused"
	fullFile = 256 << 10   // bytes
	together = time.Minute // equal refusals within it are one
	lateness = time.Second // after which a count is written at the latest
	mostOpen = 256         // refusals that are counted at once
	longText = 300         // bytes of a name or a rule in a record
)

// A Record is something that was refused, once or often.
type Record struct {
	Time     time.Time  // of the first time
	Last     time.Time  `json:",omitzero"` // of the last, if it was refused more than once
	Count    int        // how often
	Protocol string     `json:",omitempty"` // tcp, udp, icmp ... or a number; dns: a question to the resolver
	Address  netip.Addr `json:",omitzero"`
	Port     uint16     `json:",omitempty"`
	Name     string     `json:",omitempty"` // that was last resolved to the address, or was asked for
	Rule     string     // that refused it
	PID      int        `json:",omitempty"` // of the process, as the host sees it, where it could be found
	Process  string     `json:",omitempty"` // its name for itself
}

// same reports whether two records are of the same thing.
func (r Record) same(o Record) bool {
	return r.Protocol == o.Protocol && r.Address == o.Address && r.Port == o.Port && r.Name == o.Name && r.Rule == o.Rule && r.Process == o.Process
}

// A Log is the file of one container's refusals. One process writes it.
type Log struct {
	path string
	mu   sync.Mutex
	open []Record // that were written last and may be counted up, the oldest first
	file []byte   // all before them, as it is on disk
	late *time.Timer
}

// OpenLog goes on with the log in a directory.
func OpenLog(dir string) (*Log, error) {
	l := &Log{path: filepath.Join(dir, fileName)}
	list, err := Read(dir)
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		l.file = append(l.file, line(r)...)
	}
	return l, nil
}

// Add notes a refusal. It does not wait for the disk.
func (l *Log) Add(r Record) {
	r.Name, r.Rule, r.Process = cut(r.Name), cut(r.Rule), cut(r.Process)
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.open {
		if o := &l.open[i]; o.same(r) && r.Time.Sub(o.Time) < together {
			o.Count++
			o.Last = r.Time
			l.soon()
			return
		}
	}
	if len(l.open) > 4*mostOpen {
		return // it is refused faster than written; those before tell what is going on
	}
	r.Count = 1
	l.open = append(l.open, r)
	l.soon()
}

func cut(s string) string { return s[:min(len(s), longText)] }

// soon has the file written, a moment from now.
func (l *Log) soon() {
	if l.late == nil {
		l.late = time.AfterFunc(lateness, func() { _ = l.Flush() })
	}
}

// Flush writes what is not yet written.
func (l *Log) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.late != nil {
		l.late.Stop()
		l.late = nil
	}
	for len(l.open) > 0 && (time.Since(l.open[0].Time) > together || len(l.open) > mostOpen) {
		l.file = append(l.file, line(l.open[0])...)
		l.open = l.open[1:]
	}
	data := bytes.Clone(l.file)
	for _, r := range l.open {
		data = append(data, line(r)...)
	}
	if len(data) > fullFile {
		data = newer(data)
		l.file = newer(l.file)
	}
	if err := atomicfile.Write(l.path, data, atomicfile.Options{Volatile: true}); err != nil {
		return errdef.Errorf(errdef.Unavailable, "log of refusals: %w", err)
	}
	return nil
}

// newer is the newer half of a file's lines.
func newer(b []byte) []byte {
	half := b[len(b)/2:]
	return bytes.Clone(half[bytes.IndexByte(half, '\n')+1:])
}

func line(r Record) []byte {
	b, err := json.Marshal(r)
	if err != nil {
		return nil // a Record of ours has nothing that JSON lacks
	}
	return append(b, '\n')
}

// Read returns what was refused to a container whose run directory is dir, the oldest first. No file is nothing refused.
func Read(dir string) ([]Record, error) {
	f, err := os.OpenFile(filepath.Join(dir, fileName), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "log of refusals: %w", err)
	}
	defer f.Close()
	b := make([]byte, 2*fullFile)
	n := 0
	for n < len(b) {
		m, err := f.Read(b[n:])
		n += m
		if err != nil || m == 0 {
			break
		}
	}
	var out []Record
	for l := range bytes.Lines(b[:n]) {
		var r Record
		if json.Unmarshal(l, &r) == nil {
			out = append(out, r)
		}
	}
	return out, nil
}

var protocols = map[uint8]string{1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp", 136: "udplite"}

// Protocol is a protocol of IP in words.
func Protocol(n uint8) string {
	if s, ok := protocols[n]; ok {
		return s
	}
	return strconv.Itoa(int(n))
}
