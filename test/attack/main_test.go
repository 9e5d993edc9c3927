package attack

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/bench/dockerbundle"
	"github.com/bulkhead-engine/bulkhead/test/built"
)

// strict turns everything that this machine cannot do into a failure.
var strict = os.Getenv("BULKHEAD_TEST_STRICT") != ""

var (
	work             string   // everything of this run is below it
	careless, target *program // the runtime that must fall, and the one that must not
	idPrefix         = fmt.Sprintf("attack-%d-", os.Getpid())
)

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Println("skipped: attacks need root")
		if strict {
			os.Exit(1)
		}
		return
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	var err error
	if work, err = os.MkdirTemp("", "bulkhead-attack-"); err != nil {
		fmt.Println("create work directory:", err)
		return 1
	}
	defer os.RemoveAll(work)
	if err := os.Chmod(work, 0o755); err != nil { // users of other ids must reach the images
		fmt.Println(err)
		return 1
	}
	if err := prepare(); err != nil {
		fmt.Println(err)
		return 1
	}
	code := m.Run()
	killMarked(careless)
	for _, left := range leftovers(patience) {
		fmt.Println("left behind:", left)
		code = 1
	}
	return code
}

// sweep takes away what found reports.
func sweep() {
	killMarked(target)
	time.Sleep(50 * time.Millisecond) // until they have left their cgroups
	for _, left := range found() {
		kind, rest, _ := strings.Cut(left, " ")
		switch fields := strings.Fields(rest); kind {
		case "cgroup":
			_ = os.Remove(rest) // a directory of cgroupfs; refused while a killed process is still in it
		case "state":
			_ = os.RemoveAll(filepath.Join(target.root, rest))
		case "mount":
			_ = syscall.Unmount(fields[4], syscall.MNT_DETACH) // proc_pid_mountinfo(5): the fifth field
		}
	}
}

// TestStarts is the ground under all others: a container without malice starts, joins, and says what it is told to. Without it,
// a runtime that refuses everything would pass.
func TestStarts(t *testing.T) {
	for _, p := range []*program{careless, target} {
		b := newBundle(t, "/bin/echo", "hello")
		b.spec.Linux.Sysctl = map[string]string{"kernel.shm_rmid_forced": "0"} // its value on the host, for the careless one
		if out, code := p.run(t, b); code != 0 || out != "hello\n" {
			t.Errorf("%s run: exit status %d: %q", p.name, code, out)
		}
		id, _ := p.start(t, newBundle(t, "/bin/sleep", "1000"))
		if out, code := p.call(t, "exec", id, "/bin/echo", "hello"); code != 0 || out != "hello\n" {
			t.Errorf("%s exec: exit status %d: %q", p.name, code, out)
		}
	}
}

func prepare() error {
	image := filepath.Join(work, "image")
	if err := dockerbundle.Rootfs(image); err != nil {
		return err
	}
	careless = &program{name: "careless", path: filepath.Join(work, "careless")}
	target = &program{name: "runtime", path: os.Getenv("RUNTIME")}
	builds := map[string]string{
		careless.path:                    "./test/attack/careless",
		filepath.Join(image, "attacker"): "./test/attack/attacker",
	}
	if target.path == "" {
		target.path = filepath.Join(work, "bulkhead-runtime")
		builds[target.path] = "./cmd/bulkhead-runtime"
	}
	for output, pkg := range builds {
		if err := built.Program(output, pkg); err != nil {
			return err
		}
	}
	for _, p := range []*program{careless, target} {
		p.root = filepath.Join(work, "state-"+p.name)
		p.mark = "ATTACK_MARK=" + filepath.Base(work) + "-" + p.name
	}
	return nil
}

// leftovers lists what the runtime under test did not clean up, after giving the kernel some time to finish its own part. What it
// lists it removes, so that one fault is one failed test.
func leftovers(patience time.Duration) []string {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		list := found()
		if len(list) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			sweep()
			return list
		}
	}
}

func found() []string {
	var list []string
	for _, pid := range marked(target) {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		list = append(list, fmt.Sprintf("process %d %q", pid, line))
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return append(list, err.Error())
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, work) && !strings.Contains(line, work+"/tiny-") { // which a test mounts and unmounts itself
			list = append(list, "mount "+strings.TrimSpace(line))
		}
	}
	list = append(list, cgroups()...)
	if entries, err := os.ReadDir(target.root); err == nil {
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), idPrefix) {
				list = append(list, "state "+e.Name())
			}
		}
	}
	return list
}

// cgroups lists the cgroups of our containers, two levels below each hierarchy's root and below the cgroup of this process.
func cgroups() []string {
	var list []string
	for _, pattern := range []string{"/sys/fs/cgroup/*/*", "/sys/fs/cgroup/*/*/*", "/sys/fs/cgroup/*/*/*/*"} {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			return append(list, err.Error())
		}
		for _, m := range matches {
			if strings.HasPrefix(filepath.Base(m), idPrefix) {
				list = append(list, "cgroup "+m)
			}
		}
	}
	return list
}

// marked lists the processes of a runtime and of its containers: they carry its mark in their environment, or are in one of
// its cgroups. Zombies are gone already.
func marked(p *program) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var list []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		environ, _ := os.ReadFile("/proc/" + e.Name() + "/environ")
		group, _ := os.ReadFile("/proc/" + e.Name() + "/cgroup")
		status, _ := os.ReadFile("/proc/" + e.Name() + "/status")
		if strings.Contains(string(status), "State:\tZ") || strings.Contains(string(status), "State:\tX") {
			continue
		}
		if strings.Contains(string(environ), p.mark) || (p == target && strings.Contains(string(group), "/"+idPrefix)) {
			list = append(list, pid)
		}
	}
	return list
}

func killMarked(p *program) {
	for _, pid := range marked(p) {
		if proc, err := os.FindProcess(pid); err == nil {
			_ = proc.Kill() // it may have ended meanwhile
		}
	}
}
