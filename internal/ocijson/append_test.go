package ocijson

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestState wants the fields that hooks, containerd and runc's callers read, under these names and in this order.
func TestState(t *testing.T) {
	s := specs.State{Version: "1.3.0", ID: "web", Status: specs.StateRunning, Pid: 7, Bundle: "/b", Annotations: map[string]string{"z": "1", "a": "\x1b"}}
	const want = `{"ociVersion":"1.3.0","id":"web","status":"running","pid":7,"bundle":"/b","annotations":{"a":"\u001b","z":"1"}}`
	if got := string(AppendState(nil, &s)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := string(AppendState([]byte("x"), &specs.State{Status: specs.StateStopped})); got != `x{"ociVersion":"","id":"","status":"stopped","bundle":""}` {
		t.Errorf("got %s", got)
	}
}

// TestAppendString wants text that a terminal can show and any reader takes for the same string.
func TestAppendString(t *testing.T) {
	for s, want := range map[string]string{
		"":                       `""`,
		"a b/c<&>'":              `"a b/c<&>'"`,
		"\"\\":                   `"\"\\"`,
		"\n\r\t\b\f\x00\x1b":     `"\n\r\t\u0008\u000c\u0000\u001b"`,
		"\x7f\u0080\u009b\u00a0": "\"\\u007f\\u0080\\u009b\u00a0\"",
		"é😀\u2028\u2029":         "\"é😀\\u2028\\u2029\"",
		"a\xffb\xc0\x80":         `"a\ufffdb\ufffd\ufffd"`,
		"\xed\xa0\x80":           `"\ufffd\ufffd\ufffd"`,
		"\ufffd":                 "\"\ufffd\"",
	} {
		got := string(AppendString(nil, s))
		if got != want {
			t.Errorf("%q: got %s, want %s", s, got, want)
		}
		var a, b string
		std, _ := json.Marshal(s)
		if json.Unmarshal([]byte(got), &a) != nil || json.Unmarshal(std, &b) != nil || a != b {
			t.Errorf("%q: %q, encoding/json %q", s, a, b)
		}
	}
}

func TestAppendFloat(t *testing.T) {
	for _, f := range []float64{0, 1, -1.5, 1e-7, 1e-6, 1e20, 1e21, math.MaxFloat64, math.SmallestNonzeroFloat64, 0.1} {
		var back float64
		if err := json.Unmarshal(AppendFloat(nil, f), &back); err != nil || back != f {
			t.Errorf("%v: %s, %v", f, AppendFloat(nil, f), err)
		}
	}
	for _, f := range []float64{math.Inf(1), math.Inf(-1), math.NaN()} {
		if got := string(AppendFloat(nil, f)); got != "null" {
			t.Errorf("%v: %s", f, got)
		}
	}
}

func TestTime(t *testing.T) {
	want := time.Date(2026, 8, 1, 12, 30, 0, 5, time.FixedZone("", 7200))
	var got time.Time
	if err := Unmarshal(AppendTime(nil, want), &got, ReadTime); err != nil || !got.Equal(want) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{`"yesterday"`, `1`, `"2026-08-01"`, `""`} {
		if err := Unmarshal([]byte(bad), &got, ReadTime); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

// TestIndent lays out as encoding/json does, which is what runc prints.
func TestIndent(t *testing.T) {
	docs := [][]byte{[]byte(`{}`), []byte(`[]`), []byte(`{"a":[],"b":{},"c":[1,{"d":"{[,:\"\\"}],"e":null}`), []byte(`"x\\"`)}
	for _, file := range []string{"docker.json", "podman.json", "runc-spec.json"} {
		data, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var spec specs.Spec
		if err := UnmarshalSpec(data, &spec); err != nil {
			t.Fatal(err)
		}
		docs = append(docs, AppendSpec(nil, &spec))
	}
	for _, doc := range docs {
		var want bytes.Buffer
		if err := json.Indent(&want, doc, "", "\t"); err != nil {
			t.Fatal(err)
		}
		if got := AppendIndent(nil, doc, "\t"); !bytes.Equal(got, want.Bytes()) {
			t.Errorf("got  %s\nwant %s", got, want.Bytes())
		}
	}
}
