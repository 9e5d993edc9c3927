package cgroup

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/built"
)

var (
	strict  = os.Getenv("BULKHEAD_TEST_STRICT") == "1"
	lab     = os.Getenv("BULKHEAD_TEST_VM") == "1"
	prefix  = fmt.Sprintf("cgtest%d-", os.Getpid()) // of container ids and of cgroups
	work    string                                  // all files of this run
	runtime string                                  // the program under test
	inside  string                                  // this program, as a bundle's root has it
)

// unified and systemd say what machine this is.
var (
	unified = exists("/sys/fs/cgroup/cgroup.controllers")
	systemd = exists("/run/systemd/system")
)

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "inside" {
		load(os.Args[1:])
		return
	}
	flag.Parse()
	if os.Geteuid() != 0 {
		fmt.Println("skipped: needs root")
		if strict {
			os.Exit(1)
		}
		return
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	var err error
	if work, err = os.MkdirTemp("", "bulkhead-cgroup-"); err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(work)
	if err := prepare(); err != nil {
		fmt.Println("prepare:", err)
		return 1
	}
	code := m.Run()
	for _, l := range leftovers(5 * time.Second) {
		fmt.Println("left behind:", l)
		code = 1
	}
	return code
}

// prepare finds or builds the programs.
func prepare() error {
	if err := os.Chmod(work, 0o755); err != nil {
		return err
	}
	inside = filepath.Join(work, "inside")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	if err := os.WriteFile(inside, self, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"bulkhead-runtime", "bulkhead-systemd"} { // the helper is looked for beside the runtime
		if err := built.Program(filepath.Join(work, name), "./cmd/"+name); err != nil {
			return err
		}
	}
	runtime = filepath.Join(work, "bulkhead-runtime")
	return nil
}

// leftovers lists what is still there of this run, after giving the kernel, and systemd, time for their part.
func leftovers(patience time.Duration) (list []string) {
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		list = append(leftProcesses(), leftGroups()...)
		if len(list) == 0 || time.Now().After(deadline) {
			return list
		}
	}
}

func leftProcesses() (list []string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		groups, _ := os.ReadFile(dir + "/cgroup")
		exe, _ := os.Readlink(dir + "/exe")
		if strings.Contains(string(groups), prefix) || strings.HasPrefix(exe, work) && dir != "/proc/"+strconv.Itoa(os.Getpid()) {
			line, _ := os.ReadFile(dir + "/cmdline")
			list = append(list, fmt.Sprintf("process %s %q", filepath.Base(dir), line))
		}
	}
	return list
}

// leftGroups lists the cgroups that bear this run's prefix in their names.
func leftGroups() (list []string) {
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(d.Name(), prefix) {
			list = append(list, "cgroup "+path)
		}
		return nil
	})
	return list
}

// cannot skips, or fails on a machine that must be able to.
func cannot(t *testing.T, format string, args ...any) {
	t.Helper()
	if lab {
		t.Fatalf("the lab's machine: "+format, args...)
	}
	t.Skipf(format, args...)
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// lastDir is the cgroup of a process in the hierarchy of a controller, as a directory.
func lastDir(pid int, controller string) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return ""
	}
	v2 := ""
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		f := strings.SplitN(line, ":", 3)
		if len(f) != 3 {
			continue
		}
		if f[1] == "" {
			v2 = f[2]
			continue
		}
		for _, c := range strings.Split(f[1], ",") {
			if c == controller {
				return "/sys/fs/cgroup/" + f[1] + f[2]
			}
		}
	}
	if unified {
		return "/sys/fs/cgroup" + v2
	}
	return "/sys/fs/cgroup/unified" + v2
}

// running is alive, and no zombie either.
func running(pid int) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, rest, _ := strings.Cut(string(data), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z")
}
