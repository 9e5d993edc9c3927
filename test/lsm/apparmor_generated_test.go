package lsm

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const (
	appArmorAnnotation = "io.bulkhead.apparmor"
	profilesFile       = "/sys/kernel/security/apparmor/profiles"
	claimsDir          = "/run/bulkhead/apparmor"
)

func needAppArmor(t *testing.T) {
	t.Helper()
	enabled, _ := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	forBoot(t, "apparmor", strings.HasPrefix(string(enabled), "Y"))
}

// profile is what confines the first process of a container.
func (b *box) profile() string {
	b.t.Helper()
	label, err := os.ReadFile(fmt.Sprintf("/proc/%d/attr/current", b.pid()))
	if err != nil {
		b.t.Fatal(err)
	}
	name, _, _ := strings.Cut(strings.TrimRight(string(label), "\x00\n"), " (")
	return name
}

// pid is the first process's, as the host sees it.
func (b *box) pid() int {
	b.t.Helper()
	var state struct{ Pid int }
	if r := b.command("state", b.id); json.Unmarshal([]byte(r.out), &state) != nil || state.Pid == 0 {
		b.t.Fatalf("state: %s", r.out)
	}
	return state.Pid
}

// nothingLeft checks that the kernel and the claims know nothing of a profile any more.
func nothingLeft(t *testing.T, name string) {
	t.Helper()
	b, err := os.ReadFile(profilesFile)
	if err != nil || strings.Contains(string(b), name+" ") {
		t.Errorf("profile %s is still loaded, or %v", name, err)
	}
	if _, err := os.Lstat(filepath.Join(claimsDir, name)); !os.IsNotExist(err) {
		t.Errorf("claim %s: %v", name, err)
	}
}

// both runs a command in a container with and in one without a generated profile: only without it may it succeed.
func both(t *testing.T, annotation string, change func(*box), script string) {
	t.Helper()
	for _, on := range []bool{false, true} {
		b := newBox(t)
		change(b)
		if on {
			b.spec.Annotations[appArmorAnnotation] = annotation
		}
		r := b.sh(script)
		if on == (r.code == 0) {
			t.Errorf("%s, profile %v: %d: %s", script, on, r.code, r.out)
		}
	}
}

// TestAppArmorGenerated: a profile of the container's own spec holds root with all capabilities, in init and in exec, and goes with the container.
func TestAppArmorGenerated(t *testing.T) {
	needAppArmor(t)
	both(t, "generated", func(*box) {}, "mount -t tmpfs none /tmp")
	both(t, "generated", func(*box) {}, "umount /dev/shm")
	frozen := func(b *box) { b.spec.Linux.ReadonlyPaths = []string{"/data"} }
	both(t, "generated,mount", frozen, "umount /data; touch /data/file")
	both(t, "generated,mount", func(b *box) { b.spec.Root.Readonly = true }, "mount -o remount,rw / && touch /new")
	masked := func(b *box) { b.spec.Linux.MaskedPaths = []string{"/proc/kcore", "/data"} }
	both(t, "generated,mount", masked, "umount /data; ls /data/")
	noexec := func(b *box) {
		b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: "/data", Type: "tmpfs", Source: "t", Options: []string{"noexec"}})
	}
	both(t, "generated,mount", noexec, "cp /bin/busybox /data/true && mount -o remount,exec /data && /data/true")

	b := newBox(t)
	b.spec.Root.Readonly = true
	b.spec.Annotations[appArmorAnnotation] = "generated"
	b.start("sleep", "1000")
	name := b.profile()
	if !strings.HasPrefix(name, "bulkhead-") {
		t.Fatalf("init has profile %q", name)
	}
	if r := b.exec("cat", "/proc/self/attr/current"); !strings.HasPrefix(r.out, name+" (enforce)") {
		t.Errorf("exec has %q", r.out)
	}
	for _, command := range []string{"touch /dev/shm/a", "echo x >/dev/null", "ln -s a /dev/shm/b", "cat /proc/self/status", "mkdir /dev/d && mv /dev/d /dev/e"} {
		if r := b.exec("sh", "-c", command); r.code != 0 {
			t.Errorf("%s: %d: %s", command, r.code, r.out)
		}
	}
	if r := b.command("delete", "--force", b.id); r.code != 0 {
		t.Error(r.out)
	}
	nothingLeft(t, name)
}

// TestAppArmorDetached: a procfs that is mounted nowhere is no way around the profile for who has CAP_SYS_ADMIN, and what programs do without names works.
func TestAppArmorDetached(t *testing.T) {
	needAppArmor(t)
	for _, file := range []string{"sys/kernel/domainname", "sysrq-trigger"} {
		both(t, "generated", func(*box) {}, "inside detached "+file)
	}
	for _, admin := range []bool{false, true} {
		b := newBox(t)
		b.spec.Annotations[appArmorAnnotation] = "generated"
		if !admin {
			b.spec.Process.Capabilities = &specs.LinuxCapabilities{}
		}
		if r := b.sh("inside memfd /bin/busybox"); r.out != "executed\n" {
			t.Errorf("CAP_SYS_ADMIN %v: %d: %s", admin, r.code, r.out)
		}
	}
}

// TestAppArmorOddPaths: a volume whose path an image has chosen opens that path, and none that differs in a byte.
func TestAppArmorOddPaths(t *testing.T) {
	needAppArmor(t)
	for _, c := range []string{`"`, `\`, "\n", "\t", "\x7f", "?", "*"} {
		b := newBox(t)
		b.spec.Root.Readonly = true
		b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: "/data/q" + c + "x", Type: "tmpfs", Source: "t"})
		b.spec.Annotations[appArmorAnnotation] = "generated,mount"
		script := "touch '/data/q" + c + "x/file' && mount -o remount,rw / && ! mkdir /data/qZx && echo held"
		if r := b.sh(script); !strings.HasSuffix(r.out, "held\n") {
			t.Errorf("%q: %d: %s", c, r.code, r.out)
		}
	}
}

// TestAppArmorSurvivors: a process that outlives its container, as in the host's pid namespace and without a cgroup, stays confined.
func TestAppArmorSurvivors(t *testing.T) {
	needAppArmor(t)
	b := newBox(t)
	b.without(specs.PIDNamespace)
	b.spec.Annotations[appArmorAnnotation] = "generated"
	b.spec.Process.Args = []string{"sh", "-c", "sleep 1000 </dev/null >/dev/null 2>&1 & echo $!"}
	b.write()
	r := b.command("--cgroup-manager", "disabled", "run", "--bundle", b.dir, b.id)
	pid, err := strconv.Atoi(strings.TrimSpace(r.out))
	if err != nil {
		t.Fatalf("%v: %s", err, r.out)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
	label, err := os.ReadFile(fmt.Sprintf("/proc/%d/attr/current", pid))
	if err != nil || !strings.HasPrefix(string(label), "bulkhead-") {
		t.Errorf("the process that is left is %q, %v", label, err)
	}
	next := newBox(t)
	next.spec = b.spec
	next.spec.Process.Args = []string{"cat", "/proc/self/attr/current"}
	next.write()
	if r := next.command("run", "--bundle", next.dir, next.id); r.code != 0 || r.out == string(label) {
		t.Errorf("the next container has its name: %s", r.out)
	}
}

// TestAppArmorPeers: with the host's processes in sight, root reaches those of its own container and no others.
func TestAppArmorPeers(t *testing.T) {
	needAppArmor(t)
	victim := exec.Command("sleep", "1000")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = victim.Process.Kill(); _ = victim.Wait() }()
	neighbour := newBox(t)
	neighbour.without(specs.PIDNamespace)
	neighbour.spec.Annotations[appArmorAnnotation] = "generated"
	neighbour.start("sleep", "1000")
	for _, on := range []bool{false, true} {
		b := newBox(t)
		b.without(specs.PIDNamespace)
		if on {
			b.spec.Annotations[appArmorAnnotation] = "generated"
		}
		b.start("sleep", "1000")
		for what, pid := range map[string]int{"host": victim.Process.Pid, "neighbour": neighbour.pid(), "own": b.pid()} {
			for _, deed := range []string{"signal", "trace"} {
				r := b.exec("inside", deed, fmt.Sprint(pid))
				if want := !on || what == "own"; want != (r.code == 0) {
					t.Errorf("%s %s, profile %v: %d: %s", deed, what, on, r.code, r.out)
				}
			}
		}
		if on && b.profile() == neighbour.profile() {
			t.Errorf("two containers share profile %s", b.profile())
		}
	}
}

// TestAppArmorOutput: files that the container was handed open are written, whatever the profile says of paths.
func TestAppArmorOutput(t *testing.T) {
	needAppArmor(t)
	b := newBox(t)
	b.spec.Root.Readonly = true
	b.spec.Annotations[appArmorAnnotation] = "generated"
	b.spec.Process.Args = []string{"sh", "-c", "echo from init; exec sleep 1000"}
	b.write()
	output := func(file string, args ...string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), file)
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd := exec.Command(runtime, append([]string{"--root", filepath.Join(work, "state")}, args...)...)
		cmd.Stdout, cmd.Stderr = f, f
		if err := cmd.Run(); err != nil {
			t.Errorf("%v: %v", args, err)
		}
		for range 100 {
			if b, _ := os.ReadFile(path); len(b) > 0 {
				return string(b)
			}
			time.Sleep(50 * time.Millisecond)
		}
		return ""
	}
	if out := output("init", "run", "--detach", "--bundle", b.dir, b.id); out != "from init\n" {
		t.Errorf("init wrote %q", out)
	}
	if out := output("exec", "exec", b.id, "echo", "from exec"); out != "from exec\n" {
		t.Errorf("exec wrote %q", out)
	}
}

// TestAppArmorNames: names are used again, and only when their container is gone.
func TestAppArmorNames(t *testing.T) {
	needAppArmor(t)
	var boxes []*box
	seen := map[string]bool{}
	for range 3 {
		b := newBox(t)
		b.spec.Process.Capabilities.Bounding = b.spec.Process.Capabilities.Bounding[:5] // a policy of this test's own
		b.spec.Process.Capabilities.Effective, b.spec.Process.Capabilities.Permitted = nil, nil
		b.spec.Annotations[appArmorAnnotation] = "generated"
		b.start("sleep", "1000")
		seen[b.profile()] = true
		boxes = append(boxes, b)
	}
	if len(seen) != 3 {
		t.Fatalf("three containers have %v", seen)
	}
	// Another create under the name of a running container takes nothing from it.
	if r := boxes[1].command("create", "--bundle", boxes[1].dir, boxes[1].id); r.code == 0 {
		t.Error("the same container twice")
	}
	if r := boxes[1].exec("true"); r.code != 0 {
		t.Errorf("exec: %s", r.out)
	}
	old := boxes[1].profile()
	if r := boxes[1].command("delete", "--force", boxes[1].id); r.code != 0 {
		t.Fatal(r.out)
	}
	nothingLeft(t, old)
	b := newBox(t)
	b.spec = boxes[1].spec
	b.start("sleep", "1000")
	if b.profile() != old {
		t.Errorf("the free name %s is not taken, but %s", old, b.profile())
	}
}

// TestAppArmorKilled: a create that is killed at any moment leaves nothing that delete does not remove, and no name is lost.
func TestAppArmorKilled(t *testing.T) {
	needAppArmor(t)
	names := map[string]bool{}
	for i := range 12 {
		b := newBox(t)
		b.spec.Process.Capabilities.Bounding = b.spec.Process.Capabilities.Bounding[:6]
		b.spec.Process.Capabilities.Effective, b.spec.Process.Capabilities.Permitted = nil, nil
		b.spec.Annotations[appArmorAnnotation] = "generated"
		b.spec.Process.Args = []string{"sleep", "1000"}
		b.write()
		cmd := exec.Command(runtime, "--root", filepath.Join(work, "state"), "create", "--bundle", b.dir, b.id)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 15 * time.Millisecond)
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
		list, _ := os.ReadDir(claimsDir)
		for _, e := range list {
			if data, _ := os.ReadFile(filepath.Join(claimsDir, e.Name())); strings.Contains(string(data), b.id+"\n") {
				names[e.Name()] = true
			}
		}
		if r := b.command("delete", "--force", b.id); r.code != 0 {
			t.Errorf("delete after %d ms: %s", i*15, r.out)
		}
	}
	b := newBox(t)
	b.spec.Process.Capabilities.Bounding = b.spec.Process.Capabilities.Bounding[:6]
	b.spec.Process.Capabilities.Effective, b.spec.Process.Capabilities.Permitted = nil, nil
	b.spec.Annotations[appArmorAnnotation] = "generated"
	b.start("sleep", "1000")
	name := b.profile()
	if !strings.HasSuffix(name, "-0") {
		t.Errorf("after creates that were killed (%v) the first name is not free: %s", names, name)
	}
	b.command("delete", "--force", b.id)
	for n := range names {
		b, err := os.ReadFile(profilesFile)
		if err != nil || strings.Contains(string(b), n+" ") {
			t.Errorf("profile %s is left, or %v", n, err)
		}
	}
}

// TestAppArmorWithoutParser: what was compiled once is loaded without apparmor_parser; what was not is refused by name, unless the request says best-effort.
func TestAppArmorWithoutParser(t *testing.T) {
	needAppArmor(t)
	hidden := func(b *box) result {
		b.t.Helper()
		b.spec.Process.Args = []string{"cat", "/proc/self/attr/current"}
		b.write()
		hide := ""
		for _, p := range []string{"/usr/sbin/apparmor_parser", "/sbin/apparmor_parser"} {
			hide += "test ! -e " + p + " || mount --bind /dev/null " + p + "; "
		}
		cmd := exec.Command("unshare", "--mount", "sh", "-c", hide+`exec "$@"`, "-", runtime, "--root", filepath.Join(work, "state"), "run", "--bundle", b.dir, b.id)
		out, _ := cmd.CombinedOutput()
		return result{string(out), cmd.ProcessState.ExitCode()}
	}
	special := func(value string, caps int) *box {
		b := newBox(t)
		b.spec.Process.Capabilities.Bounding = b.spec.Process.Capabilities.Bounding[:caps]
		b.spec.Process.Capabilities.Effective, b.spec.Process.Capabilities.Permitted = nil, nil
		b.spec.Annotations[appArmorAnnotation] = value
		return b
	}
	if r := hidden(special("generated", 7)); r.code == 0 || !strings.Contains(r.out, "apparmor_parser is not installed") || !strings.Contains(r.out, "hint") {
		t.Errorf("without parser and cache: %d: %s", r.code, r.out)
	}
	if r := hidden(special("generated,best-effort", 7)); r.code != 0 || !strings.Contains(r.out, "unconfined") || !strings.Contains(r.out, "apparmor_parser") {
		t.Errorf("best-effort without parser and cache: %d: %s", r.code, r.out)
	}
	if r := special("generated", 7).sh("true"); r.code != 0 {
		t.Fatalf("with the parser: %s", r.out)
	}
	if r := hidden(special("generated", 7)); r.code != 0 || !strings.Contains(r.out, "bulkhead-") {
		t.Errorf("without parser, with the cache: %d: %s", r.code, r.out)
	}
}

// TestAppArmorStacked: a runtime that is confined itself, and a process that may gain no rights: the profile comes on top.
func TestAppArmorStacked(t *testing.T) {
	needAppArmor(t)
	own := loadProfile(t, "capability, network, file, signal, ptrace, unix, mount, umount, pivot_root, userns, mqueue, io_uring, change_profile,")
	for _, noNewPrivs := range []bool{false, true} {
		b := newBox(t)
		b.spec.Annotations[appArmorAnnotation] = "generated"
		b.spec.Process.NoNewPrivileges = noNewPrivs
		b.spec.Process.Args = []string{"sh", "-c", "cat /proc/self/attr/current; mount -t tmpfs none /tmp"}
		b.write()
		cmd := exec.Command("aa-exec", "-p", own, "--", runtime, "--root", filepath.Join(work, "state"), "run", "--bundle", b.dir, b.id)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() == 0 || !strings.Contains(string(out), "bulkhead-") || noNewPrivs != strings.Contains(string(out), own) {
			t.Errorf("no_new_privs %v: %d: %s", noNewPrivs, cmd.ProcessState.ExitCode(), out)
		}
	}
}

// TestAppArmorDefault: the profile that Docker's images are used to, which is loaded if it is not there, and stays.
func TestAppArmorDefault(t *testing.T) {
	needAppArmor(t)
	if b, _ := os.ReadFile(profilesFile); !strings.Contains(string(b), "docker-default") {
		defer func() { _ = os.WriteFile("/sys/kernel/security/apparmor/.remove", []byte("docker-default"), 0) }()
	}
	both(t, "default", func(*box) {}, "mount -t tmpfs none /tmp")
	both(t, "default", func(*box) {}, "echo x >/proc/sys/kernel/domainname")
	b := newBox(t)
	b.spec.Annotations[appArmorAnnotation] = "default"
	b.start("sleep", "1000")
	if name := b.profile(); name != "docker-default" {
		t.Errorf("profile %q", name)
	}
	if r := b.exec("sh", "-c", "touch /new && kill -0 1 && cat /proc/self/status >/data/x"); r.code != 0 {
		t.Errorf("%d: %s", r.code, r.out)
	}
}

// TestAppArmorRefused: what cannot be is one sentence with a way out, and nothing is started.
func TestAppArmorRefused(t *testing.T) {
	needAppArmor(t)
	b := newBox(t)
	b.spec.Annotations[appArmorAnnotation] = "generated"
	b.spec.Process.ApparmorProfile = "unconfined"
	if r := b.sh("echo started"); r.code == 0 || strings.Contains(r.out, "started") || !strings.Contains(r.out, "hint") {
		t.Errorf("two profiles: %d: %s", r.code, r.out)
	}
	b = newBox(t)
	b.spec.Annotations[appArmorAnnotation] = "generated"
	b.spec.Process.Args = []string{"echo", "started"}
	b.write()
	cmd := exec.Command("unshare", "--user", "--map-root-user", "--mount", runtime, "--root", filepath.Join(t.TempDir(), "state"), "run", "--bundle", b.dir, b.id)
	out, err := cmd.CombinedOutput()
	if err == nil || strings.Contains(string(out), "started") || !strings.Contains(string(out), "CAP_MAC_ADMIN") {
		t.Errorf("a user: %v: %s", err, out)
	}
}
