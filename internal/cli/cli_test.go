package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/image"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestWord(t *testing.T) {
	for line, want := range map[string]string{
		"": "", "pull": "pull", "--debug pull x": "pull", "--root /x pull": "pull", "--root=/x images": "images", "-l debug images": "images", "-D -H x rmi": "rmi",
		"-- pull": "", "--root": "", "--config pull": "",
	} {
		if got, _ := word(strings.Fields(line)); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// TestWordKnowsFlags: a global flag that takes a value must be among those whose value is left out.
func TestWordKnowsFlags(t *testing.T) {
	p := &program{}
	root := p.root(nil)
	known := func(name string) bool { return slices.Contains(withValue, name) }
	for _, f := range allFlags(root) {
		if f.NoOptDefVal == "" != known("--"+f.Name) {
			t.Errorf("--%s: takes a value: %v, known to: %v", f.Name, f.NoOptDefVal == "", known("--"+f.Name))
		}
		if f.Shorthand != "" && f.NoOptDefVal == "" != known("-"+f.Shorthand) {
			t.Errorf("-%s", f.Shorthand)
		}
	}
}

// allFlags are those of a command, hidden ones included.
func allFlags(c *cobra.Command) []*pflag.Flag {
	var out []*pflag.Flag
	add := func(f *pflag.Flag) { out = append(out, f) }
	c.PersistentFlags().VisitAll(add)
	c.Flags().VisitAll(add)
	return out
}

func TestNearest(t *testing.T) {
	known := []string{"pull", "push", "images", "image", "history", "rmi"}
	for word, want := range map[string]string{"pul": "pull", "psuh": "push", "imagse": "images", "hist": "history", "xyz": "", "rm": "rmi", "ab": "", strings.Repeat("x", 1000): ""} {
		if got := nearest(word, known); got != want {
			t.Errorf("%.20q: %q, want %q", word, got, want)
		}
	}
}

// TestOneCommandIsBuilt: a command line that names a command builds no other.
func TestOneCommandIsBuilt(t *testing.T) {
	for line, want := range map[string]int{"pull x": 1, "image ls": 1, "": len(commands()), "help": len(commands()), "__complete p": len(commands())} {
		p := &program{}
		if got := len(p.root(strings.Fields(line)).Commands()); got != want {
			t.Errorf("%q: %d commands, want %d", line, got, want)
		}
	}
	p := &program{}
	if got := len(p.root([]string{"--root", "/x", "image", "ls"}).Commands()[0].Commands()); got != 1 {
		t.Errorf("image ls: %d commands of image", got)
	}
}

// TestEveryCommand: each has a line, a use that says what it takes, and flags with a text that begins small, as in the help of all.
func TestEveryCommand(t *testing.T) {
	p := &program{}
	root := p.root(nil)
	var all []*cobra.Command
	for _, c := range root.Commands() {
		if more := p.root([]string{c.Name()}).Commands()[0].Commands(); len(more) > 0 && c.Args == nil { // a group
			all = append(all, more...)
			continue
		}
		all = append(all, c)
	}
	for _, c := range all {
		if c.Short == "" || c.Args == nil || !strings.Contains(c.Use, "[OPTIONS]") {
			t.Errorf("%s: %q %q", c.Name(), c.Use, c.Short)
		}
		for _, f := range allFlags(c) {
			if f.Usage == "" || f.Hidden && f.Name != "multi-image-archive" && f.Name != "log" && !strings.HasPrefix(f.Usage, "refused: ") && !strings.HasPrefix(f.Usage, "the same") {
				t.Errorf("%s --%s: %q", c.Name(), f.Name, f.Usage)
			}
		}
	}
}

func TestSummaryRows(t *testing.T) {
	const d = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	s := &image.Summary{ID: d, RepoTags: []string{"a:1", "a:2", "quay.io/b:1"}, RepoDigests: []string{"a@" + d, "c@" + d}}
	var got []string
	for _, r := range summaryRows(s, &listFlags{}) {
		got = append(got, r["Repository"].(string)+" "+r["Tag"].(string)+" "+r["Digest"].(string)+" "+r["ID"].(string)+" "+r["CreatedSince"].(string))
	}
	want := []string{"a 1 " + d, "a 2 " + d, "quay.io/b 1 <none>", "c <none> " + d}
	for i := range want {
		want[i] += " aaaaaaaaaaaa N/A"
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if rows := summaryRows(&image.Summary{ID: d}, &listFlags{noTrunc: true}); len(rows) != 1 || rows[0]["Repository"] != none || rows[0]["ID"] != d {
		t.Errorf("%v", rows)
	}
}

// TestSay: what is said of errors, of several and of very long ones.
func TestSay(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{errdef.WithHint(errors.New("a: b"), "do c"), "bulkhead: a: b\nhint: do c\n"},
		{errors.Join(errors.New("a"), errors.New("b\x1b[0m")), "bulkhead: a\nbulkhead: b\\x1b[0m\n"},
		{errdef.WithKind(errdef.Invalid, errors.Join(errors.New("a"), errors.New("b"))), "bulkhead: a; b\n"},
		{&statusError{status: 1}, ""},
		{&statusError{1, errdef.WithHint(errors.New("a"), "b")}, "bulkhead: a\nhint: b\n"},
	} {
		var b bytes.Buffer
		p := &program{errs: &b}
		p.say(c.err)
		if b.String() != c.want {
			t.Errorf("%q, want %q", b.String(), c.want)
		}
	}
	var b bytes.Buffer
	p := &program{errs: &b}
	p.say(errors.New("begin " + strings.Repeat("ü", 1<<20) + " end"))
	if got := b.String(); len(got) > 5000 || !strings.HasPrefix(got, "bulkhead: begin ") || !strings.HasSuffix(got, " end\n") {
		t.Errorf("%d bytes", len(got))
	}
}

// TestReadable: all bytes of a pipe in their order, and none after the end of the context.
func TestReadable(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(context.Background())
	in := readable(ctx, r)
	want := bytes.Repeat([]byte("0123456789abcdef"), 50_000)
	go func() {
		_, _ = w.Write(want)
	}()
	got := make([]byte, 0, len(want))
	b := make([]byte, 777)
	for len(got) < len(want) {
		n, err := in.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b[:n]...)
	}
	if !bytes.Equal(got, want) {
		t.Error("other bytes came out")
	}
	time.AfterFunc(20*time.Millisecond, cancel)
	if n, err := in.Read(b); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d %v", n, err)
	}
	_ = w.Close()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := readable(ctx, f).Read(b); !errors.Is(err, context.Canceled) {
		t.Errorf("a file: %v", err)
	}
	if n, err := readable(context.Background(), f).Read(b); n != 1 || err != nil {
		t.Errorf("a file: %d %v", n, err)
	}
}

func TestColumnsOfTables(t *testing.T) {
	for name, l := range map[string]format.List{"history": historyList(true), "tags": tagsList, "mounts": mountList} {
		var b bytes.Buffer
		if err := l.Write(format.Out{Writer: &b}, "", nil); err != nil || strings.Count(b.String(), "\n") != 1 {
			t.Errorf("%s: %q %v", name, b.String(), err)
		}
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"24h": now.Add(-24 * time.Hour), "10m": now.Add(-10 * time.Minute), "2026-01-31T13:00:00Z": time.Date(2026, 1, 31, 13, 0, 0, 0, time.UTC),
		"2026-01-31": time.Date(2026, 1, 31, 0, 0, 0, 0, time.Local), "2026-01-31T13:05": time.Date(2026, 1, 31, 13, 5, 0, 0, time.Local), "1769817600": time.Unix(1769817600, 0),
		"1769817600.5": time.Unix(1769817600, 5e8),
	} {
		if got, err := parseTime(s, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "soon", "-1", "1e300", "2026-13-01", "NaN"} {
		if got, err := parseTime(s, now); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%q: %v %v", s, got, err)
		}
	}
}
