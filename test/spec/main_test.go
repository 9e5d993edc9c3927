package spec

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/built"
)

var (
	strict  = os.Getenv("BULKHEAD_TEST_STRICT") == "1"
	prefix  = fmt.Sprintf("spec-%d-", os.Getpid()) // of container ids and of cgroups
	work    string                                 // all files of this run
	image   string                                 // programs of the bundles
	runtime = os.Getenv("RUNTIME")
	mark    string // KEY=VALUE in the environment of each process of this run
)

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Geteuid() != 0 {
		fmt.Println("skipped: needs root")
		if strict {
			os.Exit(1)
		}
		return
	}
	if err := flag.Set("test.parallel", "2"); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	var err error
	if work, err = os.MkdirTemp("", "bulkhead-spec-"); err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(work)
	mark = "SPEC_MARK=" + filepath.Base(work)
	if err := prepare(); err != nil {
		fmt.Println("prepare:", err)
		return 1
	}
	code := m.Run()
	left := leftovers(3 * time.Second)
	for _, l := range left {
		fmt.Println("left behind:", l)
		code = 1
	}
	sweep(left)
	return code
}

// sweep takes away what leftovers found, so that one failure is not the next run's, too. Mounts are gone already.
func sweep(list []string) {
	for _, left := range list {
		if fields := strings.Fields(left); fields[0] == "process" {
			if pid, err := strconv.Atoi(fields[1]); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	for range 100 { // until they have left their cgroups
		groups := leftGroups()
		for _, g := range groups {
			_ = os.Remove(strings.TrimPrefix(g, "cgroup "))
		}
		if len(groups) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// applets are the links to busybox in a bundle's /bin.
var applets = strings.Fields(`cat chmod chown cp date dd echo env false grep head id kill ln ls mkdir mount nc od printf ps pwd readlink
	rm sh sleep stat stty sync tail test touch tr true tty uname umask usleep wc`)

// prepare makes the work directory fit for users of other ids, and the programs of the bundles.
func prepare() error {
	if err := os.Chmod(work, 0o755); err != nil {
		return err
	}
	image = filepath.Join(work, "image")
	if err := os.MkdirAll(image, 0o755); err != nil {
		return err
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("%w (Debian: busybox-static)", err)
	}
	data, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(image, "busybox"), data, 0o755); err != nil {
		return err
	}
	builds := map[string]string{filepath.Join(image, "inside"): "./test/spec/inside"}
	if runtime == "" {
		runtime = filepath.Join(work, "bulkhead-runtime")
		builds[runtime] = "./cmd/bulkhead-runtime"
	}
	for output, pkg := range builds {
		if err := built.Program(output, pkg); err != nil {
			return err
		}
	}
	return nil
}

// leftovers lists what is still there of this run, after giving the kernel time for its own part.
func leftovers(patience time.Duration) (list []string) {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		list = append(leftProcesses(), append(leftMounts(), leftGroups()...)...)
		if len(list) == 0 || time.Now().After(deadline) {
			return list
		}
	}
}

func leftProcesses() (list []string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if dir == "/proc/"+strconv.Itoa(os.Getpid()) {
			continue
		}
		environ, _ := os.ReadFile(dir + "/environ")
		groups, _ := os.ReadFile(dir + "/cgroup")
		if strings.Contains(string(environ), mark) || strings.Contains(string(groups), "/"+prefix) {
			line, _ := os.ReadFile(dir + "/cmdline")
			list = append(list, fmt.Sprintf("process %s %q", filepath.Base(dir), line))
		}
	}
	return list
}

func leftMounts() (list []string) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return []string{err.Error()}
	}
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, work) {
			list = append(list, "mount "+strings.TrimSpace(line))
			_ = syscall.Unmount(strings.Fields(line)[4], syscall.MNT_DETACH)
		}
	}
	return list
}

func leftGroups() (list []string) {
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || !d.IsDir():
			return nil
		case strings.HasPrefix(d.Name(), prefix):
			list = append(list, "cgroup "+path)
			return fs.SkipDir
		case strings.Count(path, "/") > 6:
			return fs.SkipDir
		}
		return nil
	})
	return list
}

// cannot skips a test for a reason, or fails it where everything must be shown.
func cannot(t *testing.T, format string, args ...any) {
	t.Helper()
	if strict {
		t.Fatalf("this machine cannot show it: "+format, args...)
	}
	t.Skipf("this machine cannot show it: "+format, args...)
}
