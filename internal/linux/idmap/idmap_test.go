package idmap

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func both(r ...Range) Mapping { return Mapping{r, r} }

func TestValidate(t *testing.T) {
	for _, ok := range []Mapping{
		both(Range{0, 100000, 65536}), both(Range{0, 0, 1<<32 - 1}), both(Range{0, 1000, 1}, Range{1, 100000, 65535}), both(Range{5, 0, 1}, Range{0, 5, 5}),
	} {
		if err := ok.Validate(); err != nil {
			t.Errorf("%v: %v", ok, err)
		}
	}
	many := make([]Range, MaxRanges+1)
	for i := range many {
		many[i] = Range{uint32(i), uint32(i), 1}
	}
	for name, bad := range map[string]Mapping{
		"empty": {}, "no gids": {UIDs: []Range{{0, 1, 1}}}, "size 0": both(Range{0, 1, 0}), "inside past the end": both(Range{1, 0, 1<<32 - 1}),
		"outside past the end": both(Range{0, 1<<32 - 1, 1}), "wrap": both(Range{1 << 31, 0, 1<<31 + 5}),
		"overlap inside": both(Range{0, 0, 10}, Range{9, 100, 1}), "overlap outside": both(Range{0, 0, 10}, Range{10, 5, 1}),
		"same": both(Range{0, 0, 1}, Range{0, 0, 1}), "many": both(many...),
	} {
		if err := bad.Validate(); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := both(many[:MaxRanges]...).Validate(); err != nil {
		t.Error(err)
	}
}

func TestText(t *testing.T) {
	ranges := []Range{{0, 100000, 1}, {1, 1<<32 - 2, 1}}
	const text = "0 100000 1\n1 4294967294 1\n"
	if got := Text(ranges); got != text {
		t.Errorf("text %q", got)
	}
	padded := strings.ReplaceAll(text, " ", "          ")
	if got, err := Parse(padded); err != nil || !reflect.DeepEqual(got, ranges) {
		t.Errorf("parse: %v, %v", got, err)
	}
	for _, in := range []string{"1 2", "1 2 3 4", "a 1 2", "-1 0 1", "0 0 4294967296"} {
		if got, err := Parse(in); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
}

func TestTranslate(t *testing.T) {
	r := []Range{{0, 1000, 1}, {1, 100000, 10}}
	for inside, outside := range map[uint32]uint32{0: 1000, 1: 100000, 10: 100009} {
		if got, ok := ToOutside(r, inside); !ok || got != outside {
			t.Errorf("%d: got %d %v", inside, got, ok)
		}
		if got, ok := ToInside(r, outside); !ok || got != inside {
			t.Errorf("%d: got %d %v", outside, got, ok)
		}
	}
	if _, ok := ToOutside(r, 11); ok {
		t.Error("11 is mapped")
	}
	if _, ok := ToInside(r, 0); ok {
		t.Error("host root is mapped")
	}
	if !SelfOnly(r[:1], 1000) || SelfOnly(r, 1000) || SelfOnly(r[:1], 0) || SelfOnly(r[1:], 100000) {
		t.Error("SelfOnly is wrong")
	}
}

func TestFromSpec(t *testing.T) {
	m := FromSpec([]specs.LinuxIDMapping{{ContainerID: 1, HostID: 2, Size: 3}}, nil)
	if !reflect.DeepEqual(m, Mapping{UIDs: []Range{{1, 2, 3}}}) || m.Empty() || !FromSpec(nil, nil).Empty() {
		t.Errorf("got %+v", m)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func TestUserNS(t *testing.T) {
	needRoot(t)
	m := Mapping{[]Range{{0, 100000, 65536}}, []Range{{0, 200000, 1000}, {1000, 300000, 5}}}
	before := children(t)
	fd, err := UserNS(m)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	ns, err := procfs.NamespaceOf(fd)
	if err != nil {
		t.Fatal(err)
	}
	proc, err := procfs.Host()
	if err != nil {
		t.Fatal(err)
	}
	if own, err := proc.Namespace(0, "user"); err != nil || own == ns {
		t.Errorf("our own namespace came back (%v)", err)
	}
	if after := children(t); after != before {
		t.Errorf("children before %q, after %q", before, after)
	}
	// The mapping shows in a mount: a file of host uid 0 has no owner inside a mount that maps 100000 to 0.
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/f", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir+"/f", 7, 1003); err != nil {
		t.Fatal(err)
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(tree)
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(fd)}); err != nil {
		t.Skipf("the file system of %s cannot be idmapped: %v", dir, err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(tree, "f", &st, 0); err != nil || st.Uid != 100007 || st.Gid != 300003 {
		t.Errorf("owner %d:%d, %v; want 100007:300003", st.Uid, st.Gid, err)
	}
}

func TestAllowed(t *testing.T) {
	needRoot(t)
	before := children(t)
	if err := Allowed(); err != nil {
		t.Error(err)
	}
	if after := children(t); after != before {
		t.Errorf("children before %q, after %q", before, after)
	}
}

func TestUserNSInvalid(t *testing.T) {
	if fd, err := UserNS(Mapping{}); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("got %d, %v", fd, err)
	}
}

// The children of all threads of this process, zombies included.
func children(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(files) == 0 {
		t.Skip("the kernel does not list children")
	}
	var list []string
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil { // a thread may have ended meanwhile
			list = append(list, strings.Fields(string(b))...)
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// As another user, only one's own id can be mapped without help, and setgroups must be off afterwards.
func TestRootlessSelf(t *testing.T) {
	needRoot(t)
	const user = 12345
	if os.Getenv("IDMAP_TEST_CHILD") == "" {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		// The test binary lies in a directory that another user cannot enter: hand it over as a descriptor.
		f, err := os.Open(exe)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd := exec.Command("/proc/self/fd/3", "-test.run", "^TestRootlessChild$", "-test.v")
		cmd.ExtraFiles = []*os.File{f}
		cmd.Dir = "/"
		cmd.Env = []string{"IDMAP_TEST_CHILD=1"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "mapped") {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

func TestRootlessChild(t *testing.T) {
	if os.Getenv("IDMAP_TEST_CHILD") == "" {
		t.Skip("runs inside TestRootlessSelf")
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	pid, fd, err := forkWaiting(unix.CLONE_NEWUSER, pipe)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	defer unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	proc, err := procfs.Host()
	if err != nil {
		t.Fatal(err)
	}
	self := uint32(os.Geteuid())
	m := both(Range{0, self, 1})
	if err := (Writer{}).Write(t.Context(), proc, pid, m); !errdef.Is(err, errdef.Denied) {
		t.Errorf("direct write without denying setgroups: %v", err)
	}
	if err := (Writer{Rootless: true}).Write(t.Context(), proc, pid, m); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"setgroups": "deny\n", "uid_map": "0 12345 1", "gid_map": "0 12345 1"} {
		b, err := proc.Read(procfs.Path(pid, file))
		got := strings.Join(strings.Fields(string(b)), " ")
		if err != nil || got != strings.TrimSpace(want) {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
	t.Log("mapped")
}

func TestHelperMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := help(t.Context(), "newuidmap", 1, []Range{{0, 100000, 65536}})
	if !errdef.Is(err, errdef.Unavailable) || errdef.Hint(err) == "" {
		t.Errorf("got %v, hint %q", err, errdef.Hint(err))
	}
}

func BenchmarkUserNS(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	m := both(Range{0, 100000, 65536})
	for b.Loop() {
		fd, err := UserNS(m)
		if err != nil {
			b.Fatal(err)
		}
		unix.Close(fd)
	}
}
