package progress_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/cli/progress"
)

func show(d *progress.Display) {
	d.Show(progress.Event{ID: "latest", Action: "Pulling from library/x"})
	for _, id := range []string{"aaa", "bbb"} {
		d.Show(progress.Event{ID: id, Action: "Pulling fs layer"})
	}
	for n := int64(0); n <= 1000; n += 100 {
		d.Show(progress.Event{ID: "aaa", Action: "Downloading", Current: n, Total: 1000})
	}
	d.Show(progress.Event{ID: "aaa", Action: "Pull complete"})
	d.Show(progress.Event{ID: "bbb", Action: "Pull\x1b[31m complete"})
	d.Show(progress.Event{Action: "1: digest: sha256:0", Total: 7})
}

func TestPlain(t *testing.T) {
	var b bytes.Buffer
	d := progress.New(&b, progress.Options{})
	show(d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	want := "latest: Pulling from library/x\naaa: Pulling fs layer\nbbb: Pulling fs layer\naaa: Pull complete\nbbb: Pull\\x1b[31m complete\n1: digest: sha256:0 size: 7\n"
	if b.String() != want {
		t.Errorf("got %q\nwant %q", b.String(), want)
	}
}

// screen is what a terminal of some rows shows after it got the text, with what has scrolled away above. It knows what a Display writes.
func screen(t *testing.T, text string, columns, rows int) []string {
	t.Helper()
	lines := []string{""}
	at := 0
	for i := 0; i < len(text); {
		switch rest := text[i:]; {
		case rest[0] == '\n':
			at++
			if at == len(lines) {
				lines = append(lines, "")
			}
			i++
		case rest[0] == '\r':
			i++
		case strings.HasPrefix(rest, "\x1b[J"):
			lines = lines[:at+1]
			lines[at] = ""
			i += 3
		case rest[0] == 0x1b:
			n := 0
			end := strings.IndexByte(rest, 'A')
			for _, c := range rest[2:end] {
				n = n*10 + int(c-'0')
			}
			if n >= rows {
				t.Fatalf("up by %d in a terminal of %d rows", n, rows)
			}
			at -= n
			i += end + 1
		default:
			lines[at] += rest[:1]
			if len(lines[at]) >= columns {
				t.Fatalf("a line wraps: %q", lines[at])
			}
			i++
		}
	}
	return lines
}

func TestTerminal(t *testing.T) {
	var b bytes.Buffer
	d := progress.New(&b, progress.Options{Size: func() (int, int) { return 60, 10 }})
	show(d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "aaa: Downloading  [") {
		t.Errorf("no bar: %q", b.String())
	}
	got := strings.Join(screen(t, b.String(), 60, 10), "\n")
	want := "latest: Pulling from library/x\naaa: Pull complete\nbbb: Pull\\x1b[31m complete\n1: digest: sha256:0 size: 7\n"
	if got != want {
		t.Errorf("the terminal shows:\n%s\nwant:\n%s", got, want)
	}
}

func TestManyLayers(t *testing.T) {
	var b bytes.Buffer
	d := progress.New(&b, progress.Options{Size: func() (int, int) { return 40, 5 }})
	var ids []string
	for i := range 40 {
		ids = append(ids, "layer"+string(rune('A'+i/26))+string(rune('a'+i%26)))
	}
	for _, id := range ids {
		d.Show(progress.Event{ID: id, Action: "Pulling fs layer"})
	}
	for _, id := range ids {
		d.Show(progress.Event{ID: id, Action: "Downloading", Current: 1, Total: 2})
		d.Show(progress.Event{ID: id, Action: "Pull complete"})
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(screen(t, b.String(), 40, 5), "\n")
	for _, id := range ids {
		if n := strings.Count(text, id+": Pull complete"); n != 1 {
			t.Errorf("%s is shown %d times", id, n)
		}
	}
}

// TestAbove: a warning that comes while lines move stands above them, and does not move them.
func TestAbove(t *testing.T) {
	for _, o := range []progress.Options{{}, {Size: func() (int, int) { return 60, 10 }}} {
		var b bytes.Buffer
		d := progress.New(&b, o)
		d.Show(progress.Event{ID: "latest", Action: "Pulling from x"})
		for _, id := range []string{"aaa", "bbb"} {
			d.Show(progress.Event{ID: id, Action: "Pulling fs layer"})
		}
		d.Above(func() { b.WriteString("warning\n") })
		d.Show(progress.Event{ID: "aaa", Action: "Pull complete"})
		d.Show(progress.Event{ID: "bbb", Action: "Pull complete"})
		d.Show(progress.Event{Action: "Status: done"})
		d.Above(func() { b.WriteString("late\n") })
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		want := "latest: Pulling from x\nwarning\naaa: Pull complete\nbbb: Pull complete\nStatus: done\nlate\n"
		got := b.String()
		if o.Size == nil {
			want = "latest: Pulling from x\naaa: Pulling fs layer\nbbb: Pulling fs layer\nwarning\naaa: Pull complete\nbbb: Pull complete\nStatus: done\nlate\n"
		} else {
			got = strings.Join(screen(t, got, 60, 10), "\n")
		}
		if got != want {
			t.Errorf("shown:\n%s\nwant:\n%s", got, want)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestBroken(t *testing.T) {
	d := progress.New(broken{}, progress.Options{})
	show(d)
	if err := d.Close(); err == nil {
		t.Error("what could not be written is no error")
	}
}
