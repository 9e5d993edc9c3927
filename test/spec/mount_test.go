package spec

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestMountOptions mounts a tmpfs with each option of config.md, Linux mount options, that is no bind mount's, and reads from inside what
// it became. Of options that take something back, each follows the one that it takes back, since the last one wins.
func TestMountOptions(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	cases := []struct{ options, yes, no, super string }{
		{"defaults", "rw relatime", "ro nosuid nodev noexec", "rw"},
		{"ro", "ro", "rw", ""},
		{"ro,rw", "rw", "ro", "rw"},
		{"nosuid", "nosuid", "", ""},
		{"nosuid,suid", "", "nosuid", ""},
		{"nodev", "nodev", "", ""},
		{"nodev,dev", "", "nodev", ""},
		{"noexec", "noexec", "", ""},
		{"noexec,exec", "", "noexec", ""},
		{"noatime", "noatime", "relatime", ""},
		{"noatime,atime", "relatime", "noatime", ""},
		{"strictatime", "", "relatime noatime", ""},
		{"strictatime,nostrictatime", "relatime", "", ""},
		{"relatime", "relatime", "", ""},
		{"norelatime", "", "noatime", ""},
		{"nodiratime", "nodiratime", "", ""},
		{"nodiratime,diratime", "", "nodiratime", ""},
		{"nosymfollow", "nosymfollow", "", ""},
		{"nosymfollow,symfollow", "", "nosymfollow", ""},
		{"sync", "", "", "sync"},
		{"sync,async", "", "", "rw"},
		{"dirsync", "", "", "dirsync"},
		{"lazytime", "", "", "lazytime"},
		{"lazytime,nolazytime", "", "", "rw"},
		{"mand", "", "", "rw"},
		{"mand,nomand", "", "", "rw"},
		{"iversion", "", "", "rw"},
		{"noiversion", "", "", "rw"},
		{"silent", "", "", "rw"},
		{"loud", "", "", "rw"},
		{"size=1m,mode=0751,uid=7,gid=8,nr_inodes=99", "rw", "", "size=1024k mode=751 uid=7 gid=8 nr_inodes=99"},
		{"rro", "ro", "rw", ""},
		{"rro,rrw", "rw", "ro", ""},
		{"rnosuid,rnodev,rnoexec,rnodiratime,rnosymfollow", "nosuid nodev noexec nodiratime nosymfollow", "", ""},
		{"rnosuid,rsuid,rnodev,rdev,rnoexec,rexec,rnodiratime,rdiratime,rnosymfollow,rsymfollow", "", "nosuid nodev noexec nodiratime nosymfollow", ""},
		{"rnoatime", "noatime", "relatime", ""},
		{"rnoatime,ratime", "relatime", "noatime", ""},
		{"rstrictatime", "", "relatime noatime", ""},
		{"rstrictatime,rnostrictatime", "relatime", "", ""},
		{"noatime,rrelatime", "relatime", "noatime", ""},
		{"rnorelatime", "", "noatime", ""},
	}
	for i, c := range cases {
		b.mount(fmt.Sprintf("/m/%d", i), "tmpfs", "tmpfs", strings.Split(c.options, ",")...)
	}
	mounts := b.mounts()
	for i, c := range cases {
		m, ok := mounts[fmt.Sprintf("/m/%d", i)]
		if !ok {
			t.Errorf("%s: not mounted", c.options)
		}
		for _, yes := range strings.Fields(c.yes) {
			if !m.has(yes) {
				t.Errorf("%s: %q, want %s", c.options, m.attr, yes)
			}
		}
		for _, no := range strings.Fields(c.no) {
			if m.has(no) {
				t.Errorf("%s: %q, want no %s", c.options, m.attr, no)
			}
		}
		for _, super := range strings.Fields(c.super) {
			if !m.hasSuper(super) {
				t.Errorf("%s: %q, want %s", c.options, m.super, super)
			}
		}
		if strings.HasSuffix(c.options, "sync") && c.super == "rw" && m.hasSuper("sync") {
			t.Errorf("%s: %q", c.options, m.super)
		}
	}
}

// TestMountEffects tries from inside what an option forbids, next to a mount without it.
func TestMountEffects(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	src := b.makeDir("src")
	b.makeFile("src/file", "text")
	b.must(os.Link(image+"/busybox", src+"/busybox"))
	b.must(os.Symlink("file", src+"/link"))
	for _, option := range []string{"rw", "ro", "noexec", "nosymfollow", "nodev"} {
		b.mount("/"+option, "", src, "bind", option)
	}
	b.mount("/devices", "tmpfs", "tmpfs", "nodev")
	b.spec.Linux.Devices = []specs.LinuxDevice{{Path: "/devices/null", Type: "c", Major: 1, Minor: 3}, {Path: "/rw/null", Type: "c", Major: 1, Minor: 3}}
	b.try(
		"create:/rw/new", "ok", "create:/ro/other", "EROFS", "exec:/rw/busybox", "ok", "exec:/noexec/busybox", "EACCES",
		"read:/rw/link", "ok", "read:/nosymfollow/link", "ELOOP", "read:/nosymfollow/file", "ok",
		"write:/rw/null:x", "ok", "write:/nodev/null:x", "EACCES", "write:/devices/null:x", "EACCES",
	)
}

// TestNosuid: a set-user-ID program is none on such a mount.
func TestNosuid(t *testing.T) {
	t.Parallel()
	for option, want := range map[string]string{"suid": "1000 0", "nosuid": "1000 1000"} {
		b := newBox(t, "/src/suid", "report")
		data, err := os.ReadFile(image + "/inside")
		b.must(err)
		b.makeFile("src/suid", string(data))
		b.must(os.Chmod(b.path("src/suid"), 0o755|os.ModeSetuid))
		b.mount("/src", "", b.path("src"), "bind", option)
		b.spec.Process.User = specs.User{UID: 1000, GID: 1000}
		same(t, facts(b.output()), map[string]string{"uid": want})
	}
}

// TestAtime: what reading does to the time of the last access.
func TestAtime(t *testing.T) {
	t.Parallel()
	for option, changes := range map[string]bool{"noatime": false, "strictatime": true} {
		b := newBox(t, "sh", "-c", "touch -d @1000 /m/f; echo x >>/m/f; touch -a -d @5000000000 /m/f; cat /m/f >/dev/null; stat -c %X /m/f")
		b.mount("/m", "tmpfs", "tmpfs", option)
		if out := strings.TrimSpace(b.output()); (out != "5000000000") != changes {
			t.Errorf("%s: the time of access is %s after a read", option, out)
		}
	}
}

// TestBind: of a file, of a directory, with a relative source, on destinations that are missing, through a link inside of the root.
func TestBind(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	src := b.makeDir("src")
	b.makeFile("src/file", "text")
	b.makeDir("rootfs/real")
	b.must(os.Symlink("/real", b.path("rootfs/link")))
	b.mount("/a/b/dir", "none", src, "bind")
	b.mount("/a/c/file", "bind", src+"/file", "bind", "ro")
	b.mount("/relative", "", "src", "rbind")
	b.mount("link", "", src, "bind") // a relative destination is relative to the root
	b.try("read:/a/b/dir/file", "ok", "read:/a/c/file", "ok", "write:/a/c/file:x", "EROFS", "read:/relative/file", "ok", "read:/real/file", "ok",
		"write:/a/b/dir/file:changed", "ok")
	if got := read(t, src+"/file"); got != "changed" {
		t.Errorf("outside: %q", got)
	}
	b.mount("/x", "", src+"/nonesuch", "bind")
	b.refused("mounts[9]", "source")
}

// TestMountOrder: entries are mounted in their order, later ones over earlier ones.
func TestMountOrder(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sh", "-c", "ls /m /m/sub; cat /m/sub/name")
	for _, name := range []string{"one", "two"} {
		b.makeFile("src-"+name+"/name", name)
		b.mount("/m/sub", "", b.path("src-"+name), "bind")
	}
	if out := b.output(); !strings.HasSuffix(out, "two") {
		t.Errorf("%q", out)
	}
	b.mount("/m", "tmpfs", "tmpfs")
	if out := b.run().out; strings.Contains(out, "two") {
		t.Errorf("what is mounted last does not hide what came before: %q", out)
	}
}

// TestBindFlags: a bind mount keeps the restrictions of its source, and loses what the options clear by name.
func TestBindFlags(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	src := b.hostMount("src", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC|syscall.MS_NOATIME)
	b.mount("/kept", "", src, "bind")
	b.mount("/ro", "", src, "bind", "ro")
	b.mount("/cleared", "", src, "bind", "suid", "dev", "exec", "strictatime")
	mounts := b.mounts()
	for _, flag := range []string{"nosuid", "nodev", "noexec", "noatime"} {
		if !mounts["/kept"].has(flag) || !mounts["/ro"].has(flag) || mounts["/cleared"].has(flag) {
			t.Errorf("%s: kept %q, ro %q, cleared %q", flag, mounts["/kept"].attr, mounts["/ro"].attr, mounts["/cleared"].attr)
		}
	}
	if !mounts["/ro"].has("ro") || mounts["/kept"].has("ro") {
		t.Errorf("ro %q, kept %q", mounts["/ro"].attr, mounts["/kept"].attr)
	}
}

// TestRecursive: bind leaves submounts out, rbind takes them along, and the options with an r in front change them too.
func TestRecursive(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	src := b.makeDir("src")
	b.hostMount("src/sub", 0)
	b.mount("/bind", "", src, "bind")
	b.mount("/rbind", "", src, "rbind", "ro", "nosuid", "nodev", "noexec", "noatime")
	recursive := []string{"rro", "rnosuid", "rnodev", "rnoexec", "rnodiratime", "rnoatime", "rnosymfollow"}
	for _, option := range recursive {
		b.mount("/"+option, "", src, "rbind", option)
	}
	mounts := b.mounts()
	if _, there := mounts["/bind/sub"]; there {
		t.Error("bind took the submount along")
	}
	if m := mounts["/rbind/sub"]; m.fs != "tmpfs" || m.has("ro") || m.has("nosuid") || m.has("nodev") || m.has("noexec") || m.has("noatime") {
		t.Errorf("plain options reach the submount: %+v", m)
	}
	if m := mounts["/rbind"]; !m.has("ro") || !m.has("nosuid") || !m.has("nodev") || !m.has("noexec") || !m.has("noatime") {
		t.Errorf("plain options do not reach the mount: %+v", m)
	}
	for _, option := range recursive {
		for _, path := range []string{"/" + option, "/" + option + "/sub"} {
			if !mounts[path].has(option[1:]) {
				t.Errorf("%s: %q", path, mounts[path].attr)
			}
		}
	}
	b.try("create:/rro/sub/x", "EROFS", "create:/rbind/sub/x", "ok")
}

// TestRemount: an entry with remount changes the mount that an earlier one made.
func TestRemount(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.makeDir("src")
	b.mount("/m", "tmpfs", "tmpfs", "size=1m")
	b.mount("/m", "tmpfs", "tmpfs", "remount", "ro", "noexec", "size=2m")
	b.mount("/b", "", b.path("src"), "bind")
	b.mount("/b", "", b.path("src"), "bind", "remount", "ro", "nodev")
	mounts := b.mounts()
	if m := mounts["/m"]; !m.has("ro") || !m.has("noexec") || !m.hasSuper("size=2048k") {
		t.Errorf("%+v", m)
	}
	if m := mounts["/b"]; !m.has("ro") || !m.has("nodev") {
		t.Errorf("%+v", m)
	}
}

// TestTmpcopyup: the new tmpfs holds what the image has there, also when it is read-only.
func TestTmpcopyup(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sh", "-c", "cat /data/file /data/dir/deep; readlink /data/link; stat -c '%a %u %g' /data/file; touch /data/x || echo read-only")
	b.makeFile("rootfs/data/file", "one\n")
	b.makeFile("rootfs/data/dir/deep", "two\n")
	b.must(os.Symlink("file", b.path("rootfs/data/link")))
	b.must(os.Chown(b.path("rootfs/data/file"), 5, 6))
	b.must(os.Chmod(b.path("rootfs/data/file"), 0o604))
	m := b.mount("/data", "tmpfs", "tmpfs", "tmpcopyup", "size=1m")
	const want = "one\ntwo\nfile\n604 5 6\n"
	if out := b.output(); out != want {
		t.Errorf("%q, want %q", out, want)
	}
	m.Options = append(m.Options, "ro")
	if out := b.output(); out != want+"read-only\n" {
		t.Errorf("ro: %q", out)
	}
	if _, err := os.Stat(b.path("rootfs/data/x")); err == nil {
		t.Error("what was written went to the image")
	}
	b.spec.Mounts[len(b.spec.Mounts)-1] = specs.Mount{Destination: "/data", Type: "bind", Source: b.dir, Options: []string{"bind", "tmpcopyup"}}
	b.refused("mounts[5].options", "tmpcopyup")
}

// TestTmpfsLimits: size= and nr_inodes= are kept, mode= and owners are those of the directory.
func TestTmpfsLimits(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.mount("/m", "tmpfs", "tmpfs", "size=64k", "nr_inodes=3", "mode=1777", "uid=3", "gid=4")
	b.try("fill:/m/a:65536", "ok", "fill:/m/b:4096", "ENOSPC", "create:/m/c", "ENOSPC")
	b.spec.Process.Args = []string{"stat", "-c", "%a %u %g", "/m"}
	if out := b.output(); out != "1777 3 4\n" {
		t.Errorf("%q", out)
	}
}

// TestMountRefused: options that nobody knows go to the file system, which refuses them.
func TestMountRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		m     specs.Mount
		words []string
	}{
		{specs.Mount{Destination: "/m", Type: "tmpfs", Options: []string{"colour=red"}}, []string{"colour"}},
		{specs.Mount{Destination: "/m", Type: "nonesuchfs"}, []string{"nonesuchfs"}},
		{specs.Mount{Destination: "/m"}, []string{"mounts[5].type"}},
		{specs.Mount{Type: "tmpfs"}, []string{"mounts[5].destination"}},
		{specs.Mount{Destination: "/m", Options: []string{"bind"}}, []string{"mounts[5].source"}},
		{specs.Mount{Destination: "/", Type: "tmpfs"}, []string{"mounts[5]"}},
		{specs.Mount{Destination: "/proc/sys", Type: "tmpfs"}, []string{"/proc"}},
		{specs.Mount{Destination: "/m", Type: "tmpfs", Options: []string{"idmap"}}, []string{"mounts[5].options"}},
		{specs.Mount{Destination: "/m", Source: "/", Options: []string{"bind", "idmap"}}, []string{"mounts[5].uidMappings"}},
	} {
		b := newBox(t, "true")
		b.spec.Mounts = append(b.spec.Mounts, c.m)
		b.refused(c.words...)
	}
}
