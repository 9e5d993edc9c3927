package engine

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A crime is a command that is killed at each of its steps, or whose container's monitor is.
type crime struct {
	name    string
	before  []string // commands, first
	args    string
	monitor bool
	stride  int // in a short run: every so many steps
}

var crimes = []crime{
	{"run", nil, "run -d --network none --name ff busybox sleep 1000", false, 9},
	{"run, monitor", nil, "run -d --network none --name ff busybox sleep 1000", true, 29},
	{"run to the end, monitor", nil, "run --network none --name ff -v f-volume:/data busybox true", true, 31},
	{"run --rm", nil, "run --rm --network none --name ff -v /data busybox true", false, 17},
	{"run --rm, monitor", nil, "run --rm --network none --name ff -v /data busybox true", true, 31},
	{"create", nil, "create --network none --name ff -v /data busybox true", false, 11},
	{"start", []string{"create --network none --name ff busybox sleep 1000"}, "start ff", false, 11},
	{"start, monitor", []string{"create --network none --name ff busybox sleep 1000"}, "start ff", true, 31},
	{"rm", []string{"create --network none --name ff -v /data busybox true"}, "rm -v ff", false, 7},
	{"rm -f", []string{"run -d --network none --name ff busybox sleep 1000"}, "rm -f ff", false, 7},
	{"stop", []string{"run -d --network none --name ff busybox sleep 1000"}, "stop -t 0 ff", false, 5},
	{"exec", []string{"run -d --network none --name ff busybox sleep 1000"}, "exec ff sleep 1", false, 7},
	{"rename", []string{"create --network none --name ff busybox true"}, "rename ff gg", false, 3},
	{"update", []string{"create --network none --name ff busybox true"}, "update --memory 64m ff", false, 3},
	{"commit", []string{"run -d --network none --name ff busybox sleep 1000"}, "commit ff made", false, 11},
	{"cp", []string{"create --network none --name ff busybox true"}, "cp /etc/passwd ff:/data/passwd", false, 5},
}

// TestKilledAtEachStep: whatever is killed at whatever step, the commands that come next find containers that are whole or not there, remove them, get the name, and nothing is left.
func TestKilledAtEachStep(t *testing.T) {
	for _, c := range crimes {
		t.Run(c.name, func(t *testing.T) {
			l := newLine(t)
			stride := c.stride
			if os.Getenv("BULKHEAD_TEST_LONG") == "1" {
				stride = 1
			}
			n := 1
			for ; ; n += stride {
				for _, b := range c.before {
					if r := l.do("", strings.Fields(b)...); r.code != 0 {
						t.Fatalf("%s: %+v", b, r)
					}
				}
				m := &murder{cmd: l.command(strings.Fields(c.args)...), monitor: c.monitor, n: n}
				begin := time.Now()
				d, err := m.commit()
				if err != nil {
					t.Fatalf("step %d: %v", n, err)
				}
				if d.hung {
					t.Errorf("step %d, %s: the command did not end in %v", n, d.at, time.Since(begin))
				}
				d.stays = !strings.Contains(c.args, "--rm")
				if ok := l.heal(d); !ok {
					t.Errorf("killed at step %d, %s: %+v", n, d.at, d.result)
				}
				if d.last {
					if d.code != 0 {
						t.Errorf("not killed, %d steps: %+v", d.steps, d.result)
					}
					t.Logf("%d steps", d.steps)
					break
				}
				if t.Failed() && os.Getenv("BULKHEAD_TEST_LONG") != "1" {
					break
				}
			}
			if n == 1 {
				t.Error("it was never killed")
			}
		})
	}
}

// heal does what somebody would who sees that a command was killed, and reports whether it went well.
func (l *line) heal(d deed) bool {
	l.t.Helper()
	good := true
	want := func(code int, args ...string) result {
		r := l.do("", args...)
		if r.code != code || strings.Contains(r.problems, "goroutine ") {
			l.t.Errorf("%v: want status %d: %+v", args, code, r)
			good = false
		}
		return r
	}
	ids := l.traces()
	list := want(0, "ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.State}}").out
	told := strings.TrimSpace(d.out)
	if len(told) == 64 && !strings.Contains(list, told) {
		l.t.Errorf("the user was told of a container that is not there: %s: %q", told, list)
		good = false
	}
	for line := range strings.Lines(list) {
		f := strings.Fields(line)
		if len(f) == 3 && !d.stays { // by now it may have removed itself
			continue
		}
		if len(f) != 3 {
			l.t.Errorf("%q", line)
			return false
		}
		want(0, "inspect", f[0])
		want(0, "logs", f[0])
		if f[2] == "dead" {
			l.t.Errorf("%q", line)
			good = false
		}
		if f[2] == "exited" || f[2] == "created" {
			want(0, "start", f[0])
		}
	}
	want(0, "rm", "-f", "-v", "ff", "gg")
	want(0, "run", "--rm", "--network", "none", "--name", "ff", "busybox", "true")
	want(0, "system", "check")
	for _, volume := range strings.Fields(want(0, "volume", "ls", "-q").out) { // one with a name stays
		want(0, "volume", "rm", volume)
		if volume != "f-volume" {
			l.t.Errorf("left: volume %s", volume)
			good = false
		}
	}
	return l.clean(ids) && good
}

// traces are the ids of all containers of which there is something.
func (l *line) traces() map[string]bool {
	out := map[string]bool{}
	for _, dir := range []string{"root/containers", "run", "run/runtime", "run/secrets"} {
		entries, _ := os.ReadDir(filepath.Join(l.dir, dir))
		for _, e := range entries {
			if len(e.Name()) >= 64 {
				out[strings.TrimPrefix(e.Name(), ".")[:64]] = true
			}
		}
	}
	return out
}

// clean reports whether nothing is left of any container, when monitors that were about to end have done so.
func (l *line) clean(ids map[string]bool) bool {
	l.t.Helper()
	left := l.leftovers(ids)
	for end := time.Now().Add(10 * time.Second); len(left) > 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		left = l.leftovers(ids)
	}
	if len(left) > 0 {
		l.t.Errorf("left: %q", left)
	}
	return len(left) == 0
}

// leftovers are what is there of containers.
func (l *line) leftovers(ids map[string]bool) []string {
	var left []string
	for _, dir := range []string{"root/containers", "root/names", "root/ranges", "run/runtime", "run/secrets", "root/volumes"} {
		entries, _ := os.ReadDir(filepath.Join(l.dir, dir))
		for _, e := range entries {
			if name := e.Name(); name != "lock" && name != ".lock" {
				left = append(left, filepath.Join(dir, name))
			}
		}
	}
	for id := range l.traces() {
		left = append(left, "container "+id)
	}
	for id := range ids {
		for _, pattern := range []string{"/sys/fs/cgroup/bulkhead/*", "/sys/fs/cgroup/*/bulkhead/*"} {
			found, _ := filepath.Glob(pattern + id + "*")
			left = append(left, found...)
		}
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), l.dir) {
		left = append(left, "a mount")
	}
	if out, _ := exec.Command("pgrep", "-f", "bulkhead-monitor "+l.dir).Output(); len(out) > 0 {
		left = append(left, "monitors "+strings.TrimSpace(string(out)))
	}
	return left
}
