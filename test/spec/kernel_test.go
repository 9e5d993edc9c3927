package spec

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestSysctl: those of a namespace of the container are set there and not on the host, however the name is written.
func TestSysctl(t *testing.T) {
	t.Parallel()
	values := map[string]string{
		"net.ipv4.ip_forward": "1", "net/ipv4/ip_default_ttl": "77", "net.ipv4.ping_group_range": "0 4", "kernel.shm_rmid_forced": "1",
		"kernel.msgmax": "9000", "kernel.sem": "300 32000 100 100", "fs.mqueue.msg_max": "21", "kernel.domainname": "by.sysctl",
		"net.ipv4.conf.lo.rp_filter": "2",
	}
	b := newBox(t)
	b.spec.Linux.Sysctl = values
	b.spec.Linux.ReadonlyPaths = []string{"/proc/sys"} // is no obstacle
	args, want, before := []string{"cat"}, "", map[string]string{}
	for name, value := range values {
		path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
		args = append(args, path)
		want += value + "\n"
		before[path] = read(t, path)
	}
	b.spec.Process.Args = args
	if out := squeeze(b.output()); out != want {
		t.Errorf("%q, want %q", out, want)
	}
	for path, value := range before {
		if got := read(t, path); got != value {
			t.Errorf("%s of the host was %q and is %q", path, value, got)
		}
	}
}

// TestSysctlRefused: what no namespace of the container holds would change the host.
func TestSysctlRefused(t *testing.T) {
	t.Parallel()
	for name, without := range map[string]specs.LinuxNamespaceType{
		"kernel.panic": "", "vm.overcommit_memory": "", "fs.file-max": "", "kernel.hostname": "", "kernel.core_pattern": "", "debug.exception-trace": "",
		"net.ipv4.ip_forward": specs.NetworkNamespace, "kernel.msgmax": specs.IPCNamespace, "fs.mqueue.msg_max": specs.IPCNamespace,
		"kernel.domainname": specs.UTSNamespace, "net.ipv4.no_such_thing": "", "net/../kernel/panic": "", "kernel": "",
	} {
		b := newBox(t, "true")
		b.spec.Linux.Sysctl = map[string]string{name: "1"}
		if without != "" {
			b.without(without)
		}
		b.refused("linux.sysctl", name)
	}
	b := newBox(t, "true")
	b.spec.Linux.Sysctl = map[string]string{"kernel.msgmax": "many"}
	b.refused("linux.sysctl", "kernel.msgmax")
}

// inNamespace runs a program in the network namespace of a process.
func inNamespace(t *testing.T, pid int, args ...string) string {
	t.Helper()
	out, err := exec.Command("nsenter", append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", pid)}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v: %s", args, err, out)
	}
	return string(out)
}

// deviceBox is a bundle whose runtime is called in a network namespace of its own, with the veth devices "here0" and "peer0" in it.
func deviceBox(t *testing.T, devices map[string]specs.LinuxNetDevice) (*box, int) {
	t.Helper()
	pid := holder(t, unix.CLONE_NEWNET)
	inNamespace(t, pid, "ip", "link", "add", "here0", "mtu", "1300", "type", "veth", "peer", "name", "peer0")
	inNamespace(t, pid, "ip", "link", "set", "peer0", "up")
	inNamespace(t, pid, "ip", "link", "set", "here0", "address", "02:00:00:00:00:07", "txqueuelen", "77")
	for _, address := range []string{"192.0.2.7/24", "2001:db8::7/64"} {
		inNamespace(t, pid, "ip", "addr", "add", address, "dev", "here0", "nodad")
	}
	inNamespace(t, pid, "ip", "link", "set", "here0", "up")
	inNamespace(t, pid, "ip", "addr", "add", "192.0.2.99/24", "dev", "here0", "valid_lft", "60", "preferred_lft", "60") // not permanent
	b := newBox(t, "sleep", "60")
	b.enter = []string{"nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", pid)}
	b.spec.Linux.NetDevices = devices
	return b, pid
}

// TestNetDevices: moved, renamed or not or by a template, up, with address, MTU and what is permanent of its addresses.
func TestNetDevices(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"": "here0", "inside7": "inside7", "box%d": "box0"} {
		b, host := deviceBox(t, map[string]specs.LinuxNetDevice{"here0": {Name: name}})
		pid := b.create()
		out := inNamespace(t, pid, "ip", "addr", "show", "dev", want)
		for _, word := range []string{",UP", "mtu 1300", "02:00:00:00:00:07", "192.0.2.7/24", "2001:db8::7/64", "qlen 77"} {
			if !strings.Contains(out, word) {
				t.Errorf("%s: no %q in %s", want, word, out)
			}
		}
		if strings.Contains(out, "192.0.2.99") {
			t.Errorf("%s: an address that was not permanent came along: %s", want, out)
		}
		if links := inNamespace(t, host, "ip", "link"); strings.Contains(links, "here0:") || !strings.Contains(links, "peer0") {
			t.Errorf("left: %s", links)
		}
	}
}

// TestNetDeviceErrors: a device that is not there, a name that is taken or wrong. What cannot be moved stays where it is, as it is.
func TestNetDeviceErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		device, name string
		words        []string
	}{
		{"none0", "", []string{"none0"}},
		{"here0", "lo", []string{"lo"}},
		{"here0", "a name", []string{"linux.netDevices"}},
		{"here0", "much-too-long-name", []string{"linux.netDevices"}},
		{"lo", "other", []string{"lo"}},
	} {
		b, host := deviceBox(t, map[string]specs.LinuxNetDevice{c.device: {Name: c.name}})
		b.refused(c.words...)
		if out := inNamespace(t, host, "ip", "addr", "show", "dev", "here0"); !strings.Contains(out, "192.0.2.7/24") || !strings.Contains(out, ",UP") {
			t.Errorf("%s to %q: the device was left as %s", c.device, c.name, out)
		}
	}
	b, _ := deviceBox(t, map[string]specs.LinuxNetDevice{"here0": {}})
	b.without(specs.NetworkNamespace)
	b.refused("linux.netDevices")
}

// TestIntelRdt: without a mounted resctrl file system it is an error.
func TestIntelRdt(t *testing.T) {
	t.Parallel()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	b := newBox(t, "true")
	if strings.Contains(string(mounts), " - resctrl ") {
		b.spec.Linux.IntelRdt = &specs.LinuxIntelRdt{ClosID: "spec-nonesuch"}
		b.refused("linux.intelRdt.closID")
		return
	}
	for _, rdt := range []specs.LinuxIntelRdt{{}, {ClosID: "/"}, {L3CacheSchema: "L3:0=f"}, {EnableMonitoring: true}} {
		b.spec.Linux.IntelRdt = &rdt
		b.refused("linux.intelRdt", "resctrl")
	}
	b.spec.Linux.IntelRdt = &specs.LinuxIntelRdt{ClosID: "../x"}
	b.refused("linux.intelRdt")
}
