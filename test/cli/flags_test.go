package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestCLIWrongWords(t *testing.T) {
	e := newEngine(t)
	for _, c := range []struct {
		code int
		args string
		err  string
		hint string
	}{
		{1, "xyzzy-bogus", `"xyzzy-bogus": unknown command`, "see 'bulkhead --help'"},
		{1, "pul x", `"pul": unknown command`, "did you mean 'bulkhead pull'?"},
		{1, "imgaes", `"imgaes": unknown command`, "did you mean 'bulkhead images'?"},
		{1, "image prnue -f", `image: "prnue": unknown command`, "did you mean 'bulkhead image prune'?"},
		{125, "pull --quite x", "pull: unknown flag --quite", "did you mean --quiet?"},
		{125, "image ls -Z", "image ls: unknown flag -Z", "see 'bulkhead image ls --help'"},
		{125, "images --no-truncc", "images: unknown flag --no-truncc", "did you mean --no-trunc?"},
		{125, "pull --platform", "pull: flag needs an argument: --platform", "see 'bulkhead pull --help'"},
		{125, "images --quiet=perhaps", `images: --quiet "perhaps": neither true nor false`, "see 'bulkhead images --help'"},
		{125, "--bogus images", "global flags: unknown flag --bogus", "see 'bulkhead --help'"},
		{125, "-H tcp://localhost:1 images", "--root and --runroot: the engine that --host or --context names has its own", "leave them away"},
		{125, "--context x images", "--root and --runroot: the engine that --host or --context names has its own", ""},
		{125, "--tls images", "--tls: the engine is in this process", "name another: --host tcp://HOST:2376"},
		{125, "--tlscacert x images", "--tls: the engine is in this process", ""},
		{125, "pull --disable-content-trust x", "--disable-content-trust: signatures are not verified yet", "digests are always verified"},
		{125, "push --disable-content-trust=false x", "--disable-content-trust: signatures are not verified yet", ""},
		{125, "load --platform arm64", "--platform: all platforms of an archive are loaded", ""},
		{125, "pull --arch arm64 x", "pull: --arch: a part of a platform", "--platform OS/ARCH"},
		{125, "push --sign-by me x", "push: --sign-by: signatures and encryption", ""},
		{125, "push --compression-format zstd x", "byte for byte as they came", ""},
		{125, "pull --retry 5 x", "a broken transfer is resumed", ""},
		{125, "import --os linux x", "--os: a part of a platform", ""},
		{125, "load --signature-policy x", "signatures and encryption", ""},
		{1, "version x", "version: takes no argument", ""},
		{1, "logout a b", "logout: too many arguments: wants [SERVER]", ""},
	} {
		r := e.fails(c.code, strings.Fields(c.args), c.err, "hint: ", c.hint)
		if r.out != "" {
			t.Errorf("%s: standard output: %s", c.args, r.out)
		}
	}
	for _, args := range [][]string{{}, {"image"}, {"help"}, {"help", "pull"}, {"pull", "--help"}, {"image", "ls", "-h"}, {"--help"}, {"image", "--help"}} {
		if r := e.try(args...); r.code != 0 || !strings.Contains(r.out, "Usage:") || r.err != "" {
			t.Errorf("%v: %+v", args, r)
		}
	}
	if _, err := os.Stat(e.root); err == nil {
		t.Error("words that are wrong have made a directory for images")
	}
}

func TestCLIVersion(t *testing.T) {
	e := newEngine(t)
	want := regexp.MustCompile(`^bulkhead version \S+\n$`)
	for _, args := range [][]string{{"--version"}, {"-v"}} {
		out, err := exec.Command(program, args...).Output()
		if err != nil || !want.Match(out) || !want.MatchString(e.ok(args...)) {
			t.Errorf("%v: %q %v", args, out, err)
		}
	}
	if got := e.ok("version", "--format", "{{.Client.Os}}"); got != "linux\n" {
		t.Errorf("%q", got)
	}
	if got := e.ok("version"); !strings.Contains(got, "Client:\n Version: ") || !strings.Contains(got, "Server: Bulkhead Engine\n") {
		t.Errorf("%q", got)
	}
}

// TestCLIRoots: where the engine keeps things, of root and of a user.
func TestCLIRoots(t *testing.T) {
	e := newEngine(t)
	e.ok("images")
	if _, err := os.Stat(filepath.Join(e.root, "images/oci-layout")); err != nil {
		t.Error(err)
	}
	relative := e.command(t.Context(), "images")
	relative.Args[2] = "here"
	if out, err := relative.CombinedOutput(); err != nil {
		t.Errorf("%v %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(e.home, "here/images")); err != nil {
		t.Error(err)
	}
	after := exec.Command(program, "images", "--root", filepath.Join(e.home, "after"), "--runroot", "/run/x", "--debug")
	if out, err := after.CombinedOutput(); err != nil || !strings.Contains(string(out), "bulkhead: debug: ") {
		t.Errorf("%v %s", err, out)
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	data := filepath.Join(e.home, "data")
	for _, dir := range []string{filepath.Dir(e.home), e.home} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	for _, env := range [][]string{{"XDG_DATA_HOME=" + data}, {"HOME=" + data}, {"HOME=" + data, "XDG_DATA_HOME=relative"}} {
		cmd := exec.Command("setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", program, "images", "-q")
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
		cmd.Dir = "/"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %v %s", env, err, out)
		}
	}
	for _, want := range []string{"bulkhead/images", ".local/share/bulkhead/images"} {
		if _, err := os.Stat(filepath.Join(data, want)); err != nil {
			t.Error(err)
		}
	}
	cmd := exec.Command("setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", program, "images", "-q")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "there is no HOME") || !strings.Contains(string(out), "hint: say --root DIR") {
		t.Errorf("%v %s", err, out)
	}
}

// TestCLIUser: a user who is nobody else has images of his own.
func TestCLIUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	host := registry(t, "")
	root := newEngine(t)
	name := host + "/box:1"
	imported(root, name, 1)
	root.ok("push", "-q", name)
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	user := func(args ...string) result {
		cmd := exec.Command("setpriv", append([]string{"--reuid", "12345", "--regid", "12345", "--clear-groups", program}, args...)...)
		cmd.Env, cmd.Dir = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}, dir
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		code := status(t, cmd.Run())
		return result{out.String(), errs.String(), code}
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"pull -q " + name, 0, name},
		{"images --format {{.Repository}}", 0, host + "/box"},
		{"image fsck", 0, " 0 problems"},
		{"save -o a.tar " + name, 0, ""},
		{"image mount " + name, 1, "hint: only root can mount"},
		{"rmi " + name, 0, "Untagged: "},
		{"load -q -i a.tar", 0, "Loaded image: " + name},
		{"image prune -af", 0, "Total reclaimed space: "},
	} {
		if r := user(strings.Fields(c.args)...); r.code != c.code || !strings.Contains(r.out+r.err, c.want) {
			t.Errorf("%s: %+v", c.args, r)
		}
	}
}

func TestCLICompletion(t *testing.T) {
	e := newEngine(t)
	imported(e, "box", 1)
	imported(e, "quay.io/team/web:2", 2)
	for _, c := range []struct {
		args string
		want []string
	}{
		{"pu", []string{"pull", "push"}},
		{"image pr", []string{"prune"}},
		{"rmi ", []string{"box:latest", "quay.io/team/web:2"}},
		{"inspect q", []string{"quay.io/team/web:2"}},
		{"images --no", []string{"--no-trunc"}},
	} {
		var got []string
		words := strings.Split(c.args, " ")
		for _, line := range lines(e.ok(append([]string{"__complete"}, words...)...)) {
			if word, _, _ := strings.Cut(line, "\t"); !strings.HasPrefix(word, ":") && word != "" {
				got = append(got, word)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.args, got, c.want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script := e.ok("completion", shell)
		if !strings.Contains(script, "__complete") {
			t.Errorf("%s: %.100q", shell, script)
		}
		if path, err := exec.LookPath(shell); err == nil {
			cmd := exec.Command(path, "-n")
			cmd.Stdin = strings.NewReader(script)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s does not read its script: %v %s", shell, err, out)
			}
		}
	}
}

// TestCLIManual: a page for each command, with its flags, and nothing of what is refused.
func TestCLIManual(t *testing.T) {
	e := newEngine(t)
	dir := filepath.Join(e.home, "man1")
	if got := e.ok("__man", dir); got != "" {
		t.Errorf("%q", got)
	}
	for file, want := range map[string]string{"bulkhead.1": ".BR bulkhead\\-run (1)", "bulkhead-run.1": "\\-\\-cap\\-add", "bulkhead-image-ls.1": "\\-\\-no\\-trunc", "bulkhead-container-stop.1": "\\-\\-timeout"} {
		page, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || !strings.Contains(string(page), want) || strings.Contains(string(page), "refused") {
			t.Errorf("%s: %v: %q is not in, or what is refused is in\n%s", file, err, want, page)
		}
	}
	e.fails(1, []string{"__man"}, "wants a directory")
}

// flagsOf are the flags that a help names.
func flagsOf(help string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^ +(?:-(\w), )?--([a-z-]+)`).FindAllStringSubmatch(help, -1) {
		out = append(out, m[2])
		if m[1] != "" {
			out = append(out, m[1])
		}
	}
	return out
}

// TestCLIDockersFlags takes Docker's command at its word: every flag of its image commands is known here, used or refused by name.
func TestCLIDockersFlags(t *testing.T) {
	docker, err := exec.LookPath("docker")
	if err != nil {
		t.Skip("Docker's command is not installed")
	}
	e := newEngine(t)
	commands := []string{"pull", "push", "images", "image ls", "image inspect", "image prune", "history", "tag", "rmi", "image rm", "save", "load", "import", "login", "logout"}
	commands = append(commands,
		"run", "create", "start", "stop", "restart", "kill", "rm", "ps", "exec", "logs", "attach", "inspect", "stats", "update", "cp", "events", "commit", "export",
		"container ls", "container inspect", "container prune", "container run", "info", "version", "system df", "system prune", "volume create", "volume ls", "volume inspect",
		"volume prune", "volume rm")
	for _, command := range commands {
		words := strings.Fields(command)
		out, err := exec.Command(docker, append(words, "--help")...).Output()
		if err != nil {
			t.Fatal(err)
		}
		flags := flagsOf(string(out))
		for _, flag := range flags {
			dashes := "--"
			if len(flag) == 1 {
				dashes = "-"
			}
			// What follows is a flag that nobody has: no command runs, and the first error tells whether this one is known.
			if r := e.try(append(words, dashes+flag+"=\x01", "--xyzzy")...); r.code != 125 || strings.Contains(r.err, "unknown flag "+dashes+flag+"\n") {
				t.Errorf("%s: %s%s: %s", command, dashes, flag, r.err)
			}
		}
		if len(flags) == 0 && command != "tag" && command != "logout" {
			t.Errorf("docker %s: no flag was found in its help", command)
		}
	}
}
