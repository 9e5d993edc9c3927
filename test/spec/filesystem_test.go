package spec

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func decimal(n int) string { return strconv.Itoa(n) }

// owned makes a file of an owner.
func (b *box) owned(name string, uid, gid int) {
	b.t.Helper()
	b.must(os.Chown(b.makeFile(name, "x"), uid, gid))
}

// needIDMap skips where the kernel cannot mount the file system of a directory with mapped ids: tmpfs came with Linux 6.3.
func needIDMap(t *testing.T, dir string) {
	t.Helper()
	users, err := os.Open("/proc/" + decimal(holder(t, unix.CLONE_NEWUSER)) + "/ns/user")
	if err != nil {
		t.Fatal(err)
	}
	defer users.Close()
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(users.Fd())}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, attr); err == unix.EINVAL {
		t.Skip("the kernel cannot mount this file system with mapped ids")
	} else if err != nil {
		t.Fatal(err)
	}
}

// TestIDMap: the owners of a mount's files go through its mappings; with ridmap those of its submounts too.
func TestIDMap(t *testing.T) {
	t.Parallel()
	b := newBox(t, "stat", "-c", "%n %u %g", "/one/a", "/one/b", "/one/sub/c", "/all/a", "/all/sub/c")
	b.makeDir("src")
	b.owned("src/a", 0, 0)
	b.owned("src/b", 5, 9)
	needIDMap(t, b.hostMount("src/sub", 0))
	b.owned("src/sub/c", 0, 1)
	uids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 10}}
	gids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 2000, Size: 5}, {ContainerID: 9, HostID: 77, Size: 1}}
	for destination, option := range map[string]string{"/one": "idmap", "/all": "ridmap"} {
		m := b.mount(destination, "", b.path("src"), "rbind", option)
		m.UIDMappings, m.GIDMappings = uids, gids
	}
	want := "/one/a 1000 2000\n/one/b 1005 77\n/one/sub/c 0 1\n/all/a 1000 2000\n/all/sub/c 1000 2001\n"
	if out := b.output(); out != want {
		t.Errorf("%s\nwant\n%s", out, want)
	}
	b.spec.Process.Args = []string{"sh", "-c", "echo >/one/new && stat -c '%u %g' /one/new"}
	b.spec.Process.User = specs.User{UID: 1000, GID: 2000}
	b.must(os.Chmod(b.path("src"), 0o777))
	if out := b.output(); out != "1000 2000\n" {
		t.Errorf("a new file: %q", out)
	}
	var st syscall.Stat_t
	b.must(syscall.Stat(b.path("src/new"), &st))
	if st.Uid != 0 || st.Gid != 0 {
		t.Errorf("outside the new file is of %d:%d, want 0:0", st.Uid, st.Gid)
	}

	for _, field := range []string{"uidMappings", "gidMappings"} {
		c := newBox(t, "true")
		c.mount("/m", "", b.path("src"), "bind", "idmap")
		m := &c.spec.Mounts[len(c.spec.Mounts)-1]
		m.UIDMappings, m.GIDMappings = uids, gids
		if field == "uidMappings" {
			m.UIDMappings = nil
		} else {
			m.GIDMappings = nil
		}
		c.refused("mounts[5]." + field)
	}
}

// TestIDMapUser: in a user namespace idmap without mappings takes the container's own: the host's root owns files as the container's root.
func TestIDMapUser(t *testing.T) {
	t.Parallel()
	b := newBox(t, "stat", "-c", "%n %u %g", "/plain/a", "/mapped/a", "/own/a")
	b.userNamespace(100000, 1000)
	b.makeDir("src")
	b.owned("src/a", 0, 3)
	b.mount("/plain", "", b.path("src"), "bind")
	b.mount("/mapped", "", b.path("src"), "bind", "idmap")
	m := b.mount("/own", "", b.path("src"), "bind", "idmap")
	m.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100007, Size: 1}}
	m.GIDMappings = []specs.LinuxIDMapping{{ContainerID: 3, HostID: 100008, Size: 1}}
	if want, out := "/plain/a 65534 65534\n/mapped/a 0 3\n/own/a 7 8\n", b.output(); out != want {
		t.Errorf("%s\nwant\n%s", out, want)
	}
}

// TestCgroupMount: a mount of type cgroup shows the container's own cgroup and no other, with and without a cgroup namespace, read-only
// or not.
func TestCgroupMount(t *testing.T) {
	t.Parallel()
	file := limitFile(t)
	for _, private := range []bool{true, false} {
		for _, option := range []string{"ro", "rw"} {
			b := newBox(t, "sh", "-c", "cat "+file+"; cat /proc/self/cgroup; mkdir "+filepath.Dir(file)+"/sub && rm -r /nonesuch 2>/dev/null; ls -d "+filepath.Dir(file)+"/*/")
			if !private {
				b.without(specs.CgroupNamespace)
			}
			b.mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", option)
			b.spec.Linux.Resources.Pids = &specs.LinuxPids{Limit: ptr(int64(37))}
			r := b.run()
			lines := strings.Split(r.out, "\n")
			if lines[0] != "37" {
				t.Errorf("private %v, %s: the limit of tasks is %q: %s", private, option, lines[0], r.err)
			}
			if strings.Contains(r.out, b.id) == private {
				t.Errorf("private %v: /proc/self/cgroup:\n%s", private, r.out)
			}
			if made := strings.Contains(r.out, "/sub/"); made != (option == "rw") {
				t.Errorf("private %v, %s: could make a cgroup: %v: %s", private, option, made, r.err)
			}
			b.nothing()
		}
	}
}

// limitFile is where a container sees its limit of tasks.
func limitFile(t *testing.T) string {
	t.Helper()
	for _, file := range []string{"/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/pids.max"} {
		if _, err := os.Stat(filepath.Dir(file) + "/cgroup.procs"); err == nil {
			return file
		}
	}
	cannot(t, "there is no cgroup with a limit of tasks")
	return ""
}

// TestMqueue: its own in a new IPC namespace.
func TestMqueue(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev")
	b.try("create:/dev/mqueue/queue", "ok", "read:/dev/mqueue/queue", "ok")
	m := b.mounts()["/dev/mqueue"]
	if m.fs != "mqueue" || !m.has("nosuid") || !m.has("noexec") || !m.has("nodev") {
		t.Errorf("%+v", m)
	}
}

// TestDevpts: its options, and that it is an instance of its own.
func TestDevpts(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sh", "-c", "stat -c '%a' /dev/pts/ptmx; ls /dev/pts")
	b.spec.Mounts[2].Options = []string{"nosuid", "noexec", "newinstance", "ptmxmode=0660", "mode=0623", "gid=5", "max=3"}
	if out := b.output(); out != "660\nptmx\n" {
		t.Errorf("%q", out)
	}
	if m := b.mounts()["/dev/pts"]; !m.hasSuper("gid=5") || !m.hasSuper("mode=623") || !m.hasSuper("ptmxmode=660") || !m.hasSuper("max=3") {
		t.Errorf("%+v", m)
	}
}

// TestHidepid: options of procfs have their effect: a user does not see the processes of others.
func TestHidepid(t *testing.T) {
	t.Parallel()
	for option, want := range map[string]string{"hidepid=0": "1 ", "hidepid=2": ""} {
		b := newBox(t, "sleep", "60")
		b.spec.Mounts[0].Options = []string{option, "nosuid"}
		b.up()
		out := b.ok("exec", "--user", "1000:1000", b.id, "sh", "-c", "test -e /proc/1 && echo -n 1 ''; test -e /proc/self && echo self").out
		if out != want+"self\n" {
			t.Errorf("%s: %q", option, out)
		}
	}
}

// TestSysfs: read-only as it says.
func TestSysfs(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.grant("CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_NET_ADMIN")
	const file = "write:/sys/class/net/lo/gro_flush_timeout:0"
	b.try(file, "EROFS")
	b.spec.Mounts[4].Options = []string{"rw"}
	b.try(file, "ok")
}

// TestMaskedPaths: a masked file reads as empty, a masked directory is empty; what is missing is passed over.
func TestMaskedPaths(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sh", "-c", "cat /proc/kallsyms /srv/secret; ls -A /srv/dir /sys/firmware /proc/fs; touch /srv/dir/x || echo no")
	b.makeFile("rootfs/srv/secret", "secret")
	b.makeFile("rootfs/srv/dir/secret", "secret")
	b.must(os.Symlink("dir", b.path("rootfs/srv/link")))
	b.spec.Linux.MaskedPaths = []string{"/proc/kallsyms", "/srv/secret", "/srv/dir", "/sys/firmware", "/proc/fs", "/srv/nonesuch/deep"}
	if out, want := b.output(), "/proc/fs:\n\n/srv/dir:\n\n/sys/firmware:\nno\n"; out != want {
		t.Errorf("%q, want %q", out, want)
	}
	b.spec.Linux.MaskedPaths = []string{"relative"}
	b.refused("linux.maskedPaths[0]")
}

// TestReadonlyPaths: with everything that is mounted below.
func TestReadonlyPaths(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.makeFile("rootfs/srv/dir/file", "x")
	b.makeFile("rootfs/srv/file", "x")
	b.mount("/srv/dir/sub", "tmpfs", "tmpfs")
	b.spec.Linux.ReadonlyPaths = []string{"/srv/dir", "/srv/file", "/proc/sys", "/proc/nonesuch"}
	b.try(
		"create:/srv/dir/x", "EROFS", "write:/srv/dir/file:x", "EROFS", "write:/srv/file:y", "EROFS", "create:/srv/free", "ok",
		"write:/proc/sys/kernel/shm_rmid_forced:0", "EROFS", "read:/proc/sys/kernel/shm_rmid_forced", "ok", "create:/srv/dir/sub/x", "EROFS",
	)
	b.spec.Linux.ReadonlyPaths = []string{"relative"}
	b.refused("linux.readonlyPaths[0]")
}

// TestMountLabel and the labels of processes: without the security module they are refused by name.
func TestLabels(t *testing.T) {
	t.Parallel()
	modules, _ := os.ReadFile("/sys/kernel/security/lsm")
	for module, set := range map[string]func(*specs.Spec){
		"selinux":  func(s *specs.Spec) { s.Process.SelinuxLabel = "system_u:system_r:container_t:s0" },
		"selinux ": func(s *specs.Spec) { s.Linux.MountLabel = "system_u:object_r:container_file_t:s0" },
		"apparmor": func(s *specs.Spec) { s.Process.ApparmorProfile = "spec-nonesuch" },
	} {
		if module = strings.TrimSpace(module); strings.Contains(string(modules), module) {
			t.Logf("%s is active: what it does with a label is its business", module)
			continue
		}
		b := newBox(t, "true")
		set(b.spec)
		b.write()
		if r := b.call("create", "--bundle", b.dir, b.id); r.code == 0 || !strings.Contains(strings.ToLower(r.err), module) {
			t.Errorf("%s: exit status %d: %s", module, r.code, r.err)
		}
	}
}
