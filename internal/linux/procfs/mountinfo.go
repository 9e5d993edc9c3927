package procfs

import (
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// A Mount is a line of /proc/PID/mountinfo: proc_pid_mountinfo(5).
type Mount struct {
	ID, Parent   int
	Major, Minor uint32
	Root         string // of the mount within its file system, unescaped
	Point        string // relative to the process's root, unescaped
	Options      string // of the mount: "rw,nosuid,relatime"
	Shared       int    // peer group, 0: not shared
	Master       int    // peer group that it is a slave of, 0: none
	Unbindable   bool
	Type         string // file system type, with subtype ("fuse.sshfs")
	Source       string // unescaped; "" if the kernel shows none
	Super        string // options of the superblock
}

// ParseMountinfo parses /proc/PID/mountinfo. Errors, a line that does not have the manual's form, are of kind Internal: a mount that
// is not understood must not be overlooked.
func ParseMountinfo(b []byte) ([]Mount, error) {
	list := make([]Mount, 0, 64)
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		m, ok := parseMount(line)
		if !ok {
			return nil, errdef.Errorf(errdef.Internal, "parse mountinfo: line %.256q", line)
		}
		list = append(list, m)
	}
	return list, nil
}

func parseMount(line string) (m Mount, ok bool) {
	// The fields are separated by single spaces; spaces within them are escaped. Fields may be empty (source "").
	var f [6]string
	rest := line
	for i := range f {
		if f[i], rest, ok = strings.Cut(rest, " "); !ok {
			return m, false
		}
	}
	var err1, err2, err3, err4 error
	m.ID, err1 = strconv.Atoi(f[0])
	m.Parent, err2 = strconv.Atoi(f[1])
	major, minor, ok := strings.Cut(f[2], ":")
	maj, err3 := strconv.ParseUint(major, 10, 32)
	mnr, err4 := strconv.ParseUint(minor, 10, 32)
	if !ok || err1 != nil || err2 != nil || err3 != nil || err4 != nil {
		return m, false
	}
	m.Major, m.Minor = uint32(maj), uint32(mnr)
	m.Root, m.Point, m.Options = Unescape(f[3]), Unescape(f[4]), f[5]
	for {
		var tag string
		if tag, rest, ok = strings.Cut(rest, " "); !ok {
			return m, false
		}
		if tag == "-" {
			break
		}
		m.tag(tag)
	}
	m.Type, rest, ok = strings.Cut(rest, " ")
	if !ok {
		return m, false
	}
	m.Source, m.Super, ok = strings.Cut(rest, " ")
	m.Type, m.Source = Unescape(m.Type), Unescape(m.Source)
	return m, ok
}

// tag reads an optional field. Those that are not known are passed over, as the manual asks.
func (m *Mount) tag(tag string) {
	key, value, _ := strings.Cut(tag, ":")
	n, _ := strconv.Atoi(value)
	switch key {
	case "shared":
		m.Shared = n
	case "master":
		m.Master = n
	case "unbindable":
		m.Unbindable = true
	}
}

// Has reports whether the mount's own options hold name.
func (m *Mount) Has(name string) bool { return hasOption(m.Options, name) }

// SuperHas reports whether the superblock's options hold name.
func (m *Mount) SuperHas(name string) bool { return hasOption(m.Super, name) }

func hasOption(list, name string) bool {
	for list != "" {
		var o string
		if o, list, _ = strings.Cut(list, ","); o == name {
			return true
		}
	}
	return false
}

// Unescape turns the octal escapes that the kernel writes for space, tab, newline, backslash and # (seq_escape) back into bytes.
// Anything else after a backslash stays as it is.
func Unescape(s string) string {
	i := strings.IndexByte(s, '\\')
	if i < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i, b = 0, b[:0]; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] <= '3' && octal(s[i+1]) && octal(s[i+2]) && octal(s[i+3]) {
			b = append(b, (s[i+1]-'0')<<6|(s[i+2]-'0')<<3|(s[i+3]-'0'))
			i += 3
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

func octal(c byte) bool { return c >= '0' && c <= '7' }
