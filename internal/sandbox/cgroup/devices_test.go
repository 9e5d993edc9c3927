package cgroup

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

func device(allow bool, kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
	d := specs.LinuxDeviceCgroup{Allow: allow, Type: kind, Access: access}
	if major >= 0 {
		d.Major = &major
	}
	if minor >= 0 {
		d.Minor = &minor
	}
	return d
}

// run interprets the program as the kernel would, from its encoded bytes.
func run(t *testing.T, code []byte, kind, access, major, minor uint32) bool {
	t.Helper()
	ctx := []uint32{access<<16 | kind, major, minor}
	var r [11]uint64
	for pc, steps := 0, 0; ; pc, steps = pc+1, steps+1 {
		if pc < 0 || pc*8+8 > len(code) || steps > 100_000 {
			t.Fatalf("program left its %d instructions", len(code)/8)
		}
		i := code[pc*8:]
		dst, src := i[1]&15, i[1]>>4
		off, imm := int16(binary.NativeEndian.Uint16(i[2:])), int32(binary.NativeEndian.Uint32(i[4:]))
		switch i[0] {
		case opLoadWord:
			r[dst] = uint64(ctx[off/4])
		case opAndImm:
			r[dst] = uint64(uint32(r[dst]) & uint32(imm))
		case opShiftRight:
			r[dst] = uint64(uint32(r[dst]) >> uint32(imm))
		case opMovImm:
			r[dst] = uint64(uint32(imm))
		case opMovReg:
			r[dst] = uint64(uint32(r[src]))
		case opJumpNE:
			if r[dst] != uint64(int64(imm)) {
				pc += int(off)
			}
		case opJumpEQ:
			if r[dst] == uint64(int64(imm)) {
				pc += int(off)
			}
		case opExit:
			return r[0] != 0
		default:
			t.Fatalf("opcode %#x", i[0])
		}
	}
}

// decide is what the rules mean, said another way: each access by itself, the last rule that speaks of it winning.
func decide(list []specs.LinuxDeviceCgroup, kind, access, major, minor uint32) bool {
	all := append([]specs.LinuxDeviceCgroup{}, list...)
	open := false
	for _, d := range list {
		if d.Type != "c" && d.Type != "b" && d.Access == "rwm" && d.Major == nil && d.Minor == nil {
			open = d.Allow
		}
	}
	for _, r := range defaultDevices() {
		if open {
			break
		}
		all = append(all, device(r.allow, map[uint32]string{kindChar: "c", kindBlock: "b"}[r.kind], r.major, r.minor, strings.Fields(r.String())[2]))
	}
	for bit, name := range map[uint32]string{accessRead: "r", accessWrite: "w", accessMknod: "m"} {
		if access&bit == 0 {
			continue
		}
		ok := false
		for _, d := range all {
			typed := d.Type == "a" || d.Type == "" || d.Type == "c" && kind == kindChar || d.Type == "b" && kind == kindBlock
			if typed && (d.Major == nil || uint32(*d.Major) == major) && (d.Minor == nil || uint32(*d.Minor) == minor) && strings.Contains(d.Access, name) {
				ok = d.Allow
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

var deviceLists = map[string][]specs.LinuxDeviceCgroup{
	"none":       nil,
	"deny all":   {device(false, "a", -1, -1, "rwm")},
	"privileged": {device(true, "", -1, -1, "rwm")},
	"one disk":   {device(false, "", -1, -1, "rwm"), device(true, "b", 8, 0, "r")},
	"hole":       {device(false, "a", -1, -1, "rwm"), device(true, "b", 8, -1, "rwm"), device(false, "b", 8, 1, "w")},
	"all but":    {device(true, "a", -1, -1, "rwm"), device(false, "b", 8, 0, "rw"), device(false, "c", 1, 1, "rwm")},
	"read only":  {device(true, "a", -1, -1, "r")},
	"reset":      {device(true, "b", 8, 1, "rwm"), device(false, "a", -1, -1, "rwm"), device(true, "b", 8, 2, "w")},
	"null taken": {device(false, "c", 1, 3, "rwm")},
}

func TestDeviceProgram(t *testing.T) {
	for name, list := range deviceLists {
		t.Run(name, func(t *testing.T) {
			f, err := newFilter(list)
			if err != nil {
				t.Fatal(err)
			}
			code := encode(f.program())
			for _, kind := range []uint32{kindBlock, kindChar} {
				for _, number := range [][2]uint32{{1, 1}, {1, 3}, {5, 2}, {8, 0}, {8, 1}, {8, 2}, {10, 200}, {10, 229}, {136, 7}, {254, 3}} {
					for access := uint32(1); access <= accessAll; access++ {
						got, want := run(t, code, kind, access, number[0], number[1]), decide(list, kind, access, number[0], number[1])
						if got != want {
							t.Errorf("kind %d, %d:%d, access %d: %v, want %v", kind, number[0], number[1], access, got, want)
						}
					}
				}
			}
		})
	}
}

func TestDeviceRulesRefused(t *testing.T) {
	for name, d := range map[string]specs.LinuxDeviceCgroup{
		"no access":       device(true, "c", 1, 3, ""),
		"unknown access":  device(true, "c", 1, 3, "rx"),
		"unknown type":    device(true, "p", 1, 3, "r"),
		"number too big":  device(true, "c", 1<<33, 3, "r"),
		"number negative": {Allow: true, Type: "b", Major: ptr(int64(-2)), Access: "r"},
	} {
		if _, err := newFilter([]specs.LinuxDeviceCgroup{d}); !errdef.Is(err, errdef.Invalid) || !strings.Contains(err.Error(), "linux.resources.devices[0]") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func values(list []setting) string {
	var out []string
	for _, s := range list {
		out = append(out, strings.TrimPrefix(s.file, "devices.")+" "+s.value)
	}
	return strings.Join(out, "; ")
}

func TestDeviceWritesV1(t *testing.T) {
	const defaults = "allow c *:* m; allow b *:* m; allow c 1:3 rwm; allow c 1:5 rwm; allow c 1:7 rwm; allow c 1:8 rwm; allow c 1:9 rwm; " +
		"allow c 5:0 rwm; allow c 5:2 rwm; allow c 136:* rwm"
	now := strings.ReplaceAll(strings.ReplaceAll(defaults, "allow ", ""), "; ", "\n") + "\n"
	for _, c := range []struct{ name, have, list, want string }{
		{"new", "a *:* rwm\n", "none", "deny a; " + defaults},
		{"unreadable", "", "none", "deny a; " + defaults},
		{"privileged", "a *:* rwm\n", "privileged", "allow a"},
		{"nothing to do", now, "none", ""},
		{"one more", now, "one disk", "allow b 8:0 r"},
		{"one less", now + "b 8:0 r\n", "none", "deny b 8:0 r"},
		{"fewer accesses", now + "b 8:0 rwm\n", "one disk", "deny b 8:0 wm"},
		{"opened", now, "all but", "allow a; deny b 8:0 rw; deny c 1:1 rwm"},
	} {
		f, err := newFilter(deviceLists[c.list])
		if err != nil {
			t.Fatal(err)
		}
		writes, err := f.v1Writes(c.have)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := values(writes); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
	f, err := newFilter(deviceLists["hole"])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.v1Writes("a *:* rwm\n"); !errdef.Is(err, errdef.Unsupported) {
		t.Errorf("a hole in a range, which v1 would ignore: %v", err)
	}
}

// canOpen tries, in the group, to make a node of c 1:11 (kmsg) or c 1:5 (zero) and to read it, with `exec 4<` of the shell.
func canOpen(t *testing.T, g *Group, minor uint32) bool {
	t.Helper()
	dir := t.TempDir()
	node := filepath.Join(dir, "node")
	if err := unix.Mknod(node, unix.S_IFCHR|0o600, int(unix.Mkdev(1, minor))); err != nil {
		t.Fatal(err)
	}
	fs, err := os.Open(node)
	if errors.Is(err, unix.EACCES) { // nodev
		t.Skipf("devices cannot be opened on the file system of %s", dir)
	}
	if err == nil {
		fs.Close()
	}
	cmd := start(t, g, "exec 4<"+node+" && exit 5; exit 6")
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signaled() {
		t.Fatalf("the shell: %v", err)
	}
	return exit.ExitCode() == 5
}

func TestLiveDevices(t *testing.T) {
	g := newGroup(t, liveLayout(t))
	create(t, g, nil)
	if !canOpen(t, g, 5) {
		t.Error("zero, which is a default device: cannot be opened")
	}
	if canOpen(t, g, 11) {
		t.Error("kmsg, which is not allowed: can be opened")
	}
	for _, d := range g.dirs {
		if d.fresh {
			t.Errorf("%s: still taken for a directory with its parent's devices", d.name())
		}
	}
	allow := &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{device(false, "a", -1, -1, "rwm"), device(true, "c", 1, 11, "r")}}
	if err := g.Update(allow); err != nil {
		t.Fatal(err)
	}
	if !canOpen(t, g, 11) {
		t.Error("kmsg after it was allowed: cannot be opened")
	}
	if err := g.Update(&specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{device(false, "a", -1, -1, "rwm")}}); err != nil {
		t.Fatal(err)
	}
	if canOpen(t, g, 11) {
		t.Error("kmsg after it was denied again: can be opened")
	}
}

// The program works on any v2 cgroup, so that it is tried where v1 has the devices controller, too.
func TestLiveDeviceProgram(t *testing.T) {
	l := liveLayout(t)
	g := newGroup(t, l)
	create(t, g, &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{device(true, "a", -1, -1, "rwm")}})
	d := g.unifiedDir()
	if d == nil {
		t.Skip("no cgroup2 hierarchy is mounted")
	}
	if err := d.open(); err != nil {
		t.Fatal(err)
	}
	if !canOpen(t, g, 11) {
		t.Fatal("kmsg, while all is allowed: cannot be opened")
	}
	for _, c := range []struct {
		list    string
		zero    bool
		kmsg    bool
		program int
	}{{"none", true, false, 1}, {"null taken", true, false, 1}, {"privileged", true, true, 1}, {"deny all", true, false, 1}} {
		f, err := newFilter(deviceLists[c.list])
		if err != nil {
			t.Fatal(err)
		}
		if err := setFilter(d.fd, f); err != nil {
			t.Fatal(err)
		}
		programs, err := ownPrograms(d.fd)
		if err != nil || len(programs) != c.program {
			t.Errorf("%s: %d programs are attached, %v", c.list, len(programs), err)
		}
		closeAll(programs)
		if zero, kmsg := canOpen(t, g, 5), canOpen(t, g, 11); zero != c.zero || kmsg != c.kmsg {
			t.Errorf("%s: zero %v, kmsg %v", c.list, zero, kmsg)
		}
	}
}
