package snapshot

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// Info is what is known about a layer.
type Info struct {
	Chain     digest.Digest
	Parent    digest.Digest // "": the lowest
	DiffID    digest.Digest
	Bytes     int64 // of its archive
	Entries   int64
	Opaque    bool // hides everything below it
	UserXattr bool // overlay marks are in the user namespace of attributes
	Synced    bool
	Committed time.Time

	boot string // of the commit, until it is synced
}

const (
	recordName = "layer"
	treeName   = "fs"
	magic      = "bulkhead layer 1"
	maxRecord  = 4096
)

// bootID tells this boot of the machine from others.
var bootID = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown" // layers count as long as nobody knows better
	}
	return strings.TrimSpace(string(b))
})

// encode writes one "key value" a line.
func (i *Info) encode() []byte {
	var b strings.Builder
	line := func(key, value string) { b.WriteString(key + " " + value + "\n") }
	b.WriteString(magic + "\n")
	line("chain", string(i.Chain))
	if i.Parent != "" {
		line("parent", string(i.Parent))
	}
	line("diff", string(i.DiffID))
	line("bytes", strconv.FormatInt(i.Bytes, 10))
	line("entries", strconv.FormatInt(i.Entries, 10))
	line("committed", strconv.FormatInt(i.Committed.Unix(), 10))
	line("opaque", strconv.FormatBool(i.Opaque))
	line("userxattr", strconv.FormatBool(i.UserXattr))
	if !i.Synced {
		line("boot", i.boot)
	}
	return []byte(b.String())
}

// read reads the record of the layer in an open directory.
func read(dir int) (*Info, error) {
	fd, err := unix.Openat(dir, recordName, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil, errdef.Errorf(errdef.NotFound, "read a layer's record: %w", err)
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "read a layer's record: %w", err)
	}
	defer unix.Close(fd)
	buf := make([]byte, maxRecord)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "read a layer's record: %w", err)
	}
	return decode(string(buf[:n]))
}

func decode(text string) (*Info, error) {
	text, ok := strings.CutPrefix(text, magic+"\n")
	if !ok || !strings.HasSuffix(text, "\n") {
		return nil, errdef.Errorf(errdef.Invalid, "a layer's record is damaged, or of another version")
	}
	i := &Info{Synced: true}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		var err error
		switch key {
		case "chain":
			i.Chain, err = digest.Parse(value)
		case "parent":
			i.Parent, err = digest.Parse(value)
		case "diff":
			i.DiffID, err = digest.Parse(value)
		case "bytes":
			i.Bytes, err = strconv.ParseInt(value, 10, 64)
		case "entries":
			i.Entries, err = strconv.ParseInt(value, 10, 64)
		case "committed":
			var n int64
			n, err = strconv.ParseInt(value, 10, 64)
			i.Committed = time.Unix(n, 0)
		case "opaque":
			i.Opaque, err = strconv.ParseBool(value)
		case "userxattr":
			i.UserXattr, err = strconv.ParseBool(value)
		case "boot":
			i.boot, i.Synced = value, false
		}
		if err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "a layer's record is damaged: %s %.100q: %w", key, value, err)
		}
	}
	if i.Chain == "" || i.DiffID == "" {
		return nil, errdef.Errorf(errdef.Invalid, "a layer's record is damaged: no chain")
	}
	return i, nil
}

// counts reports whether what the record says is on the disk can be trusted.
func (i *Info) counts() bool { return i.Synced || i.boot == bootID() }

// write replaces the record. It is no more volatile than the layer: neither is synced before Sync.
func (i *Info) write(dir int) error {
	return atomicfile.WriteAt(dir, recordName, i.encode(), atomicfile.Options{Volatile: true})
}
