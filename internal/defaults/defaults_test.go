package defaults

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

var levels = []Level{Untrusted, Hardened, Compat}

func TestLevels(t *testing.T) {
	var zero Level
	if zero != Untrusted {
		t.Error("the zero value is not the strictest level")
	}
	for _, l := range levels {
		if got, err := ParseLevel(l.String()); err != nil || got != l {
			t.Errorf("ParseLevel(%q) = %v, %v", l.String(), got, err)
		}
	}
	if _, err := ParseLevel("none"); err == nil {
		t.Error("an unknown level is accepted")
	}
	if got := Spec(Level(200), Host{}); !got.Root.Readonly || len(got.Process.Capabilities.Bounding) != 0 {
		t.Error("a number that is no level is not the strictest one")
	}
}

// TestReasons holds every line to its reason, and the specification to the lines: nothing is in it that Explain does not say.
func TestReasons(t *testing.T) {
	for _, l := range levels {
		said := map[string]bool{}
		for _, e := range Explain(l) {
			if len(e.Reason) < 8 || e.Kind == "" || e.Value == "" {
				t.Errorf("%v: %+v", l, e)
			}
			said[e.Kind+" "+e.Value] = true
		}
		spec := Spec(l, Host{NoFile: 4096, CPUs: 2, UIDs: Range(0), GIDs: Range(0)})
		want := func(kind string, values ...string) {
			for _, v := range values {
				if !said[kind+" "+v] {
					t.Errorf("%v: no reason for %s %s", l, kind, v)
				}
			}
		}
		want("capability", spec.Process.Capabilities.Bounding...)
		want("read-only", spec.Linux.ReadonlyPaths...)
		for _, path := range spec.Linux.MaskedPaths {
			if !strings.Contains(path, "thermal_throttle") {
				want("mask", path)
			}
		}
		for _, m := range spec.Mounts {
			want("mount", m.Destination)
		}
		for k, v := range spec.Annotations {
			want("module", k+"="+v)
		}
		if l < Compat && spec.Annotations["io.bulkhead.landlock"] == "" {
			t.Errorf("%v: no Landlock", l)
		}
		for k, v := range spec.Linux.Sysctl {
			want("sysctl", k+"="+v)
		}
		for _, rule := range spec.Linux.Seccomp.Syscalls {
			if rule.Action == specs.ActAllow {
				want("call", rule.Names...)
			} else if len(rule.Args) == 0 {
				want("refused call", rule.Names...)
			}
		}
	}
}

// TestOrder shows that a stricter level never grants what a wider one does not, and hides whatever that one hides.
func TestOrder(t *testing.T) {
	host := Host{NoFile: 4096, CPUs: 1, UIDs: Range(0), GIDs: Range(0)}
	for i := range len(levels) - 1 {
		strict, wide := Spec(levels[i], host), Spec(levels[i+1], host)
		subset := func(what string, small, large []string) {
			for _, s := range small {
				if !slices.Contains(large, s) {
					t.Errorf("%s: %s is in one of %v and %v only", what, s, levels[i], levels[i+1])
				}
			}
		}
		subset("capability", strict.Process.Capabilities.Bounding, wide.Process.Capabilities.Bounding)
		subset("mask", wide.Linux.MaskedPaths, strict.Linux.MaskedPaths)
		subset("read-only", wide.Linux.ReadonlyPaths, strict.Linux.ReadonlyPaths)
		subset("call", allowed(strict.Linux.Seccomp), allowed(wide.Linux.Seccomp))
	}
}

func allowed(p *specs.LinuxSeccomp) []string {
	set := map[string]bool{}
	for _, rule := range p.Syscalls {
		for _, name := range rule.Names {
			if rule.Action == specs.ActAllow {
				set[name] = true
			}
		}
	}
	var out []string
	for name := range set {
		out = append(out, name)
	}
	return out
}

func TestHardened(t *testing.T) {
	spec := Spec(Hardened, Host{NoFile: 20000, CPUs: 1, UIDs: Range(3), GIDs: Range(3)})
	if n := len(allowed(spec.Linux.Seccomp)); n > MaxCalls || n < 180 {
		t.Errorf("%d calls are granted, at most %d", n, MaxCalls)
	}
	if !spec.Process.NoNewPrivileges {
		t.Error("no_new_privs is off")
	}
	if n := len(spec.Linux.Namespaces); n != 8 {
		t.Errorf("%d namespaces, want all 8", n)
	}
	if got := spec.Linux.UIDMappings[0]; got.HostID != FirstID+3*IDs || got.Size != IDs {
		t.Errorf("uid map %+v", got)
	}
	if got := spec.Process.Rlimits[0]; got.Hard != 20000 || got.Soft != 1024 {
		t.Errorf("nofile %+v: the hard limit is above the caller's", got)
	}
	if got := Spec(Hardened, Host{NoFile: 100}).Process.Rlimits[0]; got.Soft > got.Hard {
		t.Errorf("nofile %+v: soft above hard", got)
	}
	want := "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_NET_BIND_SERVICE"
	if got := strings.Join(spec.Process.Capabilities.Effective, " "); got != want {
		t.Errorf("capabilities %s", got)
	}
	if len(Spec(Compat, Host{}).Process.Capabilities.Bounding) != 14 {
		t.Error("compat does not have Docker's 14 capabilities")
	}
	if _, err := json.Marshal(spec); err != nil {
		t.Error(err)
	}
}

func TestRootless(t *testing.T) {
	one := []specs.LinuxIDMapping{{HostID: 1000, Size: 1}}
	spec := Spec(Hardened, Host{NoFile: 4096, UIDs: one, GIDs: one, Rootless: true})
	if spec.Linux.Resources != nil {
		t.Error("limits are asked for that a user without a cgroup cannot have")
	}
	for _, m := range spec.Mounts {
		if slices.Contains(m.Options, devptsGroup) {
			t.Error("a group is asked for that is not in the map")
		}
	}
	if _, ok := spec.Linux.Sysctl[pingRange]; ok {
		t.Error("groups of a sysctl are not in the map")
	}
}

func TestRange(t *testing.T) {
	for _, n := range []uint32{0, 1, 4095} {
		r := Range(n)[0]
		if last := uint64(r.HostID) + uint64(r.Size) - 1; r.HostID < FirstID || last > 1<<31-1 {
			t.Errorf("range %d: %d to %d", n, r.HostID, last)
		}
	}
	if Range(0)[0].HostID+IDs != Range(1)[0].HostID {
		t.Error("ranges 0 and 1 are not neighbours")
	}
}

// TestAllBut holds the complement to its definition, at the values, around them, and with bits set that the kernel cuts off.
func TestAllBut(t *testing.T) {
	g := guard{allow: allBut(1, tiocsti, tioclinux)}
	check := func(v uint64) {
		t.Helper()
		matches := 0
		for _, alternative := range g.allow {
			if holdsAll(alternative, [6]uint64{1: v}) {
				matches++
			}
		}
		want := 1
		if low := v & 0xffffffff; low == tiocsti || low == tioclinux {
			want = 0
		}
		if matches != want {
			t.Errorf("%#x: %d alternatives, want %d", v, matches, want)
		}
	}
	for v := range uint64(0x10000) {
		check(v)
		check(v | 1<<32)
		check(v<<16 | tiocsti)
	}
	for range 100000 {
		check(rand.Uint64())
	}
}

// decide gives the profile's answer to a call: 0 when it is let through, the errno otherwise. It fails the test when rules overlap.
func decide(t *testing.T, p *specs.LinuxSeccomp, name string, args ...uint64) uint {
	t.Helper()
	var a [6]uint64
	copy(a[:], args)
	found, errno := 0, *p.DefaultErrnoRet
	for _, rule := range p.Syscalls {
		if slices.Contains(rule.Names, name) && holdsAll(rule.Args, a) {
			found++
			errno = 0
			if rule.Action == specs.ActErrno {
				errno = *rule.ErrnoRet
			}
		}
	}
	if found > 1 {
		t.Errorf("%s %#x: %d rules", name, args, found)
	}
	return errno
}

func holdsAll(conditions []specs.LinuxSeccompArg, args [6]uint64) bool {
	for _, c := range conditions {
		v, ok := args[c.Index], false
		switch c.Op {
		case specs.OpEqualTo:
			ok = v == c.Value
		case specs.OpNotEqual:
			ok = v != c.Value
		case specs.OpGreaterThan:
			ok = v > c.Value
		case specs.OpLessThan:
			ok = v < c.Value
		case specs.OpMaskedEqual:
			ok = v&c.Value == c.ValueTwo
		}
		if !ok {
			return false
		}
	}
	return true
}

// decisions are what the filter must answer; the seccomp package's interpreter is asked the same (TestCompiled).
var decisions = []struct {
	level Level
	name  string
	args  []uint64
	errno uint
}{
	{Hardened, "read", nil, 0},
	{Hardened, "clone", []uint64{0x01200011}, 0}, // fork of glibc
	{Hardened, "clone", []uint64{0x003d0f00}, 0}, // a thread of glibc
	{Hardened, "clone", []uint64{0x10000011}, eperm},
	{Hardened, "clone", []uint64{0x7e020011}, eperm},
	{Hardened, "clone", []uint64{0x00020011}, eperm},
	{Hardened, "clone", []uint64{1<<32 | 0x11}, 0}, // bits that the kernel does not know
	{Hardened, "clone3", nil, enosys},
	{Hardened, "unshare", []uint64{0x10000000}, eperm},
	{Hardened, "mount", nil, eperm},
	{Hardened, "fsopen", nil, eperm},
	{Hardened, "io_uring_setup", nil, eperm},
	{Hardened, "bpf", nil, eperm},
	{Hardened, "keyctl", nil, eperm},
	{Hardened, "ptrace", nil, eperm},
	{Compat, "ptrace", nil, 0},
	{Hardened, "chroot", nil, eperm},
	{Hardened, "listmount", nil, enosys},
	{Hardened, "socket", []uint64{1, 1}, 0},
	{Hardened, "socket", []uint64{2, 1}, 0},
	{Hardened, "socket", []uint64{10, 2}, 0},
	{Hardened, "socket", []uint64{16, 3, 0}, 0},
	{Hardened, "socket", []uint64{16, 3, 12}, eprotonosupport},  // netfilter
	{Hardened, "socket", []uint64{17, 3, 0}, eafnosupport},      // AF_PACKET
	{Hardened, "socket", []uint64{38, 5, 0}, eafnosupport},      // AF_ALG
	{Hardened, "socket", []uint64{40, 1, 0}, eafnosupport},      // AF_VSOCK
	{Hardened, "socket", []uint64{1<<32 | 1, 1}, eafnosupport},  // AF_UNIX to the kernel, which cuts the number
	{Hardened, "socket", []uint64{1<<32 | 38, 1}, eafnosupport}, // AF_ALG to the kernel
	{Hardened, "socket", []uint64{15, 1}, eafnosupport},         // AF_KEY
	{Untrusted, "socket", []uint64{16, 3, 0}, enosys},
	{Compat, "socket", []uint64{17, 3, 0}, 0},
	{Compat, "socket", []uint64{16, 3, 12}, 0},
	{Compat, "socket", []uint64{38, 5, 0}, enosys},
	{Compat, "socket", []uint64{40, 1, 0}, enosys},
	{Hardened, "ioctl", []uint64{0, 0x5401}, 0},
	{Hardened, "ioctl", []uint64{0, 0x5413}, 0},
	{Hardened, "ioctl", []uint64{0, tiocsti}, eperm},
	{Hardened, "ioctl", []uint64{0, 1<<32 | tiocsti}, eperm},
	{Hardened, "ioctl", []uint64{0, tioclinux}, eperm},
	{Hardened, "personality", []uint64{0xffffffff}, 0},
	{Hardened, "personality", []uint64{0x0040000}, enosys}, // ADDR_NO_RANDOMIZE
	{Untrusted, "shmget", nil, eperm},
	{Hardened, "shmget", nil, 0},
	{Hardened, "mknod", nil, 0},
	{Untrusted, "mknod", nil, eperm},
}

func TestDecisions(t *testing.T) {
	for _, d := range decisions {
		if got := decide(t, Seccomp(d.level), d.name, d.args...); got != d.errno {
			t.Errorf("%v: %s %#x: errno %d, want %d", d.level, d.name, d.args, got, d.errno)
		}
	}
}

// TestOneRule shows that no two rules of a call overlap, at any level, so that the order in which a runtime tries them cannot matter.
func TestOneRule(t *testing.T) {
	for _, l := range levels {
		p := Seccomp(l)
		names := map[string]bool{}
		for _, rule := range p.Syscalls {
			for _, name := range rule.Names {
				names[name] = true
			}
		}
		for name := range names {
			for range 200 {
				decide(t, p, name, rand.Uint64()&0x1f, rand.Uint64()&0x1f|0x5400, rand.Uint64()&1)
				decide(t, p, name, rand.Uint64(), rand.Uint64(), rand.Uint64())
			}
		}
	}
}
