package printable_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bulkhead-engine/bulkhead/internal/cli/printable"
)

func TestLineAndText(t *testing.T) {
	for _, c := range []struct{ in, line, text string }{
		{"", "", ""},
		{"plain ~", "plain ~", "plain ~"},
		{"grüße 日本 🙂", "grüße 日本 🙂", "grüße 日本 🙂"},
		{"a\x1b[31mb", `a\x1b[31mb`, `a\x1b[31mb`},
		{"a\nb\tc\r", `a\nb\tc\r`, "a\nb\tc" + `\r`},
		{"\u009b2J\u0085", `\u009b2J\u0085`, `\u009b2J\u0085`},
		{"\x9b2J", `\x9b2J`, `\x9b2J`},
		{"user\u202egnp.exe\u2066", `user\u202egnp.exe\u2066`, `user\u202egnp.exe\u2066`},
		{"a\u2028b\x7f\x00", `a\u2028b\x7f\x00`, `a\u2028b\x7f\x00`},
		{"\xe2\x82", `\xe2\x82`, `\xe2\x82`},
		{"tag\U000e0041", `tag\U000e0041`, `tag\U000e0041`},
		{"👩\u200d🚀", "👩\u200d🚀", "👩\u200d🚀"},
	} {
		if got := printable.Line(c.in); got != c.line {
			t.Errorf("Line(%q) = %q, want %q", c.in, got, c.line)
		}
		if got := printable.Text(c.in); got != c.text {
			t.Errorf("Text(%q) = %q, want %q", c.in, got, c.text)
		}
	}
}

func TestWriterInParts(t *testing.T) {
	const in = "grüße \u009b 日本\x1b[0m\n\xff🙂\xe2\x82"
	for step := 1; step < 6; step++ {
		var b bytes.Buffer
		w := printable.NewWriter(&b)
		for i := 0; i < len(in); i += step {
			if n, err := w.Write([]byte(in[i:min(len(in), i+step)])); err != nil || n == 0 {
				t.Fatal(n, err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if got, want := b.String(), printable.Text(in); got != want {
			t.Errorf("in steps of %d: %q, want %q", step, got, want)
		}
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{"plain", "\u009b2J\x7f", "\u202e", "tag\U000e0041", "\xff\xfe", "\u2028", "\"\\\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		data, err := json.Marshal(map[string]string{"label": s})
		if err != nil {
			t.Fatal(err)
		}
		safe := printable.JSON(data)
		var was, is map[string]string
		if err := json.Unmarshal(data, &was); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(safe, &is); err != nil {
			t.Fatalf("%s: %v", safe, err)
		}
		if was["label"] != is["label"] {
			t.Errorf("%q became %q", was["label"], is["label"])
		}
		if text := string(safe); printable.Line(text) != text || !utf8.ValidString(text) || strings.ContainsAny(text, "\x1b\u009b\u202e") {
			t.Errorf("hostile: %q", safe)
		}
	})
}
