package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain lets the test binary be the child that makes the calls, as the program is its own.
func TestMain(m *testing.M) {
	if len(os.Args) >= 2 && os.Args[1] == childArg {
		if action := os.Getenv(killVariable); action != "" {
			killKeyctl(action == "thread")
		}
		os.Exit(probeChild(os.Args[2:], os.Stdout))
	}
	os.Exit(m.Run())
}

// killVariable makes the child load a filter that kills whoever calls keyctl: the whole process, or the calling thread.
const killVariable = "BULKHEAD_REPORT_TEST_KILL"

// tree makes a file system for a view: a name that ends in / is a directory, a value that begins with -> a symbolic link.
func tree(t *testing.T, files map[string]string) view {
	t.Helper()
	root := t.TempDir()
	for name, data := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(data, "->"); link {
			err = os.Symlink(target, path)
		} else if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(path, 0o755)
		} else {
			err = os.WriteFile(path, []byte(data), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return view{root}
}

func find(t *testing.T, items []item, name string) item {
	t.Helper()
	for _, i := range items {
		if i.Name == name {
			return i
		}
	}
	t.Fatalf("no item %q in %v", name, items)
	return item{}
}

func TestNamespaces(t *testing.T) {
	v := tree(t, map[string]string{
		"proc/self/ns/user": "->user:[4026531837]",
		"proc/self/ns/pid":  "->pid:[4026532001]",
		"proc/self/ns/mnt":  "->mnt:[4026530001]",
	})
	host, err := parseHost("mnt=mnt:[4026530001]")
	if err != nil {
		t.Fatal(err)
	}
	items := namespaces(v, host)
	for name, want := range map[string]string{"user": open, "pid": holds, "mnt": open, "net": fact} {
		if got := find(t, items, name); got.Verdict != want {
			t.Errorf("%s: %+v, want verdict %q", name, got, want)
		}
	}
	for _, bad := range []string{"mnt", "mnt=x", "other=1"} {
		if _, err := parseHost(bad); err == nil {
			t.Errorf("parseHost(%q) is accepted", bad)
		}
	}
}

func TestConfinement(t *testing.T) {
	const bad = "CapInh:\t0000000000000001\nCapPrm:\t0000000000200000\nCapEff:\t0\nCapBnd:\t0000000000000000\nCapAmb:\t0\nNoNewPrivs:\t0\nSeccomp:\t0\nSeccomp_filters:\t0\n"
	const good = "CapInh:\t0\nCapPrm:\t00000000000004fb\nCapEff:\t0\nCapBnd:\t0\nCapAmb:\t0\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n"
	v := tree(t, map[string]string{"proc/self/status": bad, "proc/self/attr/current": "unconfined\n"})
	if got := find(t, capabilities(v), "permitted"); got.Value != "SYS_ADMIN" || got.Verdict != open {
		t.Errorf("permitted: %+v", got)
	}
	if got := find(t, capabilities(v), "inheritable"); got.Value != "CHOWN" || got.Verdict != open {
		t.Errorf("inheritable: %+v", got)
	}
	for _, name := range []string{"no_new_privs", "seccomp", "label"} {
		if got := find(t, confinement(v), name); got.Verdict != open {
			t.Errorf("%s: %+v, want open", name, got)
		}
	}
	v = tree(t, map[string]string{"proc/self/status": good})
	if got := find(t, capabilities(v), "permitted"); got.Value != "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID NET_BIND_SERVICE" || got.Verdict != holds {
		t.Errorf("permitted: %+v", got)
	}
	for _, name := range []string{"no_new_privs", "seccomp"} {
		if got := find(t, confinement(v), name); got.Verdict != holds {
			t.Errorf("%s: %+v, want ok", name, got)
		}
	}
}

func TestIdentity(t *testing.T) {
	v := tree(t, map[string]string{"proc/self/uid_map": "         0     100000      65536\n", "proc/self/gid_map": "0 0 4294967295\n"})
	if got := find(t, identity(v), "uid_map"); got.Verdict != holds || got.Value != "0 is 100000 outside (65536 ids)" {
		t.Errorf("uid_map: %+v", got)
	}
	if got := find(t, identity(v), "gid_map"); got.Verdict != open {
		t.Errorf("gid_map: %+v", got)
	}
}

func TestMaskedAndReadonly(t *testing.T) {
	v := tree(t, map[string]string{
		"proc/kallsyms": "ffffffff81000000 T _text\n", "proc/timer_list": "", "sys/firmware/dmi": "x", "proc/acpi/": "", "proc/keys": "->/dev/null",
		"proc/sys/kernel/core_pattern": "core\n",
	})
	items := maskedPaths(v)
	for name, want := range map[string]string{
		"/proc/kallsyms": open, "/proc/timer_list": holds, "/sys/firmware": open, "/proc/acpi": holds, "/proc/keys": holds, "/proc/kcore": holds,
	} {
		if got := find(t, items, name); got.Verdict != want {
			t.Errorf("%s: %+v, want %q", name, got, want)
		}
	}
	items = readonlyPaths(v)
	if got := find(t, items, "/proc/sys/kernel/core_pattern"); got.Verdict != open {
		t.Errorf("a core_pattern that can be written: %+v", got)
	}
	if got := find(t, items, "/sys/power/state"); got.Verdict != holds {
		t.Errorf("an absent file: %+v", got)
	}
	if data := v.read("/proc/sys/kernel/core_pattern"); data != "core" {
		t.Errorf("the check has changed the file: %q", data)
	}
}

func TestLimits(t *testing.T) {
	v1 := tree(t, map[string]string{
		"proc/self/cgroup": "5:memory:/c\n4:cpu,cpuacct:/c\n3:pids:/c\n0::/\n",
		"sys/fs/cgroup/memory/c/memory.limit_in_bytes":       "9223372036854771712\n",
		"sys/fs/cgroup/memory/c/memory.memsw.limit_in_bytes": "9223372036854771712\n",
		"sys/fs/cgroup/pids/c/pids.max":                      "64\n",
		"sys/fs/cgroup/cpu/c/cpu.cfs_quota_us":               "50000\n",
		"sys/fs/cgroup/cpu/c/cpu.cfs_period_us":              "100000\n",
	})
	v2 := tree(t, map[string]string{
		"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "67108864\n", "sys/fs/cgroup/pids.max": "max\n", "sys/fs/cgroup/cpu.max": "50000 100000\n",
	})
	for _, c := range []struct {
		v                    view
		name, value, verdict string
	}{
		{v1, "memory", "unlimited", open},
		{v1, "swap", "unlimited", fact},
		{v1, "pids", "64", holds},
		{v1, "cpu", "50000 100000", holds},
		{v2, "memory", "67108864", holds},
		{v2, "pids", "unlimited", open},
		{v2, "cpu", "50000 100000", holds},
		{v2, "swap", "not visible", fact},
	} {
		if got := find(t, cgroupLimits(c.v), c.name); got.Value != c.value || got.Verdict != c.verdict {
			t.Errorf("%s: %+v, want %q %q", c.name, got, c.value, c.verdict)
		}
	}
}

func TestMounts(t *testing.T) {
	v := tree(t, map[string]string{"proc/self/mountinfo": "1 0 8:1 / / rw,relatime - ext4 /dev/sda rw\n" +
		"2 1 0:5 / /sys ro,nosuid - sysfs sysfs rw\n3 1 0:6 / /sys/fs/cgroup rw,nosuid - cgroup2 none rw\n4 1 0:7 / /a\\040b rw shared:1 master:2 - tmpfs none rw\nbroken\n"})
	items := mounts(v)
	for name, want := range map[string]item{
		"/": {"/", "ext4 rw,relatime", fact}, "/sys": {"/sys", "sysfs ro,nosuid", holds},
		"/sys/fs/cgroup": {"/sys/fs/cgroup", "cgroup2 rw,nosuid", open}, "/a b": {"/a b", "tmpfs rw", fact},
	} {
		if got := find(t, items, name); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

// TestKilled shows that a filter that kills its caller does not end the report.
func TestKilled(t *testing.T) {
	for _, c := range []struct{ action, want string }{{"process", "bad system call"}, {"thread", "the calling thread is killed"}} {
		t.Run(c.action, func(t *testing.T) {
			t.Setenv(killVariable, c.action)
			items := runProbes(probes())
			if len(items) != len(probes()) {
				t.Fatalf("%d items of %d probes", len(items), len(probes()))
			}
			if got := find(t, items, "keyctl"); got.Verdict != holds || !strings.Contains(got.Value, c.want) {
				t.Errorf("keyctl: %+v", got)
			}
			for _, name := range []string{"clone3", "foreign entry (x32)"} { // one before, one behind
				if got := find(t, items, name); strings.Contains(got.Value, "killed") {
					t.Errorf("%s: %+v", name, got)
				}
			}
		})
	}
}

func TestOutput(t *testing.T) {
	r := &report{}
	r.add("one", []item{{"a", "b", holds}, {"door\x1b[2J", "c", open}, {"d", "e", fact}})
	r.sum()
	var out bytes.Buffer
	if err := r.text(&out); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("a control character of the container reaches the terminal: %q", out.String())
	}
	if want := "summary: 1 walls stand, 1 doors are open: "; !strings.Contains(out.String(), want) {
		t.Errorf("no %q in %q", want, out.String())
	}
	var stdout, stderr bytes.Buffer
	if code := run([]string{"--json"}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	var back report
	if err := json.Unmarshal(stdout.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Sections) != 11 || back.Summary.Holds+back.Summary.Open == 0 {
		t.Errorf("report of %d sections, summary %+v", len(back.Sections), back.Summary)
	}
	for _, args := range [][]string{{"x"}, {"--host", "x"}, {"--none"}} {
		if code := run(args, &stdout, &stderr); code != 2 {
			t.Errorf("%v: exit %d, want 2", args, code)
		}
	}
}
