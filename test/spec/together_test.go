package spec

import (
	"fmt"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestTogether asks for most fields at once, in each of the ways in which a container is made: born in its namespaces, in a user namespace,
// in namespaces of others, without some; by run, by create and start; and in each of them a process joins.
func TestTogether(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(b *box){
		"plain":  func(*box) {},
		"user":   func(b *box) { b.userNamespace(220000, 70000) },
		"time":   func(b *box) { b.join(specs.TimeNamespace, "") },
		"no pid": func(b *box) { b.without(specs.PIDNamespace) },
		"user and time": func(b *box) {
			b.userNamespace(220000, 70000)
			b.join(specs.TimeNamespace, "")
			b.spec.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1000}}
		},
		"joined": func(b *box) {
			pid := holder(b.t, unix.CLONE_NEWPID|unix.CLONE_NEWNET|unix.CLONE_NEWIPC)
			for kind, file := range map[specs.LinuxNamespaceType]string{specs.PIDNamespace: "pid", specs.NetworkNamespace: "net", specs.IPCNamespace: "ipc"} {
				b.join(kind, fmt.Sprintf("/proc/%d/ns/%s", pid, file))
			}
		},
		"no cgroup namespace": func(b *box) { b.without(specs.CgroupNamespace) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, run := range []bool{true, false} {
				b := newBox(t)
				change(b)
				b.everything()
				want := map[string]string{
					"uid": "1000 1000", "gid": "1001 1001", "groups": "[1002]", "status.Umask": "0027", "status.NoNewPrivs": "1", "status.Seccomp": "2",
					"cwd": "/made/here ok", "hostname": "box", "domainname": "example.test", "machine": "i686", "sched": "3 4 0 0", "ioprio": "2 6",
					"env.KEY": "value", "mempolicy": "2 1",
				}
				if run {
					got := facts(b.output())
					same(t, got, want)
					b.checkEffects(got)
					continue
				}
				b.spec.Process.Args = []string{"sleep", "60"}
				b.up()
				got := facts(b.ok("exec", "--cwd", "/made/here", b.id, "inside", "report").out)
				delete(want, "mempolicy") // is that of the first process
				same(t, got, want)
				out := b.ok("exec", b.id, "sh", "-c", effects).out
				b.checkEffects(facts(out))
				b.ok("delete", "--force", b.id)
				b.nothing()
			}
		})
	}
}

// effects is a script that shows what mounts, paths, devices and sysctls became.
const effects = `echo sysctl $(cat /proc/sys/net/ipv4/ip_default_ttl); echo masked $(cat /srv/masked | wc -c); echo copied $(cat /copied/file)
(echo x >/srv/readonly) 2>/dev/null || echo readonly yes; (echo x >/etc/x) 2>/dev/null || echo root readonly
echo bound $(cat /bound/file); (echo x >/bound/file) 2>/dev/null || echo boundro yes; echo tasks $(cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null)
touch /dev/mqueue/q && echo queue yes; echo device $(stat -c %t:%T /dev/extra); echo null $(stat -c %F /dev/null); echo filter $(inside call 140 0 0)`

// everything sets many fields.
func (b *box) everything() {
	b.t.Helper()
	p, l := b.spec.Process, b.spec.Linux
	p.Args = []string{"sh", "-c", "inside report; " + effects}
	p.User = specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{1002}, Umask: ptr(uint32(0o027))}
	p.Env = append(p.Env, "KEY=value")
	p.Cwd = "/made/here"
	p.NoNewPrivileges = true
	p.OOMScoreAdj = ptr(100)
	p.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 4}
	p.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 6}
	p.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE"}, {Type: "RLIMIT_NOFILE", Soft: 30, Hard: 40}}
	b.spec.Hostname, b.spec.Domainname = "box", "example.test"
	l.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0"}
	l.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32}
	l.Sysctl = map[string]string{"net.ipv4.ip_default_ttl": "99"}
	l.Resources.Pids = &specs.LinuxPids{Limit: ptr(int64(66))}
	l.Seccomp = filter(specs.LinuxSyscall{Names: []string{"getpriority"}, Action: specs.ActErrno})
	l.MaskedPaths = []string{"/srv/masked", "/proc/kcore"}
	l.ReadonlyPaths = []string{"/srv/readonly", "/proc/sys"}
	l.Devices = []specs.LinuxDevice{{Path: "/dev/extra", Type: "c", Major: 1, Minor: 7}}
	if hasUser(b.spec) {
		l.Devices[0].Path = "/dev/full" // in a user namespace only what the host has can be shown
	}
	for _, name := range []string{"rootfs/srv/masked", "rootfs/srv/readonly", "rootfs/copied/file", "src/file"} {
		b.must(os.Chmod(b.makeFile(name, "text"), 0o666))
	}
	b.makeDir("rootfs/made/here")
	b.mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev")
	b.mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro", "nosuid", "noexec", "nodev")
	b.mount("/copied", "tmpfs", "tmpfs", "tmpcopyup", "mode=755")
	b.mount("/bound", "", b.path("src"), "rbind", "ro")
	b.makeDir("rootfs/out")
	b.makeDir("rootfs/bound")
	b.spec.Root.Readonly = true
	for _, name := range hookNames {
		b.hook(name, "true", 5)
	}
}

func hasUser(s *specs.Spec) bool {
	for _, ns := range s.Linux.Namespaces {
		if ns.Type == specs.UserNamespace {
			return true
		}
	}
	return false
}

// checkEffects looks at what the script printed.
func (b *box) checkEffects(got map[string]string) {
	b.t.Helper()
	device := "1:7"
	if hasUser(b.spec) {
		device = ""
	}
	same(b.t, got, map[string]string{
		"sysctl": "99", "masked": "0", "copied": "text", "readonly": "yes", "root": "readonly", "bound": "text", "boundro": "yes", "tasks": "66",
		"queue": "yes", "device": device, "null": "character special file", "filter": "EPERM",
	})
	if b.t.Failed() {
		b.t.Log(strings.TrimSpace(got["tasks"]))
	}
}
