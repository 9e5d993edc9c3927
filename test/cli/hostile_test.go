package cli

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// evil is what a terminal must not get: colours, the clipboard, a title, C1 controls, a line that is turned around, and bytes that are no UTF-8.
const evil = "x\x1b[31mred\x1b]52;c;ZXZpbA==\x07\x1b]0;title\x07\u009b2J\u202egnp\u2066\r\b\x7f"

// raw fails when text has something of evil in it.
func raw(t *testing.T, what, text string) {
	t.Helper()
	for _, r := range text {
		if r < ' ' && r != '\n' && r != '\t' && r != '\r' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			t.Errorf("%s: %q reaches the terminal: %q", what, r, text)
			return
		}
	}
}

func TestCLIHostileImage(t *testing.T) {
	e := newEngine(t)
	l := newLayout(t)
	c := v1.Image{Author: evil, Config: v1.ImageConfig{
		User: evil, Env: []string{"A=" + evil}, Cmd: []string{evil}, WorkingDir: "/" + evil, StopSignal: "SIGTERM", Labels: map[string]string{"k" + evil: evil, "plain": evil},
	}}
	c.History = []v1.History{{CreatedBy: "RUN " + evil, Comment: evil, Author: evil}}
	l.write(l.image(c, archive(t, file{"a", 0o644, nil})))
	path := filepath.Join(e.home, "evil.tar")
	skopeo(t, "copy", "-q", "oci:"+l.dir, "oci-archive:"+path+":evil:1")
	e.ok("load", "-i", path)
	for _, args := range [][]string{
		{"images"},
		{"images", "--format", "{{json .}}"},
		{"history", "evil:1"},
		{"history", "--no-trunc", "evil:1"},
		{"history", "--format", "{{.CreatedBy}} {{.Comment}}", "evil:1"},
		{"history", "--format", "table {{.Comment}}", "evil:1"},
		{"inspect", "evil:1"},
		{"inspect", "-f", "{{.Config.Env}}{{.Config.Labels}}{{.Author}}", "evil:1"},
		{"inspect", "-f", "{{json .Config}}", "evil:1"},
		{"inspect", "-f", "{{range $k, $v := .Config.Labels}}{{$k}}{{$v}}{{end}}", "evil:1"},
		{"image", "tags", "evil:1"},
		{"images", "--filter", "label=plain" + "=" + evil},
		{"images", "--filter", "reference=" + evil},
		{"rmi", evil},
		{"pull", evil},
		{"inspect", evil},
		{"tag", "evil:1", evil},
		{evil},
		{"pull", "--" + evil},
		{"images", "--filter", evil},
		{"image", evil},
		{"inspect", "-f", "{{" + evil, "evil:1"},
		{"--log-level", evil, "images"},
		{"import", "-c", evil, "-m", evil, "/dev/null"},
		{"load", "-i", "/" + evil},
		{"--root", e.home + "/" + evil, "images"},
	} {
		p := e.terminal(args...)
		p.End()
		raw(t, strings.Join(args, " "), p.Text())
		if p.Text() == "" {
			t.Errorf("%q: nothing is shown", args)
		}
	}
	// In files and pipes tables are as safe; what a template makes is as it is, for scripts.
	raw(t, "history", e.ok("history", "--no-trunc", "evil:1"))
	raw(t, "inspect", e.ok("inspect", "evil:1"))
	raw(t, "json", e.ok("inspect", "-f", "{{json .Config}}", "evil:1"))
	if got := e.ok("inspect", "-f", "{{.Config.Labels.plain}}", "evil:1"); got != evil+"\n" {
		t.Errorf("a script gets %q", got)
	}
	raw(t, "an error", e.try("rmi", evil).err)
}

// TestCLIHostileRegistry: what a registry says stands in errors.
func TestCLIHostileRegistry(t *testing.T) {
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"errors":[{"code":"DENIED","message":"\u001b[31mred\u001b]52;c;ZXZpbA==\u0007\u009b2J\u202egnp ` + strings.Repeat("long ", 20_000) + `"}]}`))
	}))
	e := newEngine(t)
	p := e.terminal("pull", host+"/x:1")
	if code := p.End(); code != 1 {
		t.Errorf("exit %d", code)
	}
	raw(t, "pull", p.Text())
	if len(p.Text()) > 20_000 {
		t.Errorf("%d bytes of a registry's words are shown", len(p.Text()))
	}
	e.fails(1, []string{"pull", host + "/x:1"}, host)
}

// TestCLIProgress: a terminal gets bars, drawn over each other, and at the end what a pipe gets.
func TestCLIProgress(t *testing.T) {
	host := registry(t, "")
	l := newLayout(t)
	var layers [][]byte
	for i := range 5 {
		layers = append(layers, archive(t, file{"f" + string(rune('a'+i)), 0o644, rootfs(t, uint64(i), 400_000)}))
	}
	l.publish(l.image(v1.Image{}, layers...), host+"/box:1")
	e := newEngine(t)
	p := e.terminal("pull", host+"/box:1")
	if code := p.End(); code != 0 {
		t.Errorf("exit %d", code)
	}
	text := p.Text()
	for _, want := range []string{"1: Pulling from box", "Downloading  [", "\x1b[5A", "\x1b[J", "Pull complete", "Digest: sha256:", "Status: Downloaded newer image for " + host + "/box:1"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not shown: %q", want, text)
		}
	}
	for _, args := range [][]string{{"save", host + "/box:1"}, {"load"}, {"import", "-"}} {
		p := e.terminal(args...)
		if code := p.End(); code != 1 || !strings.Contains(p.Text(), "terminal") {
			t.Errorf("%v on a terminal: exit %d, %q", args, code, p.Text())
		}
	}
	e.env = append(e.env, "TERM=dumb")
	e.ok("rmi", host+"/box:1")
	p = e.terminal("pull", host+"/box:1")
	if code := p.End(); code != 0 || strings.Contains(p.Text(), "\x1b") {
		t.Errorf("a dumb terminal, exit %d: %q", code, p.Text())
	}
}

// TestCLIHostilePlaces: names of directories of the user's and files that are not what they ought to be.
func TestCLIHostilePlaces(t *testing.T) {
	e := newEngine(t)
	file := filepath.Join(e.home, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e.fails(1, []string{"--root", file, "images"}, "not a directory")
	e.fails(1, []string{"--root", "/proc/nosuch", "images"}, "/proc/nosuch")
	e.fails(125, []string{"--log-level", "loud", "images"}, `"loud"`, "hint: fatal, error, warn, info, debug")
	e.fails(1, []string{"pull", "--authfile", filepath.Join(e.home, "nosuch.json"), "x"}, "nosuch.json")
}
