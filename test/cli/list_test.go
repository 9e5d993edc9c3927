package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// imported makes an image of busybox with a name.
func imported(e *engine, name string, seed uint64, more ...string) string {
	e.Helper()
	args := append([]string{"import"}, more...)
	r := e.feed(rootfs(e, seed, 1000), append(args, "-", name)...)
	if r.code != 0 {
		e.Fatalf("import %s: %s%s", name, r.out, r.err)
	}
	return strings.TrimSpace(r.out)
}

func lines(s string) []string { return strings.Split(strings.TrimSuffix(s, "\n"), "\n") }

func TestCLIList(t *testing.T) {
	e := newEngine(t)
	if got, want := e.ok("images"), "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n"; got != want {
		t.Errorf("an empty store: %q", got)
	}
	first := imported(e, "quay.io/team/one:1", 1, "-c", "LABEL tier=front", "-c", "LABEL a=b")
	second := imported(e, "two", 2, "-c", "LABEL tier=back")
	third := imported(e, "", 3)
	e.ok("tag", "two", "127.0.0.1:5000/other/two:x")
	for _, c := range []struct {
		args []string
		want string // regular expressions, a line each
	}{
		{[]string{"images"}, `REPOSITORY +TAG +IMAGE ID +CREATED +SIZE
<none> +<none> +` + third[7:19] + ` +.* ago +1.99MB
127.0.0.1:5000/other/two +x +` + second[7:19] + ` +.* ago +1.99MB
two +latest +` + second[7:19] + ` +.* ago +1.99MB
quay.io/team/one +1 +` + first[7:19] + ` +.* ago +1.99MB`},
		{[]string{"image", "ls", "--digests", "two"}, `REPOSITORY +TAG +DIGEST +IMAGE ID +CREATED +SIZE
two +latest +sha256:[0-9a-f]{64} +` + second[7:19] + ` .*`},
		{[]string{"images", "-q", "--no-trunc"}, third + "\n" + second + "\n" + second + "\n" + first},
		{[]string{"image", "list", "-aq", "quay.io/team/*"}, first[7:19]},
		{[]string{"images", "-q", "-f", "reference=*/*/*"}, second[7:19] + "\n" + first[7:19]},
		{[]string{"images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "label=tier=front"}, "quay.io/team/one:1"},
		{[]string{"images", "--format", "{{.Repository}}", "--filter", "label=tier", "--filter", "label=a"}, "quay.io/team/one"},
		{[]string{"images", "-q", "--filter", "dangling=true"}, third[7:19]},
		{[]string{"images", "-q", "--filter", "dangling=false", "--filter", "since=quay.io/team/one:1"}, second[7:19] + "\n" + second[7:19]},
		{[]string{"images", "-q", "--filter", "before=two"}, first[7:19]},
		{[]string{"images", "-q", "--filter", "until=24h"}, ``},
		{[]string{"images", "--format", `table {{.ID}}\t{{.Tag}}`, "two"}, `IMAGE ID +TAG
` + second[7:19] + ` +latest`},
		{[]string{"images", "--format", "json", "quay.io/team/one"}, `\{"Containers":"N/A","CreatedAt":"20[^"]* UTC","CreatedSince":"[^"]* ago","Digest":"sha256:[0-9a-f]{64}","ID":"` +
			first[7:19] + `","Repository":"quay.io/team/one","SharedSize":"N/A","Size":"1.99MB","Tag":"1","UniqueSize":"N/A","VirtualSize":"1.986MB"\}`},
	} {
		got := e.ok(c.args...)
		if !regexp.MustCompile(`^` + c.want + `$`).MatchString(strings.TrimSuffix(got, "\n")) {
			t.Errorf("%v:\n%s\nwant\n%s", c.args, got, c.want)
		}
	}
	e.fails(125, []string{"images", "--filter", "colour=red"}, `no filter "colour"`, "hint: filters are dangling, reference")
	e.fails(125, []string{"images", "--filter", "dangling"}, "wants KEY=VALUE")
	e.fails(1, []string{"images", "--filter", "dangling=perhaps"}, "neither true nor false")
	e.fails(1, []string{"images", "--filter", "until=yesterday"}, "no time", "hint: as in 24h")
	e.fails(1, []string{"images", "--filter", "before=nosuch"}, `image "nosuch": it is not here`)
	e.fails(1, []string{"images", "--filter", "reference=[a"}, "syntax error")
	e.fails(1, []string{"images", "--format", "{{.Bogus}}"}, "no entry", "hint: fields are .Containers")
	e.fails(1, []string{"images", "--format", "{{"}, "unclosed action")
	e.fails(1, []string{"images", "a", "b"}, "too many arguments", "hint: see 'bulkhead images --help'")
}

func TestCLIInspect(t *testing.T) {
	e := newEngine(t)
	id := imported(e, "box", 1, "-c", "LABEL a.b=c", "-c", `CMD ["/bin/busybox","sh"]`, "-c", "ENV A=1", "-c", "EXPOSE 80", "-c", "USER 7", "-c", "WORKDIR /data", "-m", "made here")
	for _, command := range [][]string{{"inspect"}, {"image", "inspect"}} {
		var got []map[string]any
		if err := json.Unmarshal([]byte(e.ok(append(command, "box", id, id[7:15])...)), &got); err != nil || len(got) != 3 {
			t.Fatal(err, got)
		}
		for _, g := range got {
			if g["Id"] != id || g["Architecture"] == "" || g["Os"] != "linux" || g["Comment"] != "made here" {
				t.Errorf("%v", g)
			}
			for key, want := range map[string]string{
				"RepoTags": `["box:latest"]`, "Config": `"Cmd":["/bin/busybox","sh"]`, "RootFS": `"Type":"layers"`, "Metadata": `"LastTagTime":"20`,
				"Descriptor": `"digest":"sha256:`,
			} {
				data, _ := json.Marshal(g[key])
				if !strings.Contains(string(data), want) {
					t.Errorf("%s: %s, want %s", key, data, want)
				}
			}
		}
	}
	for format, want := range map[string]string{
		"{{.Id}}": id, "{{.ID}}": id, "{{.Config.Env}}": "[A=1]", `{{index .Config.Labels "a.b"}}`: "c", "{{json .Config.ExposedPorts}}": `{"80/tcp":{}}`,
		"{{.Config.User}} {{.Config.WorkingDir}}": "7 /data", `{{join .RepoTags ","}}`: "box:latest", "{{len .RootFS.Layers}}": "1", "{{range .RepoTags}}{{println .}}{{end}}": "box:latest\n",
	} {
		if got := e.ok("inspect", "-f", format, "box"); got != want+"\n" {
			t.Errorf("%s: %q, want %q", format, got, want+"\n")
		}
	}
	r := e.fails(1, []string{"inspect", "box", "nosuch", "nor:this"}, `bulkhead: no such container, image, network or volume: "nosuch"`, `"nor:this"`)
	if !strings.Contains(r.out, id) {
		t.Errorf("what there is was not shown: %s", r.out)
	}
	if r := e.fails(1, []string{"inspect", "nosuch"}); r.out != "[]\n" {
		t.Errorf("%q", r.out)
	}
	e.fails(64, []string{"inspect", "-f", "{{", "box"}, "unclosed action")
	e.fails(1, []string{"inspect", "-f", "{{.Nope}}", "box"}, "can't evaluate field Nope")
	e.fails(1, []string{"image", "inspect", "nosuch"}, `bulkhead: image "nosuch": it is not here`, "hint: bulkhead pull nosuch")
	e.fails(1, []string{"inspect", "--type", "container", "box"}, "no such container: box")
	e.fails(1, []string{"inspect", "--type", "thing", "box"}, "there is no such type", "hint: container, image, network, volume")
	e.fails(125, []string{"image", "inspect", "-s", "box"}, "unknown flag -s")
	e.ok("inspect", "-s", "box")
	e.ok("inspect", "--type", "image", "box")
}

func TestCLIHistory(t *testing.T) {
	e := newEngine(t)
	id := imported(e, "box", 1, "-m", "made here")
	got := lines(e.ok("history", "box"))
	if len(got) != 2 || !regexp.MustCompile(`^IMAGE +CREATED +CREATED BY +SIZE +COMMENT$`).MatchString(got[0]) ||
		!regexp.MustCompile(`^`+id[7:19]+` +.* ago +import +1\.99MB +made here$`).MatchString(got[1]) {
		t.Errorf("%q", got)
	}
	if got := e.ok("history", "-q", "--no-trunc", "box"); got != id+"\n" {
		t.Error(got)
	}
	if got := e.ok("history", "-H=false", "--format", "{{.Size}} {{.CreatedSince}}", "box"); !regexp.MustCompile(`^[0-9]{7} 20[0-9-]+T[0-9:]+Z\n$`).MatchString(got) {
		t.Error(got)
	}
	e.fails(1, []string{"history", "nosuch"}, `image "nosuch": it is not here`)
	e.fails(1, []string{"history"}, "history: wants IMAGE")
}

func TestCLITags(t *testing.T) {
	e := newEngine(t)
	imported(e, "a", 1)
	imported(e, "b", 2)
	e.ok("tag", "b", "a")
	e.ok("rmi", "a")
	got := e.ok("image", "tags", "a", "--format", "{{.Action}} {{.Digest}}")
	if !regexp.MustCompile(`^import (sha256:[0-9a-f]{64})\ntag (sha256:[0-9a-f]{64})\nuntag (sha256:[0-9a-f]{64})\n$`).MatchString(got) {
		t.Fatalf("%q", got)
	}
	l := strings.Fields(got)
	if l[1] == l[3] || l[3] != l[5] {
		t.Errorf("a tag that moved is not seen to: %q", got)
	}
	if got := lines(e.ok("image", "tags", "a")); len(got) != 4 || !strings.HasPrefix(got[0], "WHEN ") {
		t.Errorf("%q", got)
	}
	e.fails(1, []string{"image", "tags", "nosuch"}, "nothing has ever had this name here")
	e.fails(1, []string{"tag", "nosuch", "c"}, `image "nosuch": it is not here`)
	e.fails(1, []string{"tag", "b", "UPPER"}, "UPPER")
	e.fails(1, []string{"tag", "b"}, "tag: wants SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]")
}

func TestCLIRemove(t *testing.T) {
	e := newEngine(t)
	id := imported(e, "a", 1)
	e.ok("tag", "a", "b:2")
	if got := e.ok("rmi", "b:2"); got != "Untagged: b:2\n" {
		t.Errorf("%q", got)
	}
	e.ok("tag", "a", "b:2")
	e.fails(1, []string{"rmi", id[7:19]}, "several names: a:latest, b:2", "hint: remove a name")
	got := e.ok("image", "rm", "-f", id[7:19])
	if !regexp.MustCompile(`^Untagged: a:latest\nUntagged: b:2\n(Deleted: sha256:[0-9a-f]{64}\n)+$`).MatchString(got) || !strings.Contains(got, "Deleted: "+id) {
		t.Errorf("%q", got)
	}
	e.fails(1, []string{"rmi", "a", "nosuch"}, `"a"`, `"nosuch"`)
	for _, args := range [][]string{{"rmi", "-f", "nosuch"}, {"rm", "-f", "nosuch"}, {"network", "rm", "-f", "nosuch"}} {
		if r := e.try(args...); r.code != 0 || r.out != "" || !strings.Contains(r.err, "nosuch") {
			t.Errorf("%v: %+v", args, r)
		}
	}
	imported(e, "c", 3)
	if got := e.ok("image", "remove", "--no-prune", "c"); got != "Untagged: c:latest\n" {
		t.Errorf("%q", got)
	}
	if got := e.ok("image", "prune", "-f"); !strings.Contains(got, "Deleted Images:\ndeleted: sha256:") || !regexp.MustCompile(`\n\nTotal reclaimed space: [1-9.]+MB\n$`).MatchString(got) {
		t.Errorf("%q", got)
	}
	e.fails(125, []string{"rmi", "--platform", "linux/arm64", "x"}, "removed with all its platforms")
	e.clean()
}

func TestCLIPrune(t *testing.T) {
	e := newEngine(t)
	imported(e, "keep", 1, "-c", "LABEL keep=yes")
	imported(e, "drop", 2)
	imported(e, "", 3)
	for _, no := range []string{"", "n\n", "what\n"} {
		r := e.feed([]byte(no), "image", "prune", "-a")
		if r.code != 0 || !strings.HasPrefix(r.out, "WARNING! This will remove all images without at least one container associated to them.\nAre you sure you want to continue? [y/N] ") ||
			strings.Contains(r.out, "Deleted") {
			t.Errorf("%q: %+v", no, r)
		}
	}
	r := e.feed([]byte("y\n"), "image", "prune")
	if r.code != 0 || !strings.Contains(r.out, "WARNING! This will remove all dangling images.") || !strings.Contains(r.out, "untagged: localhost/imported@sha256:") {
		t.Errorf("%+v", r)
	}
	if got := e.ok("images", "--format", "{{.Repository}}"); got != "drop\nkeep\n" {
		t.Errorf("%q", got)
	}
	if got := e.ok("image", "prune", "-a", "-f", "--filter", "until=1h"); got != "Total reclaimed space: 0B\n" {
		t.Errorf("%q", got)
	}
	e.ok("image", "prune", "-a", "-f", "--filter", "label!=keep")
	if got := e.ok("images", "--format", "{{.Repository}}"); got != "keep\n" {
		t.Errorf("%q", got)
	}
	e.ok("image", "prune", "-af")
	if got := e.ok("images", "-q"); got != "" {
		t.Errorf("%q", got)
	}
	e.fails(125, []string{"image", "prune", "--filter", "reference=x"}, "no filter")
	e.clean()
}

func TestCLIMount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root mounts")
	}
	e := newEngine(t)
	id := imported(e, "box", 1)
	at := strings.TrimSpace(e.ok("image", "mount", "box"))
	if _, err := os.Stat(filepath.Join(at, "bin/busybox")); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(at, "new"), nil, 0o600); err == nil {
		t.Error("an image can be written to")
	}
	if got := lines(e.ok("image", "mount")); len(got) != 2 || !strings.HasPrefix(got[1], "box:latest ") || !strings.HasSuffix(got[1], at) {
		t.Errorf("%q", got)
	}
	if got := e.ok("image", "umount", "box"); got != id[7:]+"\n" {
		t.Errorf("%q", got)
	}
	if got := e.ok("image", "mount", "--format", "json"); got != "" {
		t.Errorf("%q", got)
	}
	e.fails(1, []string{"image", "umount", "box"}, "it is not mounted")
	e.fails(1, []string{"image", "umount"}, "wants IMAGE")
	e.fails(1, []string{"image", "mount", "nosuch"}, "it is not here")
	e.ok("image", "mount", "-a")
	e.ok("image", "unmount", "-a")
}

func TestCLIFsck(t *testing.T) {
	e := newEngine(t)
	imported(e, "box", 1)
	e.clean()
	blobs, err := filepath.Glob(filepath.Join(e.root, "images/blobs/sha256/*"))
	if err != nil || len(blobs) != 3 {
		t.Fatal(err, blobs)
	}
	largest := blobs[0]
	for _, b := range blobs {
		if size(t, b) > size(t, largest) {
			largest = b
		}
	}
	f, err := os.OpenFile(largest, os.O_RDWR, 0)
	if err == nil {
		_, err = f.WriteAt([]byte("damaged"), 100)
		_ = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	r := e.fails(1, []string{"image", "fsck"}, "problems are not repaired", "hint: bulkhead image fsck --repair")
	if !strings.Contains(r.out, filepath.Base(largest)) {
		t.Errorf("the damage is not named: %s", r.out)
	}
	var report struct {
		Problems []struct {
			Object   string
			Repaired bool
		}
	}
	if r := e.try("image", "fsck", "--json"); r.code != 1 || json.Unmarshal([]byte(r.out), &report) != nil || len(report.Problems) == 0 {
		t.Errorf("%+v", r)
	}
	if r := e.try("image", "fsck", "--repair"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	e.clean()
}

func size(t testing.TB, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

func TestCLIImageDiff(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root mounts")
	}
	e := newEngine(t)
	for name, files := range map[string][]file{
		"a": {{"same", 0o644, []byte("same")}, {"mode", 0o644, []byte("x")}, {"content", 0o644, []byte("one")}, {"gone/deep/file", 0o644, nil}, {"kind", 0o644, nil}},
		"b": {{"same", 0o644, []byte("same")}, {"mode", 0o600, []byte("x")}, {"content", 0o644, []byte("two")}, {"new", 0o644, nil}, {"kind/file", 0o644, nil}},
	} {
		if r := e.feed(archive(t, files...), "import", "-", name); r.code != 0 {
			t.Fatalf("%+v", r)
		}
	}
	if got, want := e.ok("image", "diff", "a", "b"), "C /content\nD /gone\nD /gone/deep\nD /gone/deep/file\nD /kind\nA /kind\nA /kind/file\nC /mode\nA /new\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := e.ok("image", "diff", "a", "a"); got != "" {
		t.Errorf("an image and itself: %q", got)
	}
	if got := e.ok("image", "diff", "--format", "{{.Path}}", "b", "a"); !strings.HasPrefix(got, "/content\n") {
		t.Errorf("%q", got)
	}
	e.fails(1, []string{"image", "diff", "a", "nosuch"}, `image "nosuch": it is not here`)
	e.fails(1, []string{"image", "diff", "a"}, "diff: wants IMAGE IMAGE")
}
