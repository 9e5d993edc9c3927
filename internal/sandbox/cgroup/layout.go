package cgroup

import (
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
	Root        string   // which cgroup of the hierarchy is seen there: "/", or another for a bind mount; "" while nobody needed to know
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
//
// The mount table is long on a busy host, and reading it is most of the cost; where everything is mounted in the usual place, statfs tells
// so without it.
func Detect() (*Layout, error) {
	text, err := readProc("/proc/self/cgroup")
	if gone(err) {
		return &Layout{Mode: None}, nil // a kernel without CONFIG_CGROUPS
	}
	if err != nil {
		return nil, errdef.Errorf(kindOf(err), "cgroups of this process: %w", err)
	}
	if usual := usualMounts(text, isCgroup); usual != nil {
		return newLayout(usual, parseOwn(text)), nil
	}
	table, err := readProc("/proc/self/mountinfo")
	if err != nil {
		return nil, errdef.Errorf(kindOf(err), "mount table: %w", err)
	}
	return newLayout(parseMounts(table), parseOwn(text)), nil
}

// isCgroup reports whether the file system at the path has the magic number.
func isCgroup(path string, magic int64) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && int64(fs.Type) == magic
}

// usualMounts says where the hierarchies of /proc/self/cgroup are mounted, if all of them are where they usually are: v2 alone on
// /sys/fs/cgroup, or each v1 hierarchy on the directory below that which has the name of its controllers, and v2, if at all, on "unified".
// Else nil. Which part of its hierarchy a mount shows stands in the mount table alone; it matters for relative paths, see findRoots.
func usualMounts(self string, at func(path string, magic int64) bool) []Hierarchy {
	var out []Hierarchy
	v1 := false
	for rest := strings.TrimSuffix(self, "\n"); rest != ""; {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		_, line, _ = strings.Cut(line, ":")
		names, _, ok := strings.Cut(line, ":")
		if !ok {
			return nil
		}
		if names == "" {
			if v1 && at(usualMount+"/unified", unix.CGROUP2_SUPER_MAGIC) {
				out = append(out, Hierarchy{Mount: usualMount + "/unified"})
			} else if v1 || !at(usualMount, unix.CGROUP2_SUPER_MAGIC) {
				return nil
			} else {
				out = append(out, Hierarchy{Mount: usualMount})
			}
			continue
		}
		v1 = true
		h := Hierarchy{Controllers: strings.Split(names, ","), Mount: usualMount + "/" + strings.TrimPrefix(names, "name=")}
		if strings.Contains(h.Mount[len(usualMount)+1:], "/") || !at(h.Mount, unix.CGROUP_SUPER_MAGIC) {
			return nil
		}
		out = append(out, h)
	}
	return out
}

// findRoots reads what each mount shows of its hierarchy, where that matters: this process is not in the root.
func (l *Layout) findRoots() error {
	needed := false
	for i := range l.Hierarchies {
		h := &l.Hierarchies[i]
		if h.Root == "" && h.Own == "/" {
			h.Root = "/"
		}
		needed = needed || h.Root == ""
	}
	if !needed {
		return nil
	}
	table, err := readProc("/proc/self/mountinfo")
	if err != nil {
		return errdef.Errorf(kindOf(err), "mount table: %w", err)
	}
	for _, m := range parseMounts(table) {
		for i := range l.Hierarchies {
			if h := &l.Hierarchies[i]; h.Mount == m.Mount && h.Name() == m.Name() {
				h.Root = m.Root
			}
		}
	}
	for i := range l.Hierarchies {
		if h := &l.Hierarchies[i]; h.Root == "" {
			return errdef.Errorf(errdef.Internal, "mount table: no %s hierarchy on %s", h.Name(), h.Mount)
		}
	}
	return nil
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
