package monitor

import (
	"encoding/binary"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"golang.org/x/sys/unix"
)

// sendTime is how long a log that does not read may hold a program up.
const sendTime = 2 * time.Second

// A journal sends entries to systemd's journal, in its native protocol: a datagram of fields (systemd.io/JOURNAL_NATIVE_PROTOCOL). The fields are Docker's.
type journal struct {
	path   string
	conn   net.Conn // nil: none at the moment
	fields []byte   // of every entry
	parts  [3]int   // of each stream: how many pieces the line has so far
	series [3]string
	count  uint64
	later  time.Time // a journal that does not read is not asked again before
}

// ownFields are those that say what an entry is: no label and no variable takes their place.
var ownFields = strings.Fields("MESSAGE PRIORITY CONTAINER_TAG SYSLOG_IDENTIFIER SYSLOG_TIMESTAMP CONTAINER_PARTIAL_MESSAGE CONTAINER_PARTIAL_ID CONTAINER_PARTIAL_ORDINAL CONTAINER_PARTIAL_LAST")

// engineFields are those of the engine's own among the attributes.
var engineFields = []string{"CONTAINER_ID", "CONTAINER_ID_FULL", "CONTAINER_NAME", "IMAGE_NAME"}

// trusted reports whether the journal and its readers take a field of root's for the truth about another service (systemd.journal-fields(7)): journalctl -u shows entries by them.
func trusted(key string) bool {
	for _, prefix := range []string{"OBJECT_", "COREDUMP_", "SYSLOG_", "CODE_"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return slices.Contains([]string{"MESSAGE_ID", "UNIT", "USER_UNIT", "INVOCATION_ID", "USER_INVOCATION_ID", "ERRNO", "DOCUMENTATION", "TID"}, key)
}

func openJournal(o *control.Log) (*journal, error) {
	j := &journal{path: o.Address}
	seen := slices.Clone(ownFields)
	for _, name := range engineFields { // before labels and variables, one of which may become the same name
		if v, ok := o.Attrs[name]; ok {
			j.fields = field(j.fields, name, []byte(v))
		}
		seen = append(seen, name)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Attrs)) {
		if key := fieldName(name); key != "" && !slices.Contains(seen, key) && !trusted(key) {
			seen = append(seen, key)
			j.fields = field(j.fields, key, []byte(o.Attrs[name]))
		}
	}
	j.fields = field(j.fields, "CONTAINER_TAG", []byte(o.Tag))
	j.fields = field(j.fields, "SYSLOG_IDENTIFIER", []byte(o.Tag))
	if err := j.dial(); err != nil {
		err := errdef.Errorf(errdef.Unavailable, "no journal answers at %s: %w", o.Address, err)
		return nil, errdef.WithHint(err, "journald is part of systemd; without it use --log-driver json-file")
	}
	return j, nil
}

func (j *journal) dial() (err error) {
	d := net.Dialer{Timeout: sendTime}
	j.conn, err = d.Dial("unixgram", j.path)
	return err
}

// fieldName makes a name that the journal takes: capital letters, digits and lines, and no line first, which is the journal's own; "": there is none.
func fieldName(s string) string {
	name := strings.TrimLeft(strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, s), "_0123456789")
	return name[:min(len(name), 64)]
}

// field appends a field. One with an end of line in it has its length in front: nobody can make a second field of a value.
func field(b []byte, name string, value []byte) []byte {
	b = append(b, name...)
	if !slices.Contains(value, '\n') {
		b = append(append(b, '='), value...)
		return append(b, '\n')
	}
	b = append(b, '\n')
	b = binary.LittleEndian.AppendUint64(b, uint64(len(value)))
	return append(append(b, value...), '\n')
}

func (j *journal) put(e *entry) error {
	priority := "6" // info
	if e.stream == 2 {
		priority = "3" // err
	}
	b := field(slices.Clone(j.fields), "MESSAGE", e.text)
	b = field(b, "PRIORITY", []byte(priority))
	b = field(b, "SYSLOG_TIMESTAMP", []byte(e.time.UTC().Format(time.RFC3339Nano)))
	if !e.whole || j.parts[e.stream] > 0 { // pieces of one line can be told by their name, and put together
		if j.parts[e.stream] == 0 {
			j.count++
			j.series[e.stream] = strconv.FormatInt(e.time.UnixNano(), 36) + "-" + strconv.FormatUint(j.count, 36)
		}
		j.parts[e.stream]++
		b = field(b, "CONTAINER_PARTIAL_MESSAGE", []byte("true"))
		b = field(b, "CONTAINER_PARTIAL_ID", []byte(j.series[e.stream]))
		b = field(b, "CONTAINER_PARTIAL_ORDINAL", []byte(strconv.Itoa(j.parts[e.stream])))
		b = field(b, "CONTAINER_PARTIAL_LAST", []byte(strconv.FormatBool(e.whole)))
		if e.whole {
			j.parts[e.stream] = 0
		}
	}
	return j.send(b)
}

// send sends a datagram; to a journal that was started anew, too.
func (j *journal) send(b []byte) error {
	err := error(unix.EAGAIN)
	if time.Now().Before(j.later) {
		return err
	}
	for range 2 {
		if j.conn == nil {
			if err = j.dial(); err != nil {
				return err
			}
		}
		_ = j.conn.SetWriteDeadline(time.Now().Add(sendTime))
		if _, err = j.conn.Write(b); err == nil {
			return nil
		}
		j.close()
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			j.later = time.Now().Add(sendTime)
			return err
		}
	}
	return err
}

func (j *journal) close() {
	if j.conn != nil {
		_ = j.conn.Close()
		j.conn = nil
	}
}
