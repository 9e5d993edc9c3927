package cgroup

import (
	"math"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Access bits of a device rule, as BPF_DEVCG_ACC_* and DEVCG_ACC_* have them.
const (
	accessMknod = 1
	accessRead  = 2
	accessWrite = 4
	accessAll   = accessMknod | accessRead | accessWrite
)

// Kinds of devices, as BPF_DEVCG_DEV_* has them.
const (
	kindBlock = 1
	kindChar  = 2
)

// anyNumber is every major or minor number.
const anyNumber = -1

// A rule allows or denies access to devices.
type rule struct {
	kind         uint32 // kindBlock or kindChar
	major, minor int64  // anyNumber for all
	access       uint32
	allow        bool
}

// match is the part of a rule that says which devices it is about.
func (r rule) match() rule { return rule{kind: r.kind, major: r.major, minor: r.minor} }

// covers reports whether every device of s is one of r.
func (r rule) covers(s rule) bool {
	return r.kind == s.kind && (r.major == anyNumber || r.major == s.major) && (r.minor == anyNumber || r.minor == s.minor)
}

// overlaps reports whether some device is one of both.
func (r rule) overlaps(s rule) bool {
	return r.kind == s.kind && (r.major == anyNumber || s.major == anyNumber || r.major == s.major) &&
		(r.minor == anyNumber || s.minor == anyNumber || r.minor == s.minor)
}

// String is the rule as devices.allow and devices.deny take it.
func (r rule) String() string {
	var b strings.Builder
	b.WriteString(map[uint32]string{kindBlock: "b ", kindChar: "c "}[r.kind])
	b.WriteString(starred(r.major) + ":" + starred(r.minor) + " ")
	for _, a := range []struct {
		bit  uint32
		name string
	}{{accessRead, "r"}, {accessWrite, "w"}, {accessMknod, "m"}} {
		if r.access&a.bit != 0 {
			b.WriteString(a.name)
		}
	}
	return b.String()
}

func starred(n int64) string {
	if n == anyNumber {
		return "*"
	}
	return strconv.FormatInt(n, 10)
}

// A filter is a list of rules, the last that speaks about an access winning, over a default.
type filter struct {
	allow bool // what happens where no rule speaks
	rules []rule
}

// defaultDevices are what every container may use: the devices that the runtime specification (config-linux.md, "Default Devices")
// demands, pseudo-terminals, and making the node of any device, which without the right to open it gives nothing. /dev/net/tun, which runc
// adds for compatibility, has to be asked for: it gives a packet interface to whoever has CAP_NET_ADMIN.
func defaultDevices() []rule {
	c := func(major, minor int64) rule { return rule{kindChar, major, minor, accessAll, true} }
	return []rule{
		{kindChar, anyNumber, anyNumber, accessMknod, true},
		{kindBlock, anyNumber, anyNumber, accessMknod, true},
		c(1, 3),           // null
		c(1, 5),           // zero
		c(1, 7),           // full
		c(1, 8),           // random
		c(1, 9),           // urandom
		c(5, 0),           // tty
		c(5, 2),           // ptmx, and console, which is a pseudo-terminal
		c(136, anyNumber), // pts
	}
}

// newFilter reads the rules of the specification. Everything is denied to begin with. Where that stays the default, the default devices are
// added at the end, as runc does; where the rules allow everything, what they except stays excepted.
func newFilter(list []specs.LinuxDeviceCgroup) (*filter, error) {
	f := &filter{}
	for i := range list {
		if err := f.addSpec(&list[i]); err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "linux.resources.devices[%d]: %w", i, err)
		}
	}
	if !f.allow {
		for _, r := range defaultDevices() {
			f.add(r)
		}
	}
	return f, nil
}

// addSpec adds a rule of the specification. Type "a", or none, with neither numbers nor a part of the accesses is a new default and makes
// all before it void, as it does in the kernel; any other rule of type "a" is one for each kind, where v1 and runc would take it for all.
func (f *filter) addSpec(d *specs.LinuxDeviceCgroup) error {
	r := rule{major: anyNumber, minor: anyNumber, allow: d.Allow}
	for _, c := range d.Access {
		switch c {
		case 'r':
			r.access |= accessRead
		case 'w':
			r.access |= accessWrite
		case 'm':
			r.access |= accessMknod
		default:
			return errdef.Errorf(errdef.Invalid, "access %q: not made of r, w and m", d.Access)
		}
	}
	if r.access == 0 {
		return errdef.Errorf(errdef.Invalid, "access: empty")
	}
	for _, n := range []struct {
		name string
		from *int64
		to   *int64
	}{{"major", d.Major, &r.major}, {"minor", d.Minor, &r.minor}} {
		if n.from == nil || *n.from == anyNumber {
			continue
		}
		if *n.from < 0 || *n.from > math.MaxUint32 {
			return errdef.Errorf(errdef.Invalid, "%s: %d is no device number", n.name, *n.from)
		}
		*n.to = *n.from
	}
	switch d.Type {
	case "c", "u":
		r.kind = kindChar
		f.add(r)
	case "b":
		r.kind = kindBlock
		f.add(r)
	case "a", "":
		if r.access == accessAll && r.major == anyNumber && r.minor == anyNumber {
			f.allow, f.rules = d.Allow, nil
			return nil
		}
		r.kind = kindChar
		f.add(r)
		r.kind = kindBlock
		f.add(r)
	default:
		return errdef.Errorf(errdef.Invalid, "type %q: none of a, b, c", d.Type)
	}
	return nil
}

// add appends a rule, unless nothing before it decides otherwise than it does.
func (f *filter) add(r rule) {
	if r.allow == f.allow {
		needed := false
		for _, old := range f.rules {
			needed = needed || old.allow != r.allow && old.overlaps(r) && old.access&r.access != 0
		}
		if !needed {
			return
		}
	}
	f.rules = append(f.rules, r)
}

// exceptions flattens the rules to what a v1 devices cgroup holds: exceptions from its default, which never contradict each other. Rules
// that take back a part of an earlier one ("all of 8:*, but not 8:3") have no such form, and are an error: the kernel would ignore them.
func (f *filter) exceptions() ([]rule, error) {
	var out []rule
	for _, r := range f.rules {
		if r.allow != f.allow {
			out = mergeRule(out, r)
			continue
		}
		kept := out[:0]
		for _, old := range out {
			switch {
			case old.access&r.access == 0 || !old.overlaps(r):
			case r.covers(old):
				old.access &^= r.access
			default:
				return nil, errdef.Errorf(errdef.Unsupported, "linux.resources.devices: %q takes back a part of %q, which cgroup v1 cannot do", r, old)
			}
			if old.access != 0 {
				kept = append(kept, old)
			}
		}
		out = kept
	}
	return out, nil
}

func mergeRule(list []rule, r rule) []rule {
	for i, old := range list {
		if old.match() == r.match() {
			list[i].access |= r.access
			return list
		}
	}
	return append(list, r)
}

// v1Writes are the writes that bring a devices cgroup with that devices.list to the filter, without a moment in which a device that is
// allowed before and after is denied. An empty list is that of a cgroup whose state is unknown.
func (f *filter) v1Writes(list string) ([]setting, error) {
	want, err := f.exceptions()
	if err != nil {
		return nil, err
	}
	write := func(allow bool, line string) setting {
		s := setting{field: "linux.resources.devices", controller: "devices", file: "devices.deny", value: line}
		if allow {
			s.file = "devices.allow"
		}
		return s
	}
	var out []setting
	have, known := parseDevicesList(list)
	if f.allow || !known { // exceptions of a list that allows by default cannot be read back
		have = nil
		out = append(out, write(f.allow, "a"))
	}
	for _, old := range have {
		for _, r := range want {
			if r.match() == old.match() {
				old.access &^= r.access
			}
		}
		if old.access != 0 {
			out = append(out, write(false, old.String()))
		}
	}
	for _, r := range want {
		missing := r
		for _, old := range have {
			if old.match() == r.match() {
				missing.access &^= old.access
			}
		}
		if missing.access != 0 {
			out = append(out, write(r.allow, missing.String()))
		}
	}
	return out, nil
}

// parseDevicesList reads devices.list; known is false when the cgroup allows by default (or the list is not readable), so that its
// exceptions are not shown.
func parseDevicesList(list string) (rules []rule, known bool) {
	for _, line := range strings.Split(strings.TrimSpace(list), "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) != 3 || f[0] != "b" && f[0] != "c" {
			return nil, false
		}
		r := rule{kind: kindBlock, allow: true}
		if f[0] == "c" {
			r.kind = kindChar
		}
		major, minor, _ := strings.Cut(f[1], ":")
		for _, n := range []struct {
			text string
			to   *int64
		}{{major, &r.major}, {minor, &r.minor}} {
			if n.text == "*" {
				*n.to = anyNumber
				continue
			}
			v, err := strconv.ParseUint(n.text, 10, 32)
			if err != nil {
				return nil, false
			}
			*n.to = int64(v)
		}
		for _, c := range f[2] {
			r.access |= map[rune]uint32{'r': accessRead, 'w': accessWrite, 'm': accessMknod}[c]
		}
		rules = append(rules, r)
	}
	return rules, list != ""
}
