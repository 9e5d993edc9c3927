package conformance

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// expectation is one line of expectations.txt: a point of a program that fails, with which
// runtimes, and under which condition of the machine.
type expectation struct {
	program, point string
	runtimes       []string // names, or "all"
	condition      string   // key of conditions, or "always"
	reason         string
	used           bool
}

// parseExpectations reads lines of five fields separated by " | ": program, point (a pattern of
// path.Match; [ and \ stand for themselves), runtimes separated by commas, condition, reason.
func parseExpectations(r io.Reader) ([]*expectation, error) {
	var list []*expectation
	scan := bufio.NewScanner(r)
	for n := 1; scan.Scan(); n++ {
		line := strings.TrimSpace(scan.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, " | ")
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		if len(f) != 5 || slices.Contains(f, "") {
			return nil, fmt.Errorf("line %d: want five fields", n)
		}
		if _, ok := conditions[f[3]]; !ok {
			return nil, fmt.Errorf("line %d: unknown condition %q", n, f[3])
		}
		list = append(list, &expectation{program: f[0], point: f[1], runtimes: strings.Split(f[2], ","), condition: f[3], reason: f[4]})
	}
	return list, scan.Err()
}

// applies says whether the line speaks of this run.
func (e *expectation) applies(program, runtime string) bool {
	ok, err := path.Match(e.program, program)
	return err == nil && ok && (slices.Contains(e.runtimes, "all") || slices.Contains(e.runtimes, runtime)) &&
		conditions[e.condition]()
}

func (e *expectation) matches(point string) bool {
	ok, err := path.Match(strings.NewReplacer(`\`, `\\`, "[", `\[`, "/", "\x00").Replace(e.point), strings.ReplaceAll(point, "/", "\x00"))
	return err == nil && ok
}

// judge compares the failed points of a program with the list: surprises fail without a line,
// stale lines speak of a point that did not fail.
func judge(list []*expectation, program, runtime string, failed []string) (surprises []string, stale []*expectation) {
	var mine []*expectation
	for _, e := range list {
		if e.applies(program, runtime) {
			e.used = false
			mine = append(mine, e)
		}
	}
	for _, point := range failed {
		known := false
		for _, e := range mine {
			if e.matches(point) {
				e.used, known = true, true
			}
		}
		if !known {
			surprises = append(surprises, point)
		}
	}
	for _, e := range mine {
		if !e.used && e.condition != races {
			stale = append(stale, e)
		}
	}
	return surprises, stale
}

// races is the condition of a point that may pass as well: the program does not wait for what it judges.
const races = "races"

// conditions are what a machine may lack.
var conditions = map[string]func() bool{
	races:                  func() bool { return true },
	"always":               func() bool { return true },
	"no-hugetlb-v1":        func() bool { return !hasController("hugetlb") },
	"no-net-v1":            func() bool { return !hasController("net_cls") || !hasController("net_prio") },
	"no-blkio-leaf-weight": func() bool { return !hasGroupFile("blkio.leaf_weight") },
	"no-kmem-limit":        func() bool { return !hasGroupFile("memory.kmem.limit_in_bytes") },
	"no-apparmor":          func() bool { return !exists("/sys/kernel/security/apparmor") },
	"no-selinux":           func() bool { return !exists("/sys/fs/selinux/enforce") },
	"no-cap-sys-resource":  func() bool { return !hasCapability(24) }, // CAP_SYS_RESOURCE, capability(7)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// hasController says whether a v1 hierarchy with that controller is mounted.
func hasController(name string) bool {
	mounts, err := cgroupMounts()
	return err == nil && slices.ContainsFunc(mounts, func(m groupMount) bool {
		return slices.Contains(strings.Split(m.data, ","), name)
	})
}

// hasGroupFile says whether a v1 hierarchy has the file in its root.
func hasGroupFile(name string) bool {
	mounts, err := cgroupMounts()
	return err == nil && slices.ContainsFunc(mounts, func(m groupMount) bool { return exists(path.Join(m.point, name)) })
}

// hasCapability reads bit n of this process's effective set.
func hasCapability(n uint) bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	var set uint64
	_, tail, _ := strings.Cut(string(status), "\nCapEff:")
	if _, err := fmt.Sscanf(tail, "%x", &set); err != nil {
		return false
	}
	return set>>n&1 == 1
}

func loadExpectations(t *testing.T) []*expectation {
	t.Helper()
	f, err := os.Open("expectations.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := parseExpectations(f)
	if err != nil {
		t.Fatalf("expectations.txt: %v", err)
	}
	return list
}

func TestJudge(t *testing.T) {
	list, err := parseExpectations(strings.NewReader(`
# comment
a | one [x] is *  | all       | always | reason
a | two           | runc      | always | reason
b | (exit)        | runc,crun | always | reason
d | one           | all       | races  | reason
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		program, runtime string
		failed           []string
		surprises, stale int
	}{
		{"a", "runc", []string{"one [x] is right/wrong", "two"}, 0, 0},
		{"a", "runc", []string{"one [x] is right"}, 0, 1},
		{"a", "bulkhead-runtime", []string{"one [x] is right", "two"}, 1, 0},
		{"b", "crun", nil, 0, 1},
		{"b", "bulkhead-runtime", nil, 0, 0},
		{"c", "runc", []string{"(exit)"}, 1, 0},
		{"d", "runc", []string{"one"}, 0, 0},
		{"d", "runc", nil, 0, 0},
	} {
		surprises, stale := judge(list, c.program, c.runtime, c.failed)
		if len(surprises) != c.surprises || len(stale) != c.stale {
			t.Errorf("%s with %s, failed %v: surprises %v, %d stale; want %d and %d",
				c.program, c.runtime, c.failed, surprises, len(stale), c.surprises, c.stale)
		}
	}
	for _, bad := range []string{"a | b | c", "a | b | all | never | r", "a |  | all | always | r"} {
		if _, err := parseExpectations(strings.NewReader(bad)); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}
