package spec

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// userNamespace maps the ids from 0 on to the host's from first on, and gives the root file system to the container's root.
func (b *box) userNamespace(first, size uint32) {
	b.t.Helper()
	b.must(os.RemoveAll(b.path("rootfs")))
	b.populate(copyFile)
	b.join(specs.UserNamespace, "")
	b.spec.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: first, Size: size}}
	b.spec.Linux.GIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: first, Size: size}}
	out, err := exec.Command("chown", "-hR", fmt.Sprintf("%d:%d", first, first), b.path("rootfs")).CombinedOutput()
	if err != nil {
		b.t.Fatalf("chown: %v: %s", err, out)
	}
}

// names of namespaces: those of the specification and of /proc/PID/ns, and their flags.
var kinds = []struct {
	kind specs.LinuxNamespaceType
	file string
	flag uintptr
}{
	{specs.PIDNamespace, "pid", unix.CLONE_NEWPID},
	{specs.NetworkNamespace, "net", unix.CLONE_NEWNET},
	{specs.MountNamespace, "mnt", unix.CLONE_NEWNS},
	{specs.IPCNamespace, "ipc", unix.CLONE_NEWIPC},
	{specs.UTSNamespace, "uts", unix.CLONE_NEWUTS},
	{specs.CgroupNamespace, "cgroup", unix.CLONE_NEWCGROUP},
	{specs.TimeNamespace, "time", unix.CLONE_NEWTIME},
}

// holder starts a process in new namespaces, which it holds until the test ends.
func holder(t *testing.T, flags uintptr) int {
	t.Helper()
	cmd := exec.Command(image+"/busybox", "sleep", "120")
	cmd.Env = []string{mark}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: flags &^ (unix.CLONE_NEWTIME | unix.CLONE_NEWNS), Unshareflags: flags & (unix.CLONE_NEWTIME | unix.CLONE_NEWNS), Pdeathsig: syscall.SIGKILL,
	}
	if flags&unix.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: 100000, Size: 1000}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: 100000, Size: 1000}}
		cmd.SysProcAttr.GidMappingsEnableSetgroups = true
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd.Process.Pid
}

func namespaceOf(t *testing.T, pid any, file string) string {
	t.Helper()
	link, err := os.Readlink(fmt.Sprintf("/proc/%v/ns/%s", pid, file))
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// TestNamespaces: each type new, absent and joined.
func TestNamespaces(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(string(k.kind), func(t *testing.T) {
			b := newBox(t, "sleep", "60")
			b.join(k.kind, "")
			host := namespaceOf(t, "self", k.file)
			if got := namespaceOf(t, b.up(), k.file); got == host {
				t.Errorf("new: it is the host's")
			}
			pid, made := holder(t, k.flag), k.file
			if k.kind == specs.TimeNamespace { // on Linux 6.1 execve does not bring the caller of unshare into it
				made = "time_for_children"
			}
			c := newBox(t, "sleep", "60")
			c.join(k.kind, fmt.Sprintf("/proc/%d/ns/%s", pid, made))
			if got, want := namespaceOf(t, c.up(), k.file), namespaceOf(t, pid, made); got != want || got == host {
				t.Errorf("joined: %s, want %s", got, want)
			}
			if got, want := strings.TrimSpace(c.ok("exec", c.id, "readlink", "/proc/self/ns/"+k.file).out), namespaceOf(t, pid, made); got != want {
				t.Errorf("exec: %s, want %s", got, want)
			}
			if k.kind == specs.MountNamespace {
				return // without one, nothing may be mounted
			}
			d := newBox(t, "sleep", "60")
			d.without(k.kind)
			if k.kind == specs.NetworkNamespace { // sysfs belongs to a network namespace
				d.spec.Mounts = d.spec.Mounts[:4]
			}
			if got := namespaceOf(t, d.up(), k.file); got != host {
				t.Errorf("absent: %s, want the runtime's %s", got, host)
			}
		})
	}
}

// TestNoMountNamespace: without a mount namespace the container runs in its root, and what would change the host's mounts is refused.
func TestNoMountNamespace(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sh", "-c", "ls /; pwd")
	b.without(specs.MountNamespace)
	b.refused("linux.namespaces")
	b.spec.Mounts = nil
	if out := b.output(); !strings.Contains(out, "bin\n") || strings.Contains(out, "usr") {
		t.Errorf("%q", out)
	}
}

// TestNamespaceErrors: a path of another type, one that is no namespace, one that is not there, a relative one, and a type twice.
func TestNamespaceErrors(t *testing.T) {
	t.Parallel()
	for path, words := range map[string][]string{
		"/proc/self/ns/uts": {"network namespace", "/proc/self/ns/uts"},
		"/dev/null":         {"linux.namespaces", "/dev/null"},
		"/nonesuch":         {"linux.namespaces", "/nonesuch"},
		"relative":          {"linux.namespaces", "path"},
	} {
		b := newBox(t, "true")
		b.join(specs.NetworkNamespace, path)
		b.refused(words...)
	}
	b := newBox(t, "true")
	b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.PIDNamespace})
	b.refused("linux.namespaces[6]")
	b.spec.Linux.Namespaces[6].Type = "teapot"
	b.refused("linux.namespaces[6].type")
}

// TestTimeOffsets: linux.timeOffsets moves the clocks of a new time namespace.
func TestTimeOffsets(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.join(specs.TimeNamespace, "")
	b.spec.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 86400, Nanosecs: 500000000}, "boottime": {Secs: -10}}
	clock := func(id int32) int64 {
		var ts unix.Timespec
		b.must(unix.ClockGettime(id, &ts))
		return ts.Nano() / 1e6
	}
	mono, boot := clock(unix.CLOCK_MONOTONIC), clock(unix.CLOCK_BOOTTIME)
	got := b.report()
	for name, want := range map[string]int64{"clock.monotonic": mono + 86400500, "clock.boottime": boot - 10000} {
		ms, err := strconv.ParseInt(got[name], 10, 64)
		if err != nil || ms < want || ms > want+int64(patience.Milliseconds()) {
			t.Errorf("%s: %s, want %d and some milliseconds", name, got[name], want)
		}
	}
	b.spec.Process.Args = []string{"sleep", "60"}
	b.up()
	ms, err := strconv.ParseInt(facts(b.ok("exec", b.id, "inside", "report").out)["clock.monotonic"], 10, 64)
	if err != nil || ms < mono+86400500 {
		t.Errorf("exec: %d, want more than %d", ms, mono+86400500)
	}
	c := newBox(t, "true")
	c.spec.Linux.TimeOffsets = b.spec.Linux.TimeOffsets
	c.refused("linux.timeOffsets")
	c.join(specs.TimeNamespace, "")
	c.spec.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"realtime": {Secs: 1}}
	c.refused("linux.timeOffsets")
	c.spec.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": {Nanosecs: 1e9}}
	c.refused("linux.timeOffsets")
}

// TestUserNamespace: new, with mappings.
func TestUserNamespace(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.userNamespace(200000, 500)
	b.spec.Linux.GIDMappings = append(b.spec.Linux.GIDMappings, specs.LinuxIDMapping{ContainerID: 600, HostID: 300000, Size: 3})
	b.spec.Process.User.AdditionalGids = []uint32{601}
	b.grant("CAP_SYS_ADMIN", "CAP_CHOWN")
	same(t, b.report(), map[string]string{"uid": "0 0", "gid": "0 0", "groups": "[601]"})
	b.owned("rootfs/etc/strange", 0, 0)
	b.spec.Process.Args = []string{"sh", "-c", "cat /proc/self/uid_map /proc/self/gid_map; stat -c '%u %g' /bin/busybox /etc/strange; touch /etc/new; test -e /dev/null && echo x >/dev/null && echo null"}
	want := "0 200000 500\n0 200000 500\n600 300000 3\n0 0\n65534 65534\nnull\n"
	if out := squeeze(b.output()); out != want {
		t.Errorf("%s\nwant\n%s", out, want)
	}
	var st syscall.Stat_t
	b.must(syscall.Stat(b.path("rootfs/etc/new"), &st))
	if st.Uid != 200000 || st.Gid != 200000 {
		t.Errorf("a file of the container's root is of %d:%d outside", st.Uid, st.Gid)
	}
	b.spec.Process.Args = []string{"sleep", "60"}
	pid := b.up()
	if status := statusOf(t, pid); !strings.HasPrefix(status["Uid"], "200000\t") || status["Groups"] != "300001" {
		t.Errorf("outside: Uid %s, Groups %s", status["Uid"], status["Groups"])
	}
	if out := squeeze(b.ok("exec", b.id, "cat", "/proc/self/uid_map").out); out != "0 200000 500\n" {
		t.Errorf("exec: %q", out)
	}
}

// TestUserNamespaceClosedRoot: a rootfs that the container's root cannot reach by its path is opened by the runtime, whatever the propagation of its mounts; what
// is mounted in the container does not reach the host.
func TestUserNamespaceClosedRoot(t *testing.T) {
	t.Parallel()
	for _, propagation := range []string{"", "rprivate", "rslave", "rshared"} {
		b := newBox(t, "true")
		b.userNamespace(200000, 500)
		b.grant("CAP_SYS_ADMIN")
		b.spec.Linux.RootfsPropagation = propagation
		b.spec.Linux.MaskedPaths = []string{"/proc/scsi", "/proc/kcore"}
		b.mount("/m", "tmpfs", "tmpfs")
		b.must(os.Chmod(b.dir, 0o700))
		before, err := os.ReadFile("/proc/self/mountinfo")
		b.must(err)
		if m := b.mounts()["/m"]; m.fs != "tmpfs" {
			t.Errorf("%q: %+v", propagation, m)
		}
		after, err := os.ReadFile("/proc/self/mountinfo")
		b.must(err)
		if strings.Count(string(after), b.dir) != strings.Count(string(before), b.dir) {
			t.Errorf("%q: mounts of the container on the host: %s", propagation, after)
		}
	}
}

// TestUserNamespaceClosed: a source that the container's root cannot reach by its path is opened by the runtime, with the options of its mount, unless the
// container could then take away what the kernel would have locked.
func TestUserNamespaceClosed(t *testing.T) {
	t.Parallel()
	const flags = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC
	for _, c := range []struct {
		name  string
		flags uintptr
		caps  []string
		ok    bool
	}{
		{"open", 0, []string{"CAP_SYS_ADMIN"}, true},
		{"restricted", flags, []string{"CAP_CHOWN"}, true},
		{"restricted, and may be changed", flags, []string{"CAP_SYS_ADMIN"}, false},
		{"read-only", syscall.MS_RDONLY, []string{"CAP_CHOWN"}, false},
	} {
		b := newBox(t, "true")
		b.userNamespace(200000, 500)
		b.grant(c.caps...)
		b.must(os.Chmod(b.makeDir("closed"), 0o700))
		b.mount("/m", "", b.hostMount("closed/src", c.flags), "bind")
		if !c.ok {
			b.refused("open_tree", "permission denied")
			continue
		}
		m := b.mounts()["/m"]
		for _, option := range []string{"nosuid", "nodev", "noexec"} {
			if m.fs != "tmpfs" || m.has(option) != (c.flags != 0) {
				t.Errorf("%s: %+v, option %s", c.name, m, option)
			}
		}
	}
}

func squeeze(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(strings.Join(strings.Fields(line), " ") + "\n")
	}
	return out.String()
}

// TestUserNamespaceJoined: one that is there; its owner gives the others.
func TestUserNamespaceJoined(t *testing.T) {
	t.Parallel()
	pid := holder(t, unix.CLONE_NEWUSER|unix.CLONE_NEWNET)
	b := newBox(t, "sleep", "60")
	b.userNamespace(100000, 1000)
	b.spec.Linux.UIDMappings, b.spec.Linux.GIDMappings = nil, nil
	b.join(specs.UserNamespace, fmt.Sprintf("/proc/%d/ns/user", pid))
	b.join(specs.NetworkNamespace, fmt.Sprintf("/proc/%d/ns/net", pid))
	got := b.up()
	for _, file := range []string{"user", "net"} {
		if namespaceOf(t, got, file) != namespaceOf(t, pid, file) {
			t.Errorf("%s: not the one to join", file)
		}
	}
	if uid := statusOf(t, got)["Uid"]; !strings.HasPrefix(uid, "100000\t") {
		t.Errorf("Uid %s", uid)
	}
	if out := b.ok("exec", b.id, "id", "-u").out; out != "0\n" {
		t.Errorf("exec: %q", out)
	}
}

// TestUserNamespaceLimits: process.rlimits in a user namespace, where a limit of processes is about the mapped user, and the runtime
// itself makes processes as that user.
func TestUserNamespaceLimits(t *testing.T) {
	t.Parallel()
	b := newBox(t, "cat", "/proc/self/limits")
	b.userNamespace(210000, 10)
	b.spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NPROC", Soft: 1, Hard: 1}}
	if out := squeeze(b.output()); !strings.Contains(out, "Max processes 1 1 ") {
		t.Error(out)
	}
}

// TestMappingErrors: mappings that no kernel takes.
func TestMappingErrors(t *testing.T) {
	t.Parallel()
	for field, mappings := range map[string][]specs.LinuxIDMapping{
		"linux.uidMappings":    nil,
		"linux.uidMappings[0]": {{ContainerID: 0, HostID: 100000, Size: 0}},
		"linux.uidMappings[1]": {{ContainerID: 0, HostID: 100000, Size: 10}, {ContainerID: 5, HostID: 200000, Size: 10}},
		"user 0 is not mapped": {{ContainerID: 7, HostID: 100000, Size: 10}},
	} {
		b := newBox(t, "true")
		b.userNamespace(100000, 10)
		b.spec.Linux.UIDMappings = mappings
		b.refused(field)
	}
	c := newBox(t, "true")
	c.userNamespace(100000, 10)
	c.spec.Process.User.UID = 10
	c.refused("process.user.uid")
	b := newBox(t, "true")
	b.spec.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 1, Size: 1}}
	b.refused("linux.uidMappings")
}
