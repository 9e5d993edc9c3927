package filter

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/seccomp"
	moby "github.com/moby/profiles/seccomp"
)

func parse(t *testing.T, text string) *Profile {
	t.Helper()
	p, err := Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func level(t *testing.T, name string) *Profile {
	t.Helper()
	p, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// docker is the profile that Docker's engine has built in.
func docker(t *testing.T) *Profile {
	t.Helper()
	data, err := json.Marshal(moby.DefaultProfile())
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(data))
}

func says(list []Finding, s Severity, text string) bool {
	return slices.ContainsFunc(list, func(f Finding) bool { return f.Severity == s && strings.Contains(f.Where+": "+f.What, text) })
}

// TestLint: each fault is found.
func TestLint(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the calls are x86_64's")
	}
	const start = `"execve","exit_group","mmap","openat","read","fstat","mprotect","arch_prctl"`
	for text, want := range map[string]struct {
		severity Severity
		says     string
	}{
		`{"defaultAction":"SCMP_ACT_ERRNO"}`: {Error, "execve: not allowed"},
		`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["execve","exit_group","mmap","openat","read","fstat","mprotect"],"action":"SCMP_ACT_ALLOW"}]}`: {Error, "arch_prctl"},
		`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["open","openat"],"action":"SCMP_ACT_KILL"}]}`:                                                  {Error, "openat, open: not allowed"},
		`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":[` + start + `],"action":"SCMP_ACT_ALLOW"}]}`:                                                   {Warning, "futex"},
		`{"defaultAction":"SCMP_ACT_ALLOW"}`: {Warning, "defaultAction: SCMP_ACT_ALLOW: what is not named"},
		`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mout"],"action":"SCMP_ACT_ERRNO"}]}`:                                                                                              {Warning, "no architecture has mout"},
		`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["getpid"],"action":"SCMP_ACT_ALLOW"}]}`:                                                                                            {Note, "says what the default action says"},
		`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["swi_nothing","ipc"],"action":"SCMP_ACT_ERRNO"}]}`:                                                                                 {Warning, "swi_nothing"},
		`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["ipc"],"action":"SCMP_ACT_ERRNO"}]}`:                                                                                               {Note, "only calls of other architectures"},
		`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["kill"],"action":"SCMP_ACT_TRACE"}]}`:                                                                                              {Note, "needs somebody who answers"},
		`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["bpf"],"action":"SCMP_ACT_ALLOW"}]}`:                                                                                               {Warning, "bpf: allowed: programs inside the kernel"},
		`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["clone3"],"action":"SCMP_ACT_ALLOW"}]}`:                                                                                            {Warning, "clone3: its flags"},
		`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["clone"],"action":"SCMP_ACT_ALLOW"}]}`:                                                                                             {Warning, "clone: user namespaces"},
		`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["socket"],"action":"SCMP_ACT_ALLOW"}]}`:                                                                                            {Warning, "AF_ALG"},
		`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["ioctl"],"action":"SCMP_ACT_ALLOW"}]}`:                                                                                             {Warning, "TIOCSTI"},
		`{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}`:                                                            {Note, "calls of SCMP_ARCH_X86 are judged"},
		`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["kill"],"action":"SCMP_ACT_ALLOW"},{"names":["kill"],"action":"SCMP_ACT_LOG","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}]}`: {Warning, "never counts, since a rule without conditions decides first: kill (by syscalls[0])"},
	} {
		if list := Lint(parse(t, text)); !says(list, want.severity, want.says) {
			t.Errorf("%s: nothing says %q: %+v", text, want.says, list)
		}
	}
}

// TestLintLevels: the levels have no error, and the default no warning.
func TestLintLevels(t *testing.T) {
	for _, name := range []string{"compat", "hardened", "untrusted"} {
		for _, f := range Lint(level(t, name)) {
			if f.Severity == Error || f.Severity == Warning && name != "compat" {
				t.Errorf("%s: %+v", name, f)
			}
		}
	}
}

// TestDocker: the profile of Docker starts programs, and is wider than the default where it is known to be.
func TestDocker(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the calls are x86_64's")
	}
	d := docker(t)
	if list := Lint(d); says(list, Error, "") || !says(list, Warning, "TIOCSTI") || !says(list, Warning, "ptrace") {
		t.Errorf("%+v", list)
	}
	list := Diff(level(t, "hardened"), d)
	for _, want := range []Difference{
		{"ptrace", "", "EPERM", "allow"}, {"chroot", "", "EPERM", "EPERM"}, {"calls of SCMP_ARCH_X86", "", "kill thread", "judged by the rules"}, {"ioctl", "arg1=0x5412", "EPERM", "allow"},
	} {
		found := slices.ContainsFunc(list, func(x Difference) bool {
			return x.Call == want.Call && x.A == want.A && x.B == want.B && strings.Contains(x.When, want.When)
		})
		if found == (want.A == want.B) {
			t.Errorf("%+v: %v", want, found)
		}
	}
	if list := Diff(d, d); len(list) > 0 {
		t.Errorf("with itself: %+v", list)
	}
}

// TestDiff: differences by arguments alone are found, and the same decisions spelled otherwise are none.
func TestDiff(t *testing.T) {
	const eq = `{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":16,"op":"SCMP_CMP_EQ"}]}]}`
	const pair = `{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":16,"op":"SCMP_CMP_EQ"},{"index":2,"value":0,"op":"SCMP_CMP_EQ"}]}]}`
	const spelled = `{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":18446744073709551615,"valueTwo":16,"op":"SCMP_CMP_MASKED_EQ"}]}]}`
	list := Diff(parse(t, eq), parse(t, pair))
	if len(list) != 1 || list[0].Call != "socket" || !strings.Contains(list[0].When, "arg0=0x10") || !strings.Contains(list[0].When, "arg2=0x") || list[0].A != "allow" || list[0].B != "EPERM" {
		t.Errorf("%+v", list)
	}
	if list := Diff(parse(t, eq), parse(t, spelled)); len(list) > 0 {
		t.Errorf("%+v", list)
	}
	all := `{"defaultAction":"SCMP_ACT_ALLOW"}`
	list = Diff(parse(t, all), parse(t, strings.Replace(all, "}", `,"syscalls":[{"names":["acct"],"action":"SCMP_ACT_KILL_PROCESS"}]}`, 1)))
	if len(list) != 1 || list[0] != (Difference{Call: "acct", A: "allow", B: "kill process"}) {
		t.Errorf("%+v", list)
	}
}

// TestCompile: the listing has every instruction, and the bytes are those of the kernel.
func TestCompile(t *testing.T) {
	p := Compile(level(t, "hardened"))
	if p.Instructions == 0 || len(p.Bytes) != 8*p.Instructions || strings.Count(p.Listing, "\n") != p.Instructions {
		t.Errorf("%d instructions, %d bytes", p.Instructions, len(p.Bytes))
	}
}

// TestLoad: bad profiles are refused by name.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, []byte(strings.Repeat(" ", maxProfile+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, kind := range map[string]errdef.Kind{large: errdef.Invalid, filepath.Join(dir, "absent"): errdef.NotFound, dir: errdef.Unavailable} {
		if _, err := Load(name); !errdef.Is(err, kind) || !strings.Contains(err.Error(), filepath.Base(name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{"", "x", "{}", `{"defaultAction":"NO"}`, `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":[],"action":"SCMP_ACT_ALLOW"}]}`} {
		if _, err := Parse("test", []byte(text)); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestNeeds: names in the tables exist.
func TestNeeds(t *testing.T) {
	for _, n := range needs {
		for _, name := range n.any {
			if !seccomp.Known(name) {
				t.Error(name)
			}
		}
	}
	for _, name := range wants {
		if !seccomp.Known(name) {
			t.Error(name)
		}
	}
}

// TestBounded: a profile that is made to be slow is read in seconds.
func TestBounded(t *testing.T) {
	var rules []string
	names := `"` + strings.Join(seccomp.Names(), `","`) + `"`
	for i := range 60 { // as many as a filter has room for
		rules = append(rules, fmt.Sprintf(`{"names":[%s],"action":"SCMP_ACT_ALLOW","args":[{"index":%d,"value":%d,"op":"SCMP_CMP_EQ"},{"index":%d,"value":%d,"op":"SCMP_CMP_EQ"}]}`, names, i%6, i*7, (i+1)%6, i*5))
	}
	var wide *Profile
	for n := len(rules); wide == nil; n-- {
		p, err := Parse("wide", []byte(`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[`+strings.Join(rules[:n], ",")+`]}`))
		if err == nil {
			wide = p
		}
	}
	begin := time.Now()
	Lint(wide)
	if list := Diff(wide, level(t, "hardened")); len(list) == 0 {
		t.Error("no difference")
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it took %v", took)
	} else {
		t.Logf("%d instructions, %v", Compile(wide).Instructions, took)
	}
}
