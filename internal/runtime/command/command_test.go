package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/runtime"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
)

// TestTable holds every command to its form: a name of its own, a summary, a help that names each flag.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range commands() {
		if seen[c.name] || c.summary == "" || c.run == nil || c.max >= 0 && c.max < c.min {
			t.Errorf("command %q is not well formed", c.name)
		}
		seen[c.name] = true
		flags := newFlagSet(c.name)
		if c.flags != nil {
			c.flags(flags)
		}
		var help bytes.Buffer
		c.help(&help, flags)
		flags.VisitAll(func(f *flag.Flag) {
			if f.Usage != "" && !strings.Contains(help.String(), "-"+f.Name) {
				t.Errorf("%s: the help does not name %s", c.name, f.Name)
			}
			if long, ok := strings.CutPrefix(f.Usage, aliasOf); ok && flags.Lookup(long) == nil {
				t.Errorf("%s: -%s is another name of nothing", c.name, f.Name)
			}
		})
	}
	// The commands and flags that engines use; one that is lost breaks them.
	for name, list := range map[string]string{
		"create": "bundle b console-socket pidfd-socket pid-file no-pivot no-new-keyring preserve-fds",
		"run":    "bundle b console-socket pidfd-socket pid-file no-pivot no-new-keyring preserve-fds detach d keep no-subreaper",
		"exec": "console-socket pidfd-socket cwd env e tty t user u additional-gids g process p detach d pid-file process-label apparmor no-new-privs cap c " +
			"preserve-fds cgroup ignore-paused",
		"kill": "all a", "delete": "force f", "list": "format f quiet q", "ps": "format f", "events": "interval stats", "spec": "bundle b rootless",
		"update": "resources r blkio-weight cpu-period cpu-quota cpu-burst cpu-share cpu-rt-period cpu-rt-runtime cpuset-cpus cpuset-mems memory " +
			"memory-reservation memory-swap pids-limit l3-cache-schema mem-bw-schema cpu-idle kernel-memory kernel-memory-tcp",
		"state": "", "start": "", "pause": "", "resume": "", "features": "", "explain": "bundle b json",
	} {
		c := find(name)
		if c == nil {
			t.Errorf("no command %s", name)
			continue
		}
		flags := newFlagSet(name)
		if c.flags != nil {
			c.flags(flags)
		}
		for _, f := range strings.Fields(list) {
			if flags.Lookup(f) == nil {
				t.Errorf("%s: no flag %s", name, f)
			}
		}
	}
}

func TestParse(t *testing.T) {
	for _, args := range [][]string{{"-b", "DIR", "ID"}, {"--bundle", "DIR", "ID"}, {"--bundle=DIR", "ID"}, {"-bundle=DIR", "ID"}, {"-b=DIR", "--", "ID"}} {
		o := &runtime.CreateOptions{}
		flags := newFlagSet("create")
		createFlags(flags, o)
		rest, help, err := parse(flags, args)
		if err != nil || help || len(rest) != 1 || rest[0] != "ID" || o.Bundle != "DIR" {
			t.Errorf("%q: %q %v %v, bundle %q", args, rest, help, err, o.Bundle)
		}
		if !isSet(flags, "bundle") || isSet(flags, "pid-file") {
			t.Errorf("%q: set: %v, %v", args, isSet(flags, "bundle"), isSet(flags, "pid-file"))
		}
	}
	for args, want := range map[string]string{
		"--nope": "unknown flag --nope", "--pid-file": "flag --pid-file needs a value", "--preserve-fds=x": "invalid value",
	} {
		flags := newFlagSet("create")
		createFlags(flags, &runtime.CreateOptions{})
		_, _, err := parse(flags, []string{args})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || errdef.Hint(err) == "" {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}

// TestParseMixed puts flags behind and between arguments.
func TestParseMixed(t *testing.T) {
	for line, want := range map[string]string{
		"": "", "A": "A", "A -v 1": "A 1", "-v 1 A": "A 1", "A -b B -v=1": "A B 1 b", "A -- -v 1": "A -v 1", "-- A -b": "A -b", "A -v -1 -b": "A -1 b",
		"A B -b C": "A B C b", "-b -- -b -- -b": "-b -- -b b", "A -v 1 -v 2": "A 2", "A - -b": "A - b",
	} {
		flags := newFlagSet("x")
		value, on := flags.String("v", "", ""), flags.Bool("b", false, "")
		rest, help, err := parseMixed(flags, strings.Fields(line))
		if *value != "" {
			rest = append(rest, *value)
		}
		if *on {
			rest = append(rest, "b")
		}
		if err != nil || help || strings.Join(rest, " ") != want {
			t.Errorf("%q: %q, %v, %v, want %q", line, rest, help, err, want)
		}
	}
	for line, want := range map[string]string{"A -x": "unknown flag --x", "A -v": "flag --v needs a value"} {
		flags := newFlagSet("x")
		flags.String("v", "", "")
		if _, _, err := parseMixed(flags, strings.Fields(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
	if _, help, err := parseMixed(newFlagSet("x"), []string{"A", "--help"}); !help || err != nil {
		t.Errorf("help is not seen: %v", err)
	}
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "-1": -1, "1024": 1024, "1k": 1 << 10, "1K": 1 << 10, "1kb": 1 << 10, "1KiB": 1 << 10, "64m": 64 << 20, "2g": 2 << 30, "1T": 1 << 40, "1p": 1 << 50,
		"10b": 10, "1.5g": 3 << 29, "0.5k": 512, "9223372036854775807": 1<<63 - 1, "32 M": 32 << 20,
	} {
		if got, err := parseBytes(text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "m", "-2", "1x", "1mm", "1 2", "1e3", "0x10", "9223372036854775808", "9000000000g", "1.2.3", "99999999p", ".", "1iB", "NaN", "Inf"} {
		if got, err := parseBytes(text); err == nil {
			t.Errorf("%q is taken as %d", text, got)
		}
	}
}

func TestUpdateFlags(t *testing.T) {
	resources := func(args ...string) (*specs.LinuxResources, error) {
		u := &updateFlags{values: map[string]*string{}}
		flags := newFlagSet("update")
		flags.StringVar(&u.file, "resources", "", "")
		for _, l := range limits {
			u.values[l.name] = flags.String(l.name, "", l.usage)
		}
		if _, _, err := parse(flags, args); err != nil {
			t.Fatal(err)
		}
		return u.resources(strings.NewReader(`{"pids":{"limit":5},"memory":{"limit":-1}}`))
	}
	r, err := resources("--memory", "1m", "--memory-swap", "-1", "--cpu-share=7", "--cpu-idle=1", "--cpuset-cpus", "0-1", "--pids-limit", "0", "--blkio-weight", "500")
	if err != nil {
		t.Fatal(err)
	}
	if *r.Memory.Limit != 1<<20 || *r.Memory.Swap != -1 || *r.CPU.Shares != 7 || *r.CPU.Idle != 1 || r.CPU.Cpus != "0-1" || *r.Pids.Limit != 0 || *r.BlockIO.Weight != 500 {
		t.Errorf("got %+v", r)
	}
	if r.CPU.Quota != nil || r.CPU.Period != nil || r.Memory.Reservation != nil {
		t.Errorf("what was not given is set: %+v, %+v", r.CPU, r.Memory)
	}
	if r, err = resources(); err != nil || r.Pids != nil || r.BlockIO != nil || !reflect.DeepEqual(*r.CPU, specs.LinuxCPU{}) {
		t.Errorf("nothing: %+v, %v", r, err)
	}
	if r, err = resources("--resources", "-"); err != nil || *r.Pids.Limit != 5 || *r.Memory.Swap != -1 {
		t.Errorf("standard input: %+v, %v", r, err)
	}
	for _, args := range [][]string{{"--cpu-share", "-1"}, {"--cpu-quota", "x"}, {"--blkio-weight", "70000"}, {"--memory", "x"}, {"--resources", "/nonesuch"}} {
		if r, err := resources(args...); err == nil {
			t.Errorf("%q: %+v", args, r)
		}
	}
}

func TestExecProcess(t *testing.T) {
	own := func() *specs.Process {
		return &specs.Process{
			Args: []string{"init"}, Cwd: "/own", Env: []string{"A=1"}, NoNewPrivileges: true, User: specs.User{UID: 1, GID: 2, AdditionalGids: []uint32{3}},
			Capabilities: &specs.LinuxCapabilities{Bounding: []string{"CAP_KILL"}},
		}
	}
	run := func(args ...string) (*specs.Process, error) {
		e := &execFlags{}
		flags := newFlagSet("exec")
		e.register(flags)
		rest, _, err := parse(flags, args)
		if err != nil {
			t.Fatal(err)
		}
		e.setNoNewPriv = isSet(flags, "no-new-privs")
		return e.process(own(), rest[1:])
	}
	p, err := run("ID", "sh", "-c", "x")
	want := own()
	want.Args = []string{"sh", "-c", "x"}
	if err != nil || !reflect.DeepEqual(p, want) {
		t.Errorf("got %+v, %v", p, err)
	}
	p, err = run("--cwd", "/x", "-e", "B=2", "--env", "C=3,4", "-t", "-u", "7:8", "-g", "9", "--additional-gids", "10,11", "--process-label", "l", "--apparmor", "a",
		"--no-new-privs=false", "-c", "CAP_CHOWN", "ID", "true")
	if err != nil {
		t.Fatal(err)
	}
	want = &specs.Process{
		Args: []string{"true"}, Cwd: "/x", Env: []string{"A=1", "B=2", "C=3,4"}, Terminal: true, User: specs.User{UID: 7, GID: 8, AdditionalGids: []uint32{3, 9, 10, 11}},
		SelinuxLabel: "l", ApparmorProfile: "a", Capabilities: &specs.LinuxCapabilities{
			Bounding: []string{"CAP_KILL", "CAP_CHOWN"}, Effective: []string{"CAP_CHOWN"}, Permitted: []string{"CAP_CHOWN"},
		},
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got  %+v %+v\nwant %+v %+v", p, p.Capabilities, want, want.Capabilities)
	}
	for _, args := range [][]string{{"ID"}, {"-u", "root", "ID", "x"}, {"-u", "1:wheel", "ID", "x"}, {"-u", "-1", "ID", "x"}, {"-g", "x", "ID", "x"}, {"-u", "4294967296", "ID", "x"}} {
		if p, err := run(args...); err == nil {
			t.Errorf("%q: %+v", args, p)
		}
	}
}

func TestFilterPS(t *testing.T) {
	const text = "UID        PID  PPID CMD\nroot         1     0 init\nroot        17     1 sh 42\nroot        42     1 sleep \x1b[2J\n"
	got, err := filterPS(text, []int{42, 99})
	if want := "UID        PID  PPID CMD\nroot        42     1 sleep ?[2J\n"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if _, err := filterPS("USER CMD\n", nil); err == nil {
		t.Error("no column PID, and no error")
	}
}

func TestTableAligns(t *testing.T) {
	got := string(table([][]string{{"ID", "NAME"}, {"a-long-identifier", "x"}, {"ünï", "y"}}))
	if want := "ID                  NAME\na-long-identifier   x\nünï                 y\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := &logger{json: true}
	if err := l.open(path); err != nil {
		t.Fatal(err)
	}
	l.fail(errdef.WithHint(errors.New("step \"x\": \x1b[31mbad\nline"), "do y"))
	l.warn(errors.New("odd"))
	l.close()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(lines) != 2 {
		t.Fatalf("%q", data)
	}
	var m struct{ Level, Msg, Time string }
	if err := json.Unmarshal([]byte(lines[0]), &m); err != nil {
		t.Fatal(err)
	}
	if m.Level != "error" || m.Msg != "step \"x\": \x1b[31mbad\nline (hint: do y)" {
		t.Errorf("got %+v", m)
	}
	if when, err := time.Parse(time.RFC3339, m.Time); err != nil || time.Since(when) > time.Minute {
		t.Errorf("time %q, %v", m.Time, err)
	}
	if text := string((&logger{}).format("error", "a \"b\"\n")); !strings.HasPrefix(text, `time="20`) || !strings.HasSuffix(text, ` level=error msg="a \"b\"\n"`+"\n") {
		t.Errorf("text form %q", text)
	}
	if got := printable("a\x1b[2J\u009bb\tc\nd\n"); got != "a?[2J?b\tc\nd" {
		t.Errorf("printable gives %q", got)
	}
}

func TestGlobal(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	g := &global{root: "/x"}
	if root, err := g.stateRoot(); root != "/x" || err != nil {
		t.Errorf("%q, %v", root, err)
	}
	if os.Geteuid() == 0 && !inUserNamespace() {
		if root, err := (&global{}).stateRoot(); root != systemRoot || err != nil {
			t.Errorf("root's: %q, %v", root, err)
		}
	}
	for text, want := range map[string]bool{"true": true, "false": false, "1": true} {
		if got, err := (&global{rootless: text}).isRootless(); got != want || err != nil {
			t.Errorf("rootless %s: %v, %v", text, got, err)
		}
	}
	if _, err := (&global{rootless: "maybe"}).isRootless(); err == nil {
		t.Error("rootless maybe")
	}
	if text := versionText(); !strings.HasPrefix(text, "bulkhead-runtime version "+Version+"\n") || !strings.Contains(text, "\nspec: "+specs.Version+"\n") {
		t.Errorf("version: %q", text)
	}
}

// TestFeatures reads the document with the standard library and the specification's own type.
func TestFeatures(t *testing.T) {
	var out bytes.Buffer
	c := featuresCommand()
	if _, err := c.run(t.Context(), &invocation{out: &out}); err != nil {
		t.Fatal(err)
	}
	var f features.Features
	dec := json.NewDecoder(&out)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		t.Fatal(err)
	}
	if f.OCIVersionMax != specs.Version || len(f.MountOptions) < 30 || len(f.Linux.Capabilities) < 38 || f.Linux.Seccomp == nil || len(f.Hooks) != 6 {
		t.Errorf("got %+v", f)
	}
}

// TestHotPath keeps what costs start-up time out of the program.
func TestHotPath(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "github.com/bulkhead-engine/bulkhead/cmd/bulkhead-runtime").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 50 {
		t.Fatalf("only %d dependencies", len(deps))
	}
	for _, dep := range deps {
		switch dep {
		case "encoding/json", "regexp", "net", "net/http", "os/user", "log", "log/slog", "text/template", "text/tabwriter", "crypto/sha256":
			t.Errorf("links %s", dep)
		}
	}
}
