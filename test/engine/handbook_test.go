package engine

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// A lesson is a command line of a handbook, as it stands there but for the program's name, and how it is seen to act: by a script that runs inside, and in the files of the host's kernel.
type lesson struct {
	flags  string             // DIR stands for a directory of the test, DISK for a disk of the host, _ for a space within a value
	script string             // what the container runs, before it sleeps; "": nothing
	inside string             // a regular expression that all of its output must match
	host   func(*seen) string // what the kernel says from outside
	want   string             // a regular expression for all of that
}

// A seen is a container that is looked at.
type seen struct {
	*line
	id   string
	pid  int
	disk string // of DISK: its numbers
}

// read reads a file of /proc/PID.
func (s *seen) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.pid, name))
	if err != nil {
		s.t.Error(err)
	}
	return string(b)
}

// field returns a function that reads a line of /proc/PID/status.
func field(key string) func(*seen) string {
	return func(s *seen) string {
		for line := range strings.Lines(s.read("status")) {
			if value, ok := strings.CutPrefix(line, key+":\t"); ok {
				return strings.TrimSpace(value)
			}
		}
		return ""
	}
}

// group returns a function that reads a file of the container's cgroup: of a controller of version 1, or of version 2.
func group(controller, v1, v2 string) func(*seen) string {
	return func(s *seen) string {
		for line := range strings.Lines(s.read("cgroup")) {
			f := strings.SplitN(strings.TrimSpace(line), ":", 3)
			file := ""
			switch {
			case slices.Contains(strings.Split(f[1], ","), controller):
				file = filepath.Join("/sys/fs/cgroup", f[1], f[2], v1)
			case f[0] == "0" && unified():
				file = filepath.Join("/sys/fs/cgroup", f[2], v2)
			default:
				continue
			}
			b, err := os.ReadFile(file)
			if err != nil {
				s.t.Error(err)
			}
			return strings.Join(strings.Fields(string(b)), " ")
		}
		s.t.Errorf("no cgroup of %s", controller)
		return ""
	}
}

// unified reports whether the host has version 2 alone.
func unified() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
}

// mounted returns a function that reads what is mounted at a path: options, type and options of the file system.
func mounted(path string) func(*seen) string {
	return func(s *seen) string {
		found := "nothing"
		for line := range strings.Lines(s.read("mountinfo")) {
			if f := strings.Fields(line); len(f) > 6 && f[4] == path {
				found = strings.Join(f[5:], " ")
			}
		}
		return found
	}
}

// shared returns a function that says whether a namespace is the host's.
func shared(kind string) func(*seen) string {
	return func(s *seen) string {
		ours, err := os.Readlink("/proc/self/ns/" + kind)
		theirs, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", s.pid, kind))
		if err != nil || err2 != nil {
			s.t.Error(err, err2)
		}
		return map[bool]string{true: "the host's", false: "its own"}[ours == theirs]
	}
}

// rlimit returns a function that reads a line of /proc/PID/limits.
func rlimit(name string) func(*seen) string {
	return func(s *seen) string {
		for line := range strings.Lines(s.read("limits")) {
			if value, ok := strings.CutPrefix(line, name); ok {
				return strings.Join(strings.Fields(value)[:2], " ")
			}
		}
		return ""
	}
}

func proc(name string) func(*seen) string {
	return func(s *seen) string { return strings.TrimSpace(s.read(name)) }
}

// disk returns a disk of the host and its numbers, "" if there is none.
func disk() (path, numbers string) {
	all, _ := filepath.Glob("/sys/block/*/dev")
	for _, file := range all {
		name := filepath.Base(filepath.Dir(file))
		if strings.HasPrefix(name, "loop") || strings.HasPrefix(name, "ram") || strings.HasPrefix(name, "zram") {
			continue
		}
		if b, err := os.ReadFile(file); err == nil {
			if _, err := os.Stat("/dev/" + name); err == nil {
				return "/dev/" + name, strings.TrimSpace(string(b))
			}
		}
	}
	return "", ""
}

// weights reports whether the disks' scheduler has weights for groups.
func weights() bool {
	if unified() {
		found, _ := filepath.Glob("/sys/fs/cgroup/*/io.weight")
		return len(found) > 0
	}
	_, err := os.Stat("/sys/fs/cgroup/blkio/blkio.bfq.io_serviced")
	return err == nil
}

// TestHandbook runs every lesson.
func TestHandbook(t *testing.T) {
	l := newLine(t)
	t.Cleanup(func() { // of --cgroup-parent, which is the caller's
		groups, _ := filepath.Glob("/sys/fs/cgroup/*/bulkhead-lesson")
		for _, g := range append(groups, "/sys/fs/cgroup/bulkhead-lesson") {
			_ = os.Remove(g)
		}
	})
	for name, text := range map[string]string{
		"profile.json": `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":55}]}`,
		"env":          "# a comment\nFROM_FILE=a b\n", "labels": "tier=front\n", "shared/file": "host's\n",
	} {
		path := filepath.Join(l.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, lessons := range [][]lesson{limitsLessons, privilegesLessons, namespacesLessons, filesLessons, restLessons} {
		for i := range lessons {
			t.Run(lessons[i].flags, func(t *testing.T) { l.learn(t, &lessons[i]) })
		}
	}
}

// learn runs one lesson.
func (l *line) learn(t *testing.T, m *lesson) {
	device, numbers := disk()
	if device == "" && strings.Contains(m.flags, "DISK") {
		t.Skip("this host has no disk")
	}
	if strings.Contains(m.flags, "WEIGHT") && !weights() {
		t.Skip("this host has no scheduler of disks that knows weights")
	}
	if runtime.NumCPU() < 2 && strings.Contains(m.flags, "cpus=1.5") {
		t.Skip("this host has one processor")
	}
	script := m.script + "\necho the end; exec sleep 1000"
	network := []string{"run", "-d", "--network", "none"}
	if strings.Contains(m.flags, "--network") {
		network = network[:2]
	}
	args := append(network, strings.Fields(strings.NewReplacer("DIR", l.dir, "DISK", device, "WEIGHT", "").Replace(m.flags))...)
	for i := range args {
		if strings.HasPrefix(args[i], "--device-cgroup-rule=") {
			args[i] = strings.ReplaceAll(args[i], "_", " ")
		}
	}
	own := &line{t, l.program, l.dir}
	r := own.do("", append(args, "busybox", "sh", "-c", script)...)
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	s := &seen{line: own, id: strings.TrimSpace(r.out), disk: numbers}
	defer func() {
		if r := own.do("", "rm", "-f", s.id); r.code != 0 {
			t.Errorf("%+v", r)
		}
	}()
	out := ""
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && !strings.HasSuffix(out, "the end\n"); time.Sleep(10 * time.Millisecond) {
		out = own.do("", "logs", s.id).out
	}
	if want := regexp.MustCompile(`^(?s:` + m.inside + `)$`); !want.MatchString(strings.TrimSuffix(strings.TrimSuffix(out, "the end\n"), "\n")) {
		t.Errorf("inside: %q, want %s", out, m.inside)
	}
	var state struct{ PID int }
	b, err := os.ReadFile(filepath.Join(l.dir, "root", "containers", s.id, "state.json"))
	if err == nil {
		err = json.Unmarshal(b, &state)
	}
	if err != nil || state.PID == 0 {
		t.Fatalf("state: %s, %v", b, err)
	}
	s.pid = state.PID
	if m.host != nil {
		want := strings.ReplaceAll(m.want, "DISK", numbers)
		if got := m.host(s); !regexp.MustCompile(`^(?:` + want + `)$`).MatchString(got) {
			t.Errorf("on the host: %q, want %s", got, want)
		}
	}
}
