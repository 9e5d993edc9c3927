package cli

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(data)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCLISaveLoad(t *testing.T) {
	e := newEngine(t)
	id := imported(e, "box", 1)
	imported(e, "other:2", 2)
	digests := e.ok("images", "--format", "{{.Repository}} {{.Digest}}")
	whole := filepath.Join(e.home, "whole.tar")
	if got := e.ok("save", "-o", whole, "box", "other:2"); got != "" {
		t.Errorf("%q", got)
	}
	if st, err := os.Stat(whole); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st, err)
	}
	piped := e.try("save", "box", "other:2")
	if data, err := os.ReadFile(whole); err != nil || piped.code != 0 || piped.out != string(data) {
		t.Errorf("the archive on standard output is another one: %d bytes, %d; %s", len(piped.out), len(data), piped.err)
	}
	fresh := newEngine(t)
	if got := fresh.ok("load", "-i", whole); got != "Loaded image: box:latest\nLoaded image: other:2\n" {
		t.Errorf("%q", got)
	}
	if got := fresh.ok("images", "--format", "{{.Repository}} {{.Digest}}"); got != digests {
		t.Errorf("digests have changed: %q, were %q", got, digests)
	}
	compressed := newEngine(t)
	if r := compressed.feed(gzipped(t, []byte(piped.out)), "load", "-q"); r.code != 0 || r.out != "Loaded image: box:latest\nLoaded image: other:2\n" {
		t.Errorf("%+v", r)
	}
	byID := newEngine(t)
	if r := byID.feed([]byte(e.ok("save", id)), "image", "load"); r.code != 0 || r.out != "Loaded image ID: "+id+"\n" {
		t.Errorf("%+v", r)
	}
	for _, x := range []*engine{e, fresh, compressed, byID} {
		x.clean()
	}
	// Two of the same go in once.
	if two := e.ok("save", "box", id); len(two) > len(e.ok("save", "box"))+4096 {
		t.Errorf("an image that was named twice is there twice: %d bytes", len(two))
	}
}

func TestCLIArchiveErrors(t *testing.T) {
	e := newEngine(t)
	imported(e, "box", 1)
	out := filepath.Join(e.home, "out.tar")
	if err := os.WriteFile(out, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	e.fails(1, []string{"save", "-o", out, "box", "nosuch"}, `image "nosuch": it is not here`)
	if data, err := os.ReadFile(out); err != nil || string(data) != "old" {
		t.Errorf("a save that went wrong has touched the file: %q %v", data, err)
	}
	e.fails(1, []string{"save", "-o", filepath.Join(e.home, "no/such/dir.tar"), "box"}, "save: ", "no such file or directory")
	e.fails(1, []string{"save"}, "save: wants IMAGE")
	e.fails(125, []string{"save", "--format", "docker-dir", "box"}, `"docker-dir"`, "hint: docker-archive or oci-archive")
	e.fails(125, []string{"save", "--platform", "arm64", "box"}, "an archive has all platforms")
	e.fails(1, []string{"load", "-i", filepath.Join(e.home, "nosuch.tar")}, "load: ", "no such file")
	for name, data := range map[string][]byte{"nothing": nil, "rubbish": bytes.Repeat([]byte("rubbish "), 200), "no image": rootfs(t, 1, 10), "cut": []byte(e.ok("save", "box"))[:200_000]} {
		e.said(e.feed(data, "load"), 1, "load "+name, "bulkhead: ")
	}
	e.fails(1, []string{"load", "x"}, "load: takes no argument")
	e.fails(1, []string{"import", "https://example.org/x.tar"}, "neither a digest nor a signature", "hint: fetch and verify it yourself")
	e.fails(1, []string{"import", filepath.Join(e.home, "nosuch")}, "import: ", "no such file")
	e.said(e.feed([]byte("rubbish"), "import", "-"), 1, "import rubbish", "bulkhead: ")
	e.said(e.feed(rootfs(t, 1, 10), "import", "-c", "RUN ls", "-", "x"), 1, "import -c RUN", `"RUN" is not among what can be changed`, "hint: CMD, ENTRYPOINT")
	if left, err := filepath.Glob(filepath.Join(e.root, "load-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if left, err := filepath.Glob(filepath.Join(e.home, ".out.tar-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	e.clean()
}

// TestCLIPeers: archives go to skopeo and Podman and come from them, both formats, with the same id.
func TestCLIPeers(t *testing.T) {
	e := newEngine(t)
	id := imported(e, "quay.io/team/box:1", 1, "-c", "LABEL a=b")
	ours := filepath.Join(e.home, "ours.tar")
	e.ok("save", "-o", ours, "quay.io/team/box:1")
	for _, transport := range []string{"oci-archive:" + ours, "docker-archive:" + ours} {
		if got := skopeo(t, "inspect", "--config", "--raw", transport); !strings.Contains(got, `"a":"b"`) {
			t.Errorf("skopeo, %s: %s", transport, got)
		}
	}
	for _, format := range []string{"oci-archive", "docker-archive"} {
		t.Run("skopeo/"+format, func(t *testing.T) {
			theirs := filepath.Join(t.TempDir(), "theirs.tar")
			skopeo(t, "copy", "-q", "oci-archive:"+ours, format+":"+theirs+":quay.io/team/box:1")
			fresh := newEngine(t)
			if got := fresh.ok("load", "-i", theirs); got != "Loaded image: quay.io/team/box:1\n" {
				t.Errorf("%q", got)
			}
			if format == "oci-archive" { // the other one has the configuration in another form
				if got := fresh.ok("images", "-q", "--no-trunc"); got != id+"\n" {
					t.Errorf("the id is %s, was %s", got, id)
				}
			}
			if got := fresh.ok("inspect", "-f", `{{.Config.Labels.a}} {{index .RootFS.Layers 0}}`, "quay.io/team/box:1"); got != e.ok("inspect", "-f", `{{.Config.Labels.a}} {{index .RootFS.Layers 0}}`, "quay.io/team/box:1") {
				t.Errorf("%q", got)
			}
			fresh.clean()
		})
	}
	if os.Geteuid() != 0 {
		t.Skip("Podman's storage in a directory of the test's wants root")
	}
	for _, format := range []string{"oci-archive", "docker-archive"} {
		t.Run("podman/"+format, func(t *testing.T) { podmanTrip(t, e, ours, id, format) })
	}
}

// podmanTrip lets Podman load what we saved, save it in a format, and us load that.
func podmanTrip(t *testing.T, e *engine, ours, id, format string) {
	dir, err := os.MkdirTemp("", "bh-") // Podman wants a short name
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	podman := func(args ...string) string {
		return peer(t, append([]string{"podman", "--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "vfs"}, args...)...)
	}
	podman("load", "-q", "-i", ours)
	if got := podman("images", "--no-trunc", "-q"); strings.TrimSpace(got) != id {
		t.Errorf("podman's id is %q, want %s", got, id)
	}
	theirs := filepath.Join(dir, "theirs.tar")
	podman("save", "-q", "--format", format, "-o", theirs, "quay.io/team/box:1")
	fresh := newEngine(t)
	if got := fresh.ok("load", "-i", theirs); got != "Loaded image: quay.io/team/box:1\n" {
		t.Errorf("%q", got)
	}
	if got := fresh.ok("inspect", "-f", "{{.Config.Labels.a}}", "quay.io/team/box:1"); got != "b\n" {
		t.Errorf("%q", got)
	}
	fresh.clean()
	podman("rmi", "-a", "-f")
}

func TestCLIImport(t *testing.T) {
	e := newEngine(t)
	path := filepath.Join(e.home, "rootfs.tar.gz")
	if err := os.WriteFile(path, gzipped(t, rootfs(t, 1, 10)), 0o600); err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSpace(e.ok("import", "--platform", "linux/arm64", "-m", "by hand", "--change", "ENTRYPOINT /bin/busybox", "-c", "VOLUME /data", path, "box:7"))
	if !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(id) {
		t.Errorf("%q", id)
	}
	if got := e.ok("inspect", "-f", "{{.Architecture}} {{json .Config.Entrypoint}} {{json .Config.Volumes}} {{.Comment}}", "box:7"); got != `arm64 ["/bin/sh","-c","/bin/busybox"] {"/data":{}} by hand`+"\n" {
		t.Errorf("%q", got)
	}
	if r := e.feed(rootfs(t, 2, 10), "image", "import", "-"); r.code != 0 || !strings.HasPrefix(r.out, "sha256:") {
		t.Errorf("%+v", r)
	}
}

// TestCLISavePipe: an archive goes through a pipe, into a device, and not to one who has gone.
func TestCLISavePipe(t *testing.T) {
	e := newEngine(t)
	imported(e, "box", 1)
	pipe := filepath.Join(e.home, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	cat := exec.Command("cat", pipe)
	var got bytes.Buffer
	cat.Stdout = &got
	if err := cat.Start(); err != nil {
		t.Fatal(err)
	}
	e.ok("save", "-o", pipe, "box")
	if err := cat.Wait(); err != nil || got.String() != e.ok("save", "box") {
		t.Errorf("through a pipe: %d bytes, %v", got.Len(), err)
	}
	e.ok("save", "-o", "/dev/null", "box")
	e.fails(1, []string{"save", "-o", "/dev/full", "box"}, "no space left on device")
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, args := range [][]string{{"save", "box"}, {"images"}, {"inspect", "box"}, {"version"}, {"image", "fsck"}} {
		cmd := e.command(t.Context(), args...)
		var errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &errs
		if code := status(t, cmd.Run()); code != 1 || !strings.Contains(errs.String(), "no space left on device") {
			t.Errorf("%v on a full disk: exit %d, %s", args, code, errs.String())
		}
	}
}
