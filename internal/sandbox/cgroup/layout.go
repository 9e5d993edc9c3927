package cgroup

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// A Mode says which kinds of hierarchies the host has mounted.
type Mode string

// The modes.
const (
	None   Mode = "none"
	V1     Mode = "v1"
	V2     Mode = "v2"
	Hybrid Mode = "hybrid" // v1 controllers, and a v2 hierarchy that has none or the rest
)

// usualMount is where every distribution mounts its hierarchies (systemd.exec(5), file-hierarchy(7)).
const usualMount = "/sys/fs/cgroup"

// A Hierarchy is one mounted cgroup file system.
type Hierarchy struct {
	Controllers []string // "cpu", "cpuacct"; "name=systemd" for a named one; none for v2
	Mount       string   // the directory on which it is mounted
	Root        string   // which cgroup of the hierarchy is seen there, "/" unless it is a bind mount (of a container in a container)
	Own         string   // the cgroup of this process in it, as /proc/self/cgroup has it; "" when unknown
}

// Unified reports whether it is the v2 hierarchy.
func (h *Hierarchy) Unified() bool { return len(h.Controllers) == 0 }

// Name is the controllers with commas between them, "unified" for v2.
func (h *Hierarchy) Name() string {
	if h.Unified() {
		return "unified"
	}
	return strings.Join(h.Controllers, ",")
}

// A Layout is the set of hierarchies that the host has mounted.
type Layout struct {
	Mode        Mode
	Hierarchies []Hierarchy
}

// Detect finds the hierarchies of the mount namespace of the calling process. A host without any has Mode None, which is no error.
func Detect() (*Layout, error) {
	self, err := os.ReadFile("/proc/self/cgroup")
	if os.IsNotExist(err) {
		return &Layout{Mode: None}, nil // a kernel without CONFIG_CGROUPS
	}
	if err != nil {
		return nil, errdef.Errorf(kindOf(err), "cgroups of this process: %w", err)
	}
	own := parseOwn(string(self))
	var fs unix.Statfs_t
	if unix.Statfs(usualMount, &fs) == nil && int64(fs.Type) == unix.CGROUP2_SUPER_MAGIC && len(own) == 1 {
		// The only hierarchy in use is v2 and it is where it always is: no need for the mount table, which is long on a busy host.
		return &Layout{Mode: V2, Hierarchies: []Hierarchy{{Mount: usualMount, Root: "/", Own: own[""]}}}, nil
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, errdef.Errorf(kindOf(err), "mount table: %w", err)
	}
	return newLayout(parseMounts(string(table)), own), nil
}

// newLayout keeps one mount of each hierarchy and names the mode.
func newLayout(mounts []Hierarchy, own map[string]string) *Layout {
	l := &Layout{Mode: None}
	seen := map[string]bool{}
	v1, v2 := false, false
	for _, h := range mounts {
		name := h.Name()
		if seen[name] {
			continue
		}
		seen[name] = true
		if h.Unified() {
			h.Own, v2 = own[""], true
		} else {
			h.Own = own[h.Controllers[0]]
			v1 = v1 || !strings.HasPrefix(h.Controllers[0], "name=")
		}
		l.Hierarchies = append(l.Hierarchies, h)
	}
	switch {
	case v1 && v2:
		l.Mode = Hybrid
	case v1:
		l.Mode = V1
	case v2:
		l.Mode = V2
		l.dropNamed()
	}
	return l
}

// dropNamed leaves only the v2 hierarchy: a named v1 hierarchy without controllers beside it limits nothing.
func (l *Layout) dropNamed() {
	kept := l.Hierarchies[:0]
	for _, h := range l.Hierarchies {
		if h.Unified() {
			kept = append(kept, h)
		}
	}
	l.Hierarchies = kept
}

// controllerOptions are the words of a v1 superblock's options that are no controllers: generic ones, and those of cgroup1_fs_parameters
// in kernel/cgroup/cgroup-v1.c.
var controllerOptions = map[string]bool{
	"rw": true, "ro": true, "all": true, "none": true, "noprefix": true, "clone_children": true, "xattr": true, "cpuset_v2_mode": true,
	"favordynmods": true, "nofavordynmods": true, "seclabel": true,
}

// parseMounts takes the cgroup mounts out of a mountinfo table (proc_pid_mountinfo(5)). Lines that it cannot read are no cgroup mounts.
// A mount that a later one covers at the same place is dropped.
func parseMounts(table string) []Hierarchy {
	var out []Hierarchy
	for len(table) > 0 {
		var line string
		line, table, _ = strings.Cut(table, "\n")
		left, right, ok := strings.Cut(line, " - ")
		if !ok {
			continue
		}
		point, root := mountFields(left)
		if point == "" {
			continue
		}
		for i := range out { // covered by this mount
			if out[i].Mount == point || strings.HasPrefix(out[i].Mount, strings.TrimSuffix(point, "/")+"/") {
				out[i].Mount = ""
			}
		}
		kind, rest, _ := strings.Cut(right, " ")
		if kind != "cgroup" && kind != "cgroup2" {
			continue
		}
		h := Hierarchy{Mount: point, Root: root}
		if kind == "cgroup" {
			if h.Controllers = superControllers(rest); len(h.Controllers) == 0 {
				continue
			}
		}
		out = append(out, h)
	}
	kept := out[:0]
	for _, h := range out {
		if h.Mount != "" {
			kept = append(kept, h)
		}
	}
	return kept
}

// mountFields returns the fifth and the fourth field of a mountinfo line, unescaped.
func mountFields(left string) (point, root string) {
	for i := 1; i <= 5; i++ {
		var field string
		field, left, _ = strings.Cut(left, " ")
		switch i {
		case 4:
			root = unescape(field)
		case 5:
			point = unescape(field)
		}
	}
	return point, root
}

// superControllers reads the controllers from "SOURCE SUPEROPTIONS".
func superControllers(rest string) []string {
	_, options, _ := strings.Cut(rest, " ")
	var out []string
	for _, word := range strings.Split(options, ",") {
		if strings.HasPrefix(word, "name=") || word != "" && !controllerOptions[word] && !strings.Contains(word, "=") {
			out = append(out, word)
		}
	}
	return out
}

// unescape undoes the octal escapes of mountinfo: \040 space, \011 tab, \012 newline, \134 backslash.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1]) && octal(s[i+2]) && octal(s[i+3]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(c byte) bool { return c >= '0' && c <= '7' }

// parseOwn reads /proc/PID/cgroup (cgroups(7)): controller, or "" for v2, to path. A path that leads out of the namespace's root
// ("/..") is kept: Open refuses it where it would be used.
func parseOwn(text string) map[string]string {
	own := map[string]string{}
	for len(text) > 0 {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		_, rest, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		names, path, ok := strings.Cut(rest, ":")
		if !ok {
			continue
		}
		path = strings.TrimSuffix(path, " (deleted)")
		if names == "" {
			own[""] = path
			continue
		}
		for _, name := range strings.Split(names, ",") {
			own[name] = path
		}
	}
	return own
}
