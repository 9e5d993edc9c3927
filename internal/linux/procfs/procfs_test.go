package procfs

import (
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

func host(t *testing.T) *Proc {
	t.Helper()
	p, err := Host()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOpenVerifies(t *testing.T) {
	for _, path := range []string{"/", "/proc/sys", "/proc/self", "/nonexistent"} {
		if p, err := Open(path); !errdef.Is(err, errdef.Unavailable) {
			t.Errorf("%s: got %v, %v; want an unavailable error", path, p, err)
		}
	}
	p, err := Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestSelf(t *testing.T) {
	p := host(t)
	st, err := p.Stat(os.Getpid())
	if err != nil || st.PID != os.Getpid() || st.PPID != os.Getppid() || st.StartTime == 0 || st.Dead() {
		t.Errorf("stat %+v, %v", st, err)
	}
	self, err := p.Stat(0)
	if err != nil || self.StartTime != st.StartTime {
		t.Errorf("self %+v, %v", self, err)
	}
	s, err := p.Status(0)
	if err != nil || s.TGID != os.Getpid() || s.UID[1] != uint32(os.Geteuid()) || s.GID[0] != uint32(os.Getgid()) || len(s.NSPid) == 0 {
		t.Errorf("status %+v, %v", s, err)
	}
	mounts, err := p.Mountinfo(0)
	if err != nil || len(mounts) == 0 {
		t.Fatalf("mountinfo: %d, %v", len(mounts), err)
	}
	found := false
	for _, m := range mounts {
		found = found || m.Point == "/proc" && m.Type == "proc"
	}
	if !found {
		t.Error("mountinfo does not hold /proc")
	}
	if groups, err := p.Cgroups(0); err != nil || len(groups) == 0 {
		t.Errorf("cgroups %v, %v", groups, err)
	}
}

func TestNamespace(t *testing.T) {
	p := host(t)
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &st); err != nil {
		t.Fatal(err)
	}
	ns, err := p.Namespace(0, "net")
	if err != nil || ns != (Namespace{st.Dev, st.Ino}) {
		t.Errorf("got %+v, %v", ns, err)
	}
	if other, err := p.Namespace(0, "mnt"); err != nil || other == ns {
		t.Errorf("mnt %+v, %v", other, err)
	}
	if _, err := NamespaceOf(p.FD()); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("a directory as a namespace: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	p := host(t)
	for _, path := range []string{"self/root/etc/passwd", "self/exe", "self/fd/0", "../etc/passwd", "/etc/passwd"} {
		if fd, err := p.Open(path, unix.O_RDONLY); err == nil {
			unix.Close(fd)
			t.Errorf("%s: opened", path)
		}
	}
	if _, err := p.Read("1073741823/stat"); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("no process: %v", err)
	}
	if err := p.Write("self/stat", []byte("x")); err == nil {
		t.Error("wrote to a file that is not for writing")
	}
	name, err := p.Read("self/comm")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Write("self/comm", name); err != nil {
		t.Errorf("write: %v", err)
	}
}

// A file mounted over a part of /proc must be refused, not read. The mount is made in a mount namespace of a thread that ends with it.
func TestOverMount(t *testing.T) {
	fake := t.TempDir() + "/fake"
	if err := os.WriteFile(fake, []byte("42 (fake) R 1 1 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and its namespace with it
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			t.Logf("needs root: %v", err)
			return
		}
		if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Error(err)
			return
		}
		p, err := Open("/proc")
		if err != nil {
			t.Error(err)
			return
		}
		defer p.Close()
		// Both a file and a magic link are covered. mount(2) would follow the link, move_mount(2) does not.
		for _, over := range []string{"/proc/self/stat", "/proc/self/ns/net"} {
			fd, err := unix.OpenTree(unix.AT_FDCWD, fake, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
			if err != nil {
				t.Error(err)
				return
			}
			if err := unix.MoveMount(fd, "", unix.AT_FDCWD, over, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
				t.Errorf("mount on %s: %v", over, err)
			}
			unix.Close(fd)
		}
		if fd, err := p.OpenLink(0, "ns/net", unix.O_RDONLY); !errdef.Is(err, errdef.Denied) {
			t.Errorf("covered link: got %d, %v", fd, err)
		}
		if st, err := p.Stat(0); !errdef.Is(err, errdef.Denied) {
			t.Errorf("covered stat: got %+v, %v", st, err)
		}
		if _, err := p.Read("self/status"); err != nil {
			t.Errorf("uncovered status: %v", err)
		}
	}()
	<-done
}

func TestParseStat(t *testing.T) {
	tail := " S 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 0 0\n"
	for in, comm := range map[string]string{
		"42 (sh)" + tail:          "sh",
		"42 (a) R 1 (b)" + tail:   "a) R 1 (b",
		"42 ()" + tail:            "",
		"42 (new\nline )" + tail:  "new\nline ",
		"42 (x)" + tail + "extra": "x",
	} {
		s, err := ParseStat([]byte(in))
		want := Stat{PID: 42, Comm: comm, State: 'S', PPID: 7, PGID: 8, SID: 9, Threads: 1, StartTime: 123456}
		if err != nil || s != want {
			t.Errorf("%q: got %+v, %v", in, s, err)
		}
	}
	for _, in := range []string{"", "42", "42 (sh", "42 sh) S", "x (sh)" + tail, "42 (sh) S 1 2", "42 (sh) SS" + tail, strings.Replace("42 (sh)"+tail, "123456", "x", 1)} {
		if s, err := ParseStat([]byte(in)); err == nil {
			t.Errorf("%q: got %+v", in, s)
		}
	}
}

func TestParseStatus(t *testing.T) {
	in := "Name:\ta\\nb: c\nUmask:\t0022\nState:\tZ (zombie)\nTgid:\t7\nPPid:\t1\nUid:\t0\t1\t2\t3\nGid:\t4294967295\t5\t6\t7\nGroups:\t10 20 \n" +
		"NSpid:\t7\t1\nNew_line:\twhatever\nCapEff:\t00000000a80425fb\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\nThreads:\t9\n"
	got, err := ParseStatus([]byte(in))
	want := Status{
		Name: `a\nb: c`, Umask: 0o22, State: 'Z', TGID: 7, PPID: 1, UID: [4]uint32{0, 1, 2, 3}, GID: [4]uint32{1<<32 - 1, 5, 6, 7},
		Groups: []uint32{10, 20}, NSPid: []int{7, 1}, CapEffective: 0xa80425fb, NoNewPrivs: true, Seccomp: 2, SeccompFilters: 3, Threads: 9,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, in := range []string{"Uid:\t1\t2\n", "CapEff:\txyz\n", "Seccomp:\t\n", "Groups:\t-1\n"} {
		if s, err := ParseStatus([]byte(in)); err == nil {
			t.Errorf("%q: got %+v", in, s)
		}
	}
}

func TestParseMountinfo(t *testing.T) {
	in := `36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
21 1 0:20 / /a\134b\011 ro shared:5 unbindable future:x - fuse.sshfs my\040src rw
22 1 0:21 / /n rw - tmpfs  rw
`
	got, err := ParseMountinfo([]byte(in))
	want := []Mount{
		{ID: 36, Parent: 35, Major: 98, Root: "/mnt1", Point: "/mnt 2", Options: "rw,noatime", Master: 1, Type: "ext3", Source: "/dev/root", Super: "rw,errors=continue"},
		{ID: 21, Parent: 1, Minor: 20, Root: "/", Point: "/a\\b\t", Options: "ro", Shared: 5, Unbindable: true, Type: "fuse.sshfs", Source: "my src", Super: "rw"},
		{ID: 22, Parent: 1, Minor: 21, Root: "/", Point: "/n", Options: "rw", Type: "tmpfs", Super: "rw"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if !got[0].Has("noatime") || got[0].Has("atime") || !got[0].SuperHas("rw") {
		t.Error("options are mixed up")
	}
	for _, in := range []string{"x", "36 35 98:0 / /mnt rw", "36 35 98 / /mnt rw - t s o", "a 35 98:0 / /mnt rw - t s o", "36 35 98:0 / /mnt rw shared:1 t s o", "\n"} {
		if m, err := ParseMountinfo([]byte(in)); err == nil {
			t.Errorf("%q: got %+v", in, m)
		}
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{`a`: "a", `\040`: " ", `\\`: `\\`, `\04`: `\04`, `\0401`: " 1", `\777`: `\777`, `\134040`: `\040`} {
		if got := Unescape(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestParseCgroups(t *testing.T) {
	got, err := ParseCgroups([]byte("4:cpu,cpuacct:/a:b\n1:name=systemd:/\n0::/x (deleted)\n"))
	want := []Cgroup{{4, []string{"cpu", "cpuacct"}, "/a:b"}, {1, []string{"name=systemd"}, "/"}, {0, nil, "/x"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, in := range []string{"x", "a::/", "0:/", "0::x"} {
		if c, err := ParseCgroups([]byte(in)); err == nil {
			t.Errorf("%q: got %+v", in, c)
		}
	}
}

func FuzzParsers(f *testing.F) {
	f.Add([]byte("36 35 98:0 / /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw\n"))
	f.Add([]byte("42 (sh) S 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 0 0\n"))
	f.Add([]byte("Uid:\t0\t1\t2\t3\nGroups:\t1\n0::/\n"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		ParseMountinfo(b)
		ParseStat(b)
		ParseStatus(b)
		ParseCgroups(b)
	})
}

// TestDead: the state is the first thread's, which may have ended while others go on.
func TestDead(t *testing.T) {
	for _, c := range []struct {
		s    Stat
		dead bool
	}{{Stat{State: 'R', Threads: 1}, false}, {Stat{State: 'Z', Threads: 1}, true}, {Stat{State: 'Z', Threads: 2}, false}, {Stat{State: 'X'}, true}} {
		if got := c.s.Dead(); got != c.dead {
			t.Errorf("%+v: dead %v", c.s, got)
		}
	}
}
