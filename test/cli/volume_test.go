package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestCLIVolume(t *testing.T) {
	e := newEngine(t)
	if got := e.ok("volume", "ls"); got != "DRIVER    VOLUME NAME\n" {
		t.Errorf("%q", got)
	}
	if got := e.ok("volume", "create", "--label", "tier=db", "data"); got != "data\n" {
		t.Errorf("%q", got)
	}
	nameless := strings.TrimSpace(e.ok("volume", "create"))
	if got := lines(e.ok("volume", "ls")); len(got) != 3 || !strings.HasPrefix(got[0], "DRIVER ") || !strings.Contains(strings.Join(got, "\n"), "local     data") {
		t.Errorf("%q", got)
	}
	if got := e.ok("volume", "ls", "--format", "{{.Name}} {{.Labels}} {{.Scope}}", "-f", "label=tier"); got != "data tier=db local\n" {
		t.Errorf("%q", got)
	}
	var v []map[string]any
	if err := json.Unmarshal([]byte(e.ok("volume", "inspect", "data")), &v); err != nil || v[0]["Mountpoint"] != filepath.Join(e.root, "volumes/data/_data") {
		t.Errorf("%v %v", v, err)
	}
	e.ok("volume", "exists", "data")
	e.fails(1, []string{"volume", "exists", "nosuch"})
	e.fails(1, []string{"volume", "inspect", "nosuch"}, "no such volume")
	e.fails(1, []string{"volume", "create", "-o", "type=nfs", "wrong"}, "a network file system cannot show", "hint: mount it on the host")
	e.fails(1, []string{"volume", "create", "-d", "nosuch", "wrong"}, "there is no such one", "hint: the driver is local")
	e.fails(125, []string{"volume", "create", "--scope", "multi", "wrong"}, "--scope: it is for volumes of a cluster")
	e.fails(125, []string{"volume", "ls", "-f", "colour=red"}, `no filter "colour"`)
	e.fails(1, []string{"volume", "rm"}, "wants VOLUME", "hint: or --all")
	r := e.feed([]byte("y\n"), "volume", "prune")
	if r.code != 0 || !strings.HasPrefix(r.out, "WARNING! This will remove anonymous local volumes") || !strings.Contains(r.out, "Deleted Volumes:\n"+nameless+"\n\nTotal reclaimed space: ") {
		t.Errorf("%+v", r)
	}
	if got := e.ok("volume", "prune", "-f", "--filter", "label!=tier"); got != "Total reclaimed space: 0B\n" {
		t.Errorf("%q", got)
	}
	if got := e.ok("volume", "rm", "data"); got != "data\n" {
		t.Errorf("%q", got)
	}
}

func TestCLISystem(t *testing.T) {
	e := newEngine(t)
	imported(e, "box", 1)
	e.ok("volume", "create", "data")
	df := e.ok("system", "df")
	for _, want := range []string{`(?m)^TYPE +TOTAL +ACTIVE +SIZE +RECLAIMABLE$`, `(?m)^Images +1 +0 +1\.99MB +1\.99MB \(100%\)$`, `(?m)^Containers +0 +0 +0B +0B$`, `(?m)^Local Volumes +1 +0 `} {
		if !regexp.MustCompile(want).MatchString(df) {
			t.Errorf("no %s:\n%s", want, df)
		}
	}
	if got := e.ok("system", "df", "-v"); !regexp.MustCompile(`(?m)^box +latest .* 1\.99MB +0$`).MatchString(got) || !regexp.MustCompile(`(?m)^data +0 `).MatchString(got) {
		t.Errorf("%s", got)
	}
	if got := e.ok("version", "--format", "{{.Client.Version}} {{.Server.APIVersion}}"); !regexp.MustCompile(`^\S+ 1\.51\n$`).MatchString(got) {
		t.Errorf("%q", got)
	}
	if got := e.ok("info", "--format", "{{.Images}} {{.DockerRootDir}}"); got != "1 "+e.root+"\n" {
		t.Errorf("%q", got)
	}
	if got := e.ok("system", "info"); !strings.Contains(got, "Security Options:\n") {
		t.Errorf("%q", got)
	}
	if err := os.MkdirAll(filepath.Join(e.root, "volumes/.half.new"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := e.ok("system", "check"); !strings.Contains(got, "healed: volume half: ") || !strings.HasSuffix(got, ", 1 healed, 0 problems\n") {
		t.Errorf("%q", got)
	}
	blobs, err := filepath.Glob(filepath.Join(e.root, "images/blobs/sha256/*"))
	if err != nil || len(blobs) == 0 {
		t.Fatal(err)
	}
	for _, b := range blobs {
		if err := os.Remove(b); err != nil {
			t.Fatal(err)
		}
	}
	e.fails(1, []string{"system", "check"}, "problems are not repaired", "hint: bulkhead system check --repair")
	e.ok("system", "check", "--repair")
	e.ok("system", "check")
	r := e.feed([]byte("n\n"), "system", "prune", "-a", "--volumes")
	if r.code != 0 || !strings.Contains(r.out, "all stopped containers") || strings.Contains(r.out, "Total") {
		t.Errorf("%+v", r)
	}
	if os.Geteuid() == 0 {
		if got := e.ok("system", "prune", "-af"); !strings.Contains(got, "Total reclaimed space: ") {
			t.Errorf("%q", got)
		}
	}
	e.fails(1, []string{"system", "prune", "-f", "--volumes", "--filter", "until=1h"}, "not supported")
}
