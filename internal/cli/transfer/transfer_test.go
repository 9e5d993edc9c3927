package transfer

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// TestResolve: the rules of docker cp.
func TestResolve(t *testing.T) {
	none, file, dir := Place{}, Place{Exists: true}, Place{Exists: true, Dir: true}
	for _, c := range []struct {
		source    string
		dir       bool
		dest      string
		at        Place
		parent    string
		name, err string
	}{
		{"/a/f", false, "/b/x", none, "/b", "x", ""},
		{"/a/f", false, "/b/x/", none, "", "", "the directory is not there"},
		{"/a/f", false, "/b/x", file, "/b", "x", ""},
		{"/a/f", false, "/b/x/", file, "", "", "it is no directory"},
		{"/a/f", false, "/b", dir, "/b", "f", ""},
		{"/a/f/", false, "/b", dir, "", "", "it is no directory"},
		{"/a/d", true, "/b/x", none, "/b", "x", ""},
		{"/a/d/.", true, "/b/x", none, "/b", "x", ""},
		{"/a/d", true, "/b/x/", none, "/b", "x", ""},
		{"/a/d", true, "/b", file, "", "", "cannot be copied over a file"},
		{"/a/d", true, "/b", dir, "/b", "d", ""},
		{"/a/d/", true, "/b/", dir, "/b", "d", ""},
		{"/a/d/.", true, "/b", dir, "/b", ".", ""},
		{".", true, "/b", dir, "/b", ".", ""},
		{"/a/f", false, "x", none, ".", "x", ""},
	} {
		parent, name, err := Resolve(c.source, filepath.Base(c.source), c.dir, c.dest, c.at)
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) || c.err == "" && (err != nil || parent != c.parent || name != c.name) {
			t.Errorf("%+v: %q %q %v", c, parent, name, err)
		}
	}
}

// tree is what is below a directory: names, with what links and files hold.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			link, _ := os.Readlink(p)
			out[rel] = "-> " + link
		case d.IsDir():
			out[rel] = "dir"
		case d.Type().IsRegular():
			data, _ := os.ReadFile(p)
			out[rel] = string(data)
		default:
			out[rel] = d.Type().String()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	from := t.TempDir()
	src := filepath.Join(from, "src")
	for _, d := range []string{"src/sub", "src/closed"} {
		if err := os.MkdirAll(filepath.Join(from, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"src/f": "one", "src/sub/g": "two", "src/closed/h": "three"} {
		if err := os.WriteFile(filepath.Join(from, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"src/l": "f", "src/dangling": "/no/such"} {
		if err := os.Symlink(to, filepath.Join(from, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(src, "f"), filepath.Join(src, "hard")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(src, "closed"), 0o500); err != nil {
		t.Fatal(err)
	}
	for _, names := range [][2]string{{"src", "src"}, {"src", "copy"}, {".", "."}, {"src", "."}} {
		var b bytes.Buffer
		if err := Pack(&b, Source{Path: src, Name: names[0]}); err != nil {
			t.Fatal(err)
		}
		to := t.TempDir()
		if err := Unpack(&b, Target{Dir: to, Name: names[1]}); err != nil {
			t.Fatalf("%v: %v", names, err)
		}
		got, want := tree(t, filepath.Join(to, names[1])), tree(t, src)
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%v: %s: %q, want %q", names, k, got[k], v)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%v: %v, want %v", names, got, want)
		}
		one, err1 := os.Stat(filepath.Join(to, names[1], "f"))
		two, err2 := os.Stat(filepath.Join(to, names[1], "hard"))
		closed, err3 := os.Stat(filepath.Join(to, names[1], "closed"))
		if err1 != nil || err2 != nil || err3 != nil || !os.SameFile(one, two) || one.Mode().Perm() != 0o640 || closed.Mode().Perm() != 0o500 {
			t.Errorf("%v: %v %v %v", names, one, two, closed)
		}
	}
}

// TestHostile: an archive of a container that wants more than the directory.
func TestHostile(t *testing.T) {
	dir := func(name string) *tar.Header { return &tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755} }
	file := func(name string) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o6755, Size: 4}
	}
	link := func(name, to string) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777}
	}
	for name, c := range map[string]struct {
		entries []*tar.Header
		err     string
	}{
		"dots":              {[]*tar.Header{dir("top"), file("top/../../out")}, "is not below"},
		"another top":       {[]*tar.Header{dir("top"), file("other")}, "is not below"},
		"prefix":            {[]*tar.Header{dir("top"), file("topper")}, "is not below"},
		"absolute link":     {[]*tar.Header{dir("top"), link("top/l", "/OUT"), file("top/l/x")}, "escapes"},
		"relative link":     {[]*tar.Header{dir("top"), link("top/l", "../.."), file("top/l/x")}, "escapes"},
		"top is a link":     {[]*tar.Header{link("top", "/OUT"), file("top/x")}, "escapes"},
		"link, directory":   {[]*tar.Header{dir("top"), link("top/l", "/OUT"), dir("top/l")}, "no directory"},
		"file over link":    {[]*tar.Header{dir("top"), link("top/l", "/OUT/victim"), file("top/l")}, ""},
		"hard link":         {[]*tar.Header{dir("top"), {Typeflag: tar.TypeLink, Name: "top/h", Linkname: "../../OUT/victim"}}, "is not below"},
		"hard over link":    {[]*tar.Header{dir("top"), link("top/l", "/OUT"), {Typeflag: tar.TypeLink, Name: "top/h", Linkname: "top/l/victim"}}, "escapes"},
		"device":            {[]*tar.Header{dir("top"), {Typeflag: tar.TypeBlock, Name: "top/sda", Devmajor: 8, Mode: 0o666}}, "device"},
		"file over dir":     {[]*tar.Header{dir("top"), dir("top/d"), file("top/d")}, "a directory"},
		"dir over file":     {[]*tar.Header{dir("top"), file("top/f"), dir("top/f")}, "no directory"},
		"empty":             {nil, "empty"},
		"pipe":              {[]*tar.Header{{Typeflag: tar.TypeFifo, Name: "top", Mode: 0o644}}, ""},
		"setuid is no gift": {[]*tar.Header{file("top")}, ""},
	} {
		out, to := t.TempDir(), t.TempDir()
		if err := os.WriteFile(filepath.Join(out, "victim"), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range c.entries {
			h.Linkname = strings.Replace(h.Linkname, "/OUT", out, 1)
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if h.Typeflag == tar.TypeReg {
				_, _ = io.WriteString(w, "evil")
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		err := Unpack(&b, Target{Dir: to, Name: "copy"})
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %v, want %q", name, err, c.err)
		}
		if got := tree(t, out); len(got) != 2 || got["victim"] != "mine" {
			t.Errorf("%s: outside there is %v", name, got)
		}
		if st, err := os.Lstat(filepath.Join(to, "copy")); err == nil && st.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			t.Errorf("%s: %v", name, st.Mode())
		}
	}
	if err := Unpack(strings.NewReader("rubbish"), Target{Dir: t.TempDir(), Name: "x"}); !errdef.Is(err, errdef.Invalid) {
		t.Error(err)
	}
	if err := Unpack(strings.NewReader(""), Target{Dir: filepath.Join(t.TempDir(), "no"), Name: "x"}); !errdef.Is(err, errdef.NotFound) {
		t.Error(err)
	}
}
