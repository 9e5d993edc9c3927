package cgroup

import (
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const cg = "/sys/fs/cgroup"

// nested makes a container that sees its own cgroup writable, in user and cgroup namespaces of its own.
func nested(t *testing.T, d driver) *box {
	t.Helper()
	b := newBox(t, d, "sleep")
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 700_000, Size: 65536}}
	b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	b.spec.Linux.UIDMappings, b.spec.Linux.GIDMappings = ids, ids
	b.must(os.Chown(b.dir+"/rootfs", 700_000, 700_000))
	b.must(os.Chmod(b.dir, 0o755))
	b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: cg, Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev"}})
	b.res.Memory = memory(64 * mib)
	b.res.Pids = &specs.LinuxPids{Limit: ptr(int64(100))}
	return b
}

// TestNested: a container to which its cgroup was given makes cgroups in it and limits them, but does not raise its own limits, and leaves
// its place for none of the host's. exec follows its first process, since the kernel lets nobody join the upper cgroup any more.
func TestNested(t *testing.T) {
	if !unified {
		t.Skip("v1 has no safe delegation")
	}
	each(t, func(t *testing.T, d driver) {
		b := nested(t, d)
		b.up()
		dir := lastDir(b.pid, "")
		before := read(t, dir+"/memory.max") + " " + read(t, dir+"/pids.max")
		out := b.exec("try",
			"mkdir:"+cg+"/init", "write:"+cg+"/init/cgroup.procs:1", "write:"+cg+"/init/cgroup.procs:0", "write:"+cg+"/cgroup.subtree_control:+memory +pids",
			"mkdir:"+cg+"/app", "write:"+cg+"/app/memory.max:16777216", "read:"+cg+"/app/memory.max",
			"write:"+cg+"/memory.max:max", "write:"+cg+"/pids.max:max", "write:"+cg+"/cpu.max:max", "write:"+cg+"/cgroup.freeze:0", "mkdir:"+cg+"/../evil",
			"write:"+cg+"/../cgroup.procs:0", "write:/proc/1/root"+cg+"/../cgroup.procs:0").out
		for _, want := range []string{
			"mkdir:" + cg + "/init ok", "init/cgroup.procs:1 ok", "+memory +pids ok", "mkdir:" + cg + "/app ok", "app/memory.max:16777216 ok",
			"read:" + cg + "/app/memory.max 16777216", "/memory.max:max EACCES", "/pids.max:max EACCES",
		} {
			if !strings.Contains(out, want+"\n") {
				t.Errorf("want %q:\n%s", want, out)
			}
		}
		for _, bad := range []string{"/../evil ok", "/../cgroup.procs:0 ok"} {
			if strings.Contains(out, bad) {
				t.Errorf("it left its place: %s", out)
			}
		}
		if after := read(t, dir+"/memory.max") + " " + read(t, dir+"/pids.max"); after != before {
			t.Errorf("its limits were %s and are %s", before, after)
		}
		if out := b.exec("try", "read:/proc/self/cgroup").out; !strings.Contains(out, "0::/init\n") {
			t.Errorf("exec beside the first process: %s", out)
		}
		if r := b.call("exec", "--cgroup", "/app", b.id, "/bin/inside", "try", "read:/proc/self/cgroup"); !strings.Contains(r.out, "0::/app\n") {
			t.Errorf("exec --cgroup: %s%s", r.out, r.err)
		}
		if r := b.call("exec", "--cgroup", "/app", b.id, "/bin/inside", "hold", "40000000"); r.code != 137 {
			t.Errorf("more than the limit that the container set: exit status %d: %s%s", r.code, r.out, r.err)
		}
		for _, path := range []string{"/nonesuch", "../other", "/app/../.."} {
			if r := b.call("exec", "--cgroup", path, b.id, "/bin/inside", "sleep"); r.code == 0 || !strings.Contains(r.err, strings.Trim(path, "/.")) {
				t.Errorf("exec --cgroup %s: %s", path, r.err)
			}
		}
		b.ok("delete", "--force", b.id)
		if exists(dir) {
			t.Error("the cgroup is left")
		}
	})
}

// TestNestedReadOnly: without a user namespace of its own, or where the mount is read-only, the cgroup is not the container's.
func TestNestedReadOnly(t *testing.T) {
	if !unified {
		t.Skip("v2 only")
	}
	b := nested(t, files)
	b.spec.Mounts[len(b.spec.Mounts)-1].Options = []string{"ro", "nosuid", "noexec", "nodev"}
	b.up()
	if out := b.exec("try", "mkdir:"+cg+"/x", "write:"+cg+"/memory.max:max").out; strings.Contains(out, " ok") {
		t.Errorf("a read-only cgroup was written: %s", out)
	}
	c := nested(t, files)
	c.spec.Linux.Namespaces = c.spec.Linux.Namespaces[:len(c.spec.Linux.Namespaces)-1]
	c.spec.Linux.UIDMappings, c.spec.Linux.GIDMappings = nil, nil
	c.must(os.Chown(c.dir+"/rootfs", 0, 0))
	c.up()
	out := c.exec("try", "write:"+cg+"/memory.max:max").out
	if nsdelegate() && !strings.Contains(out, " EPERM") {
		t.Errorf("the real root raised its limit in spite of nsdelegate: %s", out)
	}
}

func nsdelegate() bool {
	data, _ := os.ReadFile("/proc/mounts")
	return strings.Contains(string(data), "nsdelegate")
}
