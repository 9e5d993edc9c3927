package format_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0B", 999: "999B", 1000: "1kB", 1234: "1.23kB", 12345: "12.3kB", 999_499: "999kB", 999_500: "1MB", 7_049_688: "7.05MB", 101_000_000: "101MB",
		1_500_000_000: "1.5GB", 1 << 62: "4.61EB",
	} {
		if got := format.Bytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestDigits(t *testing.T) {
	for n, want := range map[int64]string{1_986_000: "1.986MB", 1000: "1kB", 999_940: "999.9kB", 999_960: "1MB", 123_456: "123.5kB", 12: "12B"} {
		if got := format.Digits(n, 4); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	const day = 24 * time.Hour
	for d, want := range map[time.Duration]string{
		0: "Less than a second", time.Second: "1 second", 59 * time.Second: "59 seconds", time.Minute: "About a minute", 59 * time.Minute: "59 minutes",
		time.Hour: "About an hour", 47 * time.Hour: "47 hours", 3 * day: "3 days", 20 * day: "2 weeks", 100 * day: "3 months", 1000 * day: "2 years",
	} {
		if got := format.Duration(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

var list = format.List{Columns: []format.Column{{Field: "ID", Header: "IMAGE ID"}, {Field: "Tag", Header: "TAG"}}, Extra: []format.Column{{Field: "Size", Header: "SIZE"}}}

var rows = []format.Row{{"ID": "abc", "Tag": "latest", "Size": "1kB"}, {"ID": "defg", "Tag": "ev\x1b]52;c;aGk=\x07il\t\n", "Size": "2kB"}}

func TestList(t *testing.T) {
	for _, c := range []struct{ format, want string }{
		{"", "IMAGE ID   TAG\nabc        latest\ndefg       ev\\x1b]52;c;aGk=\\ail\\t\\n\n"},
		{"table", "IMAGE ID   TAG\nabc        latest\ndefg       ev\\x1b]52;c;aGk=\\ail\\t\\n\n"},
		{`table {{.Size}}\t{{upper .ID}}`, "SIZE      IMAGE ID\n1kB       ABC\n2kB       DEFG\n"},
		{"{{.ID}}:{{.Size}}", "abc:1kB\ndefg:2kB\n"},
		{`{{.ID}}\t{{truncate .Tag 2}}|{{pad .ID 1 2}}|{{title "a b/cd"}}|{{join (split .ID "b") "-"}}`, "abc\tla| abc  |A B/Cd|a-c\ndefg\tev| defg  |A B/Cd|defg\n"},
		{"json", `{"ID":"abc","Size":"1kB","Tag":"latest"}` + "\n" + `{"ID":"defg","Size":"2kB","Tag":"ev\u001b]52;c;aGk=\u0007il\t\n"}` + "\n"},
	} {
		var b bytes.Buffer
		if err := list.Write(format.Out{Writer: &b}, c.format, rows); err != nil || b.String() != c.want {
			t.Errorf("--format %q: %v\n%q\nwant\n%q", c.format, err, b.String(), c.want)
		}
	}
}

func TestListTerminal(t *testing.T) {
	for _, f := range []string{"", "{{.Tag}}", "table {{.Tag}}", "{{json .}}", "{{.}}"} {
		var b bytes.Buffer
		if err := list.Write(format.Out{Writer: &b, Terminal: true}, f, rows); err != nil {
			t.Error(err)
		}
		if strings.ContainsAny(b.String(), "\x1b\x07\u009b") {
			t.Errorf("--format %q: raw: %q", f, b.String())
		}
	}
	var b bytes.Buffer
	if err := list.Write(format.Out{Writer: &b}, "{{.Tag}}", rows); err != nil || !strings.Contains(b.String(), "\x1b]52") {
		t.Errorf("a script does not get what there is: %q %v", b.String(), err)
	}
}

func TestListWrong(t *testing.T) {
	for f, want := range map[string]string{"{{": "unclosed action", "{{.Bogus}}": "no entry", "table {{.Bogus}}": "no entry", "{{nosuch .ID}}": "not defined"} {
		var b bytes.Buffer
		err := list.Write(format.Out{Writer: &b}, f, rows)
		if !errdef.Is(err, errdef.Invalid) || !strings.Contains(err.Error(), want) || errdef.Hint(err) == "" || b.Len() > 0 {
			t.Errorf("--format %q: %v, hint %q, wrote %q", f, err, errdef.Hint(err), b.String())
		}
	}
}

type inner struct {
	Labels map[string]string
	Cmd    []string
}

type outer struct {
	ID     string `json:"Id"`
	Config *inner
}

func TestValues(t *testing.T) {
	v := []any{outer{"sha256:1", &inner{map[string]string{"a.b": "c\u009b"}, []string{"sh", "-c"}}}}
	for _, c := range []struct{ format, want string }{
		{"{{.ID}}", "sha256:1\n"},
		{"{{.Id}}", "sha256:1\n"}, // only in the JSON
		{`{{index .Config.Labels "a.b"}}`, "c\u009b\n"},
		{`{{join .Config.Cmd " "}}`, "sh -c\n"},
		{"{{json .Config.Labels}}", `{"a.b":"c\u009b"}` + "\n"},
		{"json", `{"Id":"sha256:1","Config":{"Labels":{"a.b":"c\u009b"},"Cmd":["sh","-c"]}}` + "\n"},
		{"", "[\n    {\n        \"Id\": \"sha256:1\",\n        \"Config\": {\n            \"Labels\": {\n                \"a.b\": \"c\\u009b\"\n            },\n            \"Cmd\": [\n                \"sh\",\n                \"-c\"\n            ]\n        }\n    }\n]\n"},
	} {
		var b bytes.Buffer
		if err := format.Values(format.Out{Writer: &b}, c.format, v); err != nil || b.String() != c.want {
			t.Errorf("--format %q: %v\n%q\nwant\n%q", c.format, err, b.String(), c.want)
		}
	}
	var b bytes.Buffer
	if err := format.Values(format.Out{Writer: &b}, "", nil); err != nil || b.String() != "[]\n" {
		t.Errorf("nothing: %q %v", b.String(), err)
	}
	if err := format.Values(format.Out{Writer: &b}, "{{.Nope}}", v); !errdef.Is(err, errdef.Invalid) {
		t.Error(err)
	}
}
