package spec

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestRootPath: relative to the bundle, and absolute.
func TestRootPath(t *testing.T) {
	t.Parallel()
	b := newBox(t, "cat", "/etc/which")
	b.makeFile("rootfs/etc/which", "this one")
	b.spec.Root.Path = b.path("rootfs")
	if out := b.output(); out != "this one" {
		t.Errorf("%q", out)
	}
	b.spec.Root.Path = "nonesuch"
	b.refused("root")
	b.spec.Root.Path = ""
	b.refused("root.path")
	b.spec.Root = nil
	b.refused("root")
}

// TestRootReadonly: root.readonly is about the root alone, and mounts below it keep what they say.
func TestRootReadonly(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.mount("/tmp", "tmpfs", "tmpfs")
	b.try("create:/etc/x", "ok", "create:/tmp/x", "ok")
	b.must(os.Remove(b.path("rootfs/etc/x")))
	b.spec.Root.Readonly = true
	b.try("create:/etc/x", "EROFS", "create:/tmp/x", "ok", "create:/dev/shm/x", "ok")
	if m := b.mounts()["/"]; !m.has("ro") {
		t.Errorf("the root's mount is %+v", m)
	}
}

// TestNames: hostname and domainname, which the host does not get.
func TestNames(t *testing.T) {
	t.Parallel()
	before := read(t, "/proc/sys/kernel/hostname") + read(t, "/proc/sys/kernel/domainname")
	b := newBox(t)
	b.spec.Hostname, b.spec.Domainname = "mrs-dalloway", "example.test"
	same(t, b.report(), map[string]string{"hostname": "mrs-dalloway", "domainname": "example.test"})
	if after := read(t, "/proc/sys/kernel/hostname") + read(t, "/proc/sys/kernel/domainname"); after != before {
		t.Errorf("the host is called %q now", after)
	}
	for _, field := range []string{"hostname", "domainname"} {
		b := newBox(t, "true")
		b.patch = func(c map[string]any) { c[field] = strings.Repeat("x", 65) }
		b.refused(field)
		b.patch = func(c map[string]any) { c[field] = "x" }
		b.without(specs.UTSNamespace)
		b.refused(field)
	}
}

// TestDefaults: what config-linux.md promises in every container: devices, file systems, and links to the standard streams.
func TestDefaults(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sh", "-c", `cd /dev; stat -c '%n %F %t %T %a %u %g' null zero full random urandom tty; for l in ptmx fd stdin stdout stderr; do readlink $l; done`)
	want := `null character special file 1 3 666 0 0
zero character special file 1 5 666 0 0
full character special file 1 7 666 0 0
random character special file 1 8 666 0 0
urandom character special file 1 9 666 0 0
tty character special file 5 0 666 0 0
pts/ptmx
/proc/self/fd
/proc/self/fd/0
/proc/self/fd/1
/proc/self/fd/2
`
	if out := b.output(); out != want {
		t.Errorf("%s\nwant\n%s", out, want)
	}
	b.try("write:/dev/null:x", "ok", "read:/dev/zero", "ok", "write:/dev/full:x", "ENOSPC", "read:/dev/urandom", "ok", "open:/dev/tty", "ENXIO", "open:/dev/ptmx", "ok")
	mounts := b.mounts()
	for path, fs := range map[string]string{"/proc": "proc", "/sys": "sysfs", "/dev/pts": "devpts", "/dev/shm": "tmpfs"} {
		if mounts[path].fs != fs {
			t.Errorf("%s: %+v, want %s", path, mounts[path], fs)
		}
	}
}

// TestDevices: linux.devices of each type, with mode and owner, in and outside of /dev. That a node can be opened is the business of
// linux.resources.devices.
func TestDevices(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sh", "-c", `stat -c '%n %F %t %T %a %u %g' /dev/full2 /dev/sub/kmsg /srv/u /dev/loopy /srv/pipe; test -c /dev/null && echo null`)
	b.spec.Linux.Devices = []specs.LinuxDevice{
		{Path: "/dev/full2", Type: "c", Major: 1, Minor: 7},
		{Path: "/dev/sub/kmsg", Type: "c", Major: 1, Minor: 11, FileMode: ptr(os.FileMode(0o640)), UID: ptr(uint32(11)), GID: ptr(uint32(22))},
		{Path: "/srv/u", Type: "u", Major: 1, Minor: 9, FileMode: ptr(os.FileMode(0o400))},
		{Path: "/dev/loopy", Type: "b", Major: 7, Minor: 200, FileMode: ptr(os.FileMode(0o600)), GID: ptr(uint32(6))},
		{Path: "/srv/pipe", Type: "p", FileMode: ptr(os.FileMode(0o622)), UID: ptr(uint32(5))},
	}
	want := `/dev/full2 character special file 1 7 666 0 0
/dev/sub/kmsg character special file 1 b 640 11 22
/srv/u character special file 1 9 400 0 0
/dev/loopy block special file 7 c8 600 0 6
/srv/pipe fifo 0 0 622 5 0
null
`
	if out := b.output(); out != want {
		t.Errorf("%s\nwant\n%s", out, want)
	}
	if out := b.output(); out != want { // they are there already now
		t.Errorf("the second time: %s\nwant\n%s", out, want)
	}

	b.makeFile("rootfs/srv/file", "no device")
	for field, d := range map[string]specs.LinuxDevice{
		"/srv/file":                 {Path: "/srv/file", Type: "c", Major: 1, Minor: 3},
		"/srv/u":                    {Path: "/srv/u", Type: "c", Major: 1, Minor: 3},
		"linux.devices[0].type":     {Path: "/dev/x", Type: "q", Major: 1, Minor: 3},
		"linux.devices[0].path":     {Path: "dev/x", Type: "c", Major: 1, Minor: 3},
		"linux.devices[0].major":    {Path: "/dev/x", Type: "c", Major: 1 << 13, Minor: 3},
		"linux.devices[0].minor":    {Path: "/dev/x", Type: "c", Major: 1, Minor: -1},
		"linux.devices[0].path: is": {Type: "c", Major: 1, Minor: 3},
	} {
		b.spec.Linux.Devices = []specs.LinuxDevice{d}
		field, _, _ = strings.Cut(field, ": ")
		b.refused(field)
	}
}

// TestAnnotations: they are in the state, and nowhere else.
func TestAnnotations(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sleep", "60")
	b.spec.Annotations = map[string]string{"com.example.key": "value", "empty": "", "quote\"d": "line\nbreak"}
	b.create()
	s := b.state()
	got, _ := json.Marshal(s.Annotations)
	want, _ := json.Marshal(b.spec.Annotations)
	if string(got) != string(want) {
		t.Errorf("%s, want %s", got, want)
	}
	if s.ID != b.id || s.Bundle != b.dir || s.Status != specs.StateCreated || s.Pid <= 0 || s.Version != "1.3.0" {
		t.Errorf("%+v", s)
	}
	c := newBox(t, "true")
	c.spec.Annotations = map[string]string{"": "x"}
	c.refused("annotations")
}

// TestVersion: ociVersion.
func TestVersion(t *testing.T) {
	t.Parallel()
	for _, v := range []string{"1.0.0", "1.0.2-dev", "1.2.1", "1.3.0"} {
		b := newBox(t, "true")
		b.spec.Version = v
		b.output()
	}
	for _, v := range []string{"", "2.0.0", "0.9.0", "one"} {
		b := newBox(t, "true")
		b.spec.Version = v
		b.refused("ociVersion")
	}
}

// TestUnknownProperties: config.md, Extensibility: what is not known is ignored, at any depth.
func TestUnknownProperties(t *testing.T) {
	t.Parallel()
	b := newBox(t, "echo", "ok")
	b.patch = func(c map[string]any) {
		unknown := func(m any) {
			m.(map[string]any)["org.example.unknown"] = map[string]any{"a": []any{1, "b", nil, true, 1.5e300}}
		}
		unknown(c)
		unknown(c["process"])
		unknown(c["process"].(map[string]any)["user"])
		unknown(c["root"])
		unknown(c["linux"])
		unknown(c["linux"].(map[string]any)["resources"])
		unknown(c["mounts"].([]any)[0])
		unknown(c["linux"].(map[string]any)["namespaces"].([]any)[0])
		c["windows"] = map[string]any{"layerFolders": []any{"x"}}
		c["solaris"] = map[string]any{}
		c["freebsd"] = map[string]any{"devices": []any{}}
		c["vm"] = map[string]any{"kernel": map[string]any{"path": "/x"}}
		c["zos"] = map[string]any{}
	}
	if out := b.output(); out != "ok\n" {
		t.Errorf("%q", out)
	}
}
