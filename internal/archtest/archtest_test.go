package archtest_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/bulkhead-engine/bulkhead/internal/archtest"
)

const (
	module = "github.com/bulkhead-engine/bulkhead"
	root   = "../.."
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestRepository holds this repository to its own page.
func TestRepository(t *testing.T) {
	where, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := archtest.Load(os.DirFS(root), archtest.Options{Module: module, Root: where})
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(root + "/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := archtest.ParseTable(string(page))
	if err != nil {
		t.Fatalf("ARCHITECTURE.md: %v", err)
	}
	if len(tree.Packages) < 5 {
		t.Fatalf("only %d packages seen: the test looks at the wrong tree", len(tree.Packages))
	}
	for _, f := range archtest.Check(tree, rows) {
		t.Error(f)
	}
}

// TestViolations hands the checks one broken tree per rule. The comment of each archive lists the findings that must come, a prefix
// each, and no others may.
func TestViolations(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			fsys := fstest.MapFS{}
			for _, f := range archive.Files {
				fsys[f.Name] = &fstest.MapFile{Data: expand(f.Data), Mode: 0o644}
			}
			var want []string
			for _, line := range strings.Split(string(archive.Comment), "\n") {
				if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
					want = append(want, line)
				}
			}
			compare(t, findings(t, fsys), want)
		})
	}
}

// expand writes out what a fixture abbreviates: a line `...N` stands for N lines.
func expand(data []byte) []byte {
	lines := strings.Split(string(data), "\n")
	var out []string
	for _, line := range lines {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "..."); ok && rest != "" {
			n := 0
			for _, c := range rest {
				n = n*10 + int(c-'0')
			}
			for range n {
				out = append(out, "// line")
			}
			continue
		}
		out = append(out, line)
	}
	return []byte(strings.Join(out, "\n"))
}

func findings(t *testing.T, fsys fstest.MapFS) []string {
	t.Helper()
	tree, err := archtest.Load(fsys, archtest.Options{Module: "example.org/m", Root: "/home/dev/m"})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := archtest.ParseTable(string(fsys["ARCHITECTURE.md"].Data))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range archtest.Check(tree, rows) {
		got = append(got, f.String())
	}
	return got
}

func compare(t *testing.T, got, want []string) {
	t.Helper()
	for _, w := range want {
		i := 0
		for i < len(got) && !strings.HasPrefix(got[i], w) {
			i++
		}
		if i == len(got) {
			t.Errorf("not found: %s", w)
			continue
		}
		got = append(got[:i:i], got[i+1:]...)
	}
	for _, g := range got {
		t.Errorf("not wanted: %s", g)
	}
}

// TestTable shows that a page whose table cannot be read is refused and not taken for an empty one.
func TestTable(t *testing.T) {
	const header = "| package | what lives there | may import |\n|---|---|---|\n"
	for _, c := range []struct{ name, page, want string }{
		{"no table", "# Page\n", "no line"},
		{"two tables", header + "\n" + header, "second time"},
		{"two cells", header + "| `a` | b |\n", "2 cells"},
		{"no package", header + "| a | b | - |\n", "one backquoted"},
		{"nothing said", header + "| `a` |  | - |\n", "nothing said"},
		{"imports not quoted", header + "| `a` | b | errdef |\n", "backquoted imports"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := archtest.ParseTable(c.page); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	rows, err := archtest.ParseTable(header + "| `internal/a` | one | `b/c`, `golang.org/x/sys`, `test/d` |\n| `cmd/x` | two | - |\n\n| `no` |\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []archtest.Row{
		{Package: "internal/a", What: "one", Imports: []string{"internal/b/c", "golang.org/x/sys", "test/d"}, Line: 3},
		{Package: "cmd/x", What: "two", Line: 4},
	}
	if d := cmp.Diff(want, rows); d != "" {
		t.Error(d)
	}
}

// TestHotPath compares what each program on the hot path links with its golden file, test/golden/deps-NAME.txt. After a wanted change:
// go test ./internal/archtest -run HotPath -update.
func TestHotPath(t *testing.T) {
	for name, heavy := range map[string][]string{
		"bulkhead-runtime": nil,
		// It speaks HTTP and JSON with registries, and has templates; go-digest brings regexp. All of it is 1 ms of its start.
		"bulkhead": {"encoding/json", "net", "net/http", "os/user", "regexp", "text/template"},
	} {
		t.Run(name, func(t *testing.T) {
			deps, err := archtest.HotPath(root, "./cmd/"+name)
			if err != nil {
				t.Fatal(err)
			}
			for _, pkg := range archtest.Weight(deps) {
				if !slices.Contains(heavy, pkg) {
					t.Errorf("%s links %s: `go list -deps -json ./cmd/%s` shows who imports it", name, pkg, name)
				}
			}
			got := []byte(strings.Join(deps, "\n") + "\n")
			golden := root + "/test/golden/deps-" + name + ".txt"
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("what %s links has changed (-update accepts it):\n%s", name, cmp.Diff(string(want), string(got)))
			}
		})
	}
}

// TestWeight shows that weight is seen: a program that links a heavy package is told apart from one that does not.
func TestWeight(t *testing.T) {
	deps, err := archtest.HotPath(root, "encoding/json")
	if err != nil {
		t.Fatal(err)
	}
	if got := archtest.Weight(deps); len(got) != 1 || got[0] != "encoding/json" {
		t.Errorf("weight of encoding/json: %v", got)
	}
	if got := archtest.Weight([]string{"fmt", "os", "regexp/syntax"}); len(got) != 0 {
		t.Errorf("weight of fmt, os: %v", got)
	}
}
