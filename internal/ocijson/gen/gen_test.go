package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/internal/ocijson/gen/testdata/inner"
	"github.com/bulkhead-engine/bulkhead/internal/ocijson/gen/testdata/record"
)

// TestFresh wants the generated files to be what the generator makes today.
func TestFresh(t *testing.T) {
	for dir, source := range map[string]string{"..": "doc.go", "testdata/record": "record.go", "testdata/inner": "inner.go"} {
		src, err := os.ReadFile(filepath.Join(dir, source))
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for line := range strings.Lines(string(src)) {
			words := strings.Fields(line)
			if len(words) < 4 || words[0] != "//go:generate" {
				continue
			}
			seen++
			args := map[string]string{"-out": "z_json"}
			for i := 4; i+1 < len(words); i += 2 {
				args[words[i]] = words[i+1]
			}
			files, err := generate(dir, args["-pkg"], args["-type"], args["-out"])
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range files {
				got, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s/%s is stale, run go generate (%v)", dir, name, err)
				}
			}
			on, err := filepath.Glob(filepath.Join(dir, args["-out"]+"*.go"))
			if err != nil || len(on) != len(files) {
				t.Errorf("%s: %d files, want %d: %q (%v)", dir, len(on), len(files), on, err)
			}
		}
		if seen == 0 {
			t.Errorf("%s/%s has no go:generate line", dir, source)
		}
	}
}

// TestRefused wants an error for what would otherwise be left out or written wrong.
func TestRefused(t *testing.T) {
	for typ, want := range map[string]string{
		"Array":   "[2]int is not supported",
		"Bytes":   "[]byte is not supported",
		"Raw":     "[]uint8 is not supported",
		"IntKeys": "map[int]string is not supported",
		"Anon":    "struct{A int} is not supported",
		"Chan":    "chan int is not supported",
		"Func":    "func() is not supported",
		"Float32": "float32 is not supported",
		"Uintptr": "uintptr is not supported",
		"Complex": "complex128 is not supported",
		"Iface":   "is not supported",
		"Option":  `option "string" is not supported`,
		"Zero":    "omitzero is supported for time.Time only",
		"Escape":  "would need escapes",
		"Twice":   "two fields are named X",
		"Number":  "not a struct",
		"Embed":   "embedded, and not a plain struct",
		"EmbedP":  "embedded, and not a plain struct",
		"Custom":  "has a method MarshalText",
		"Whole":   "has a method UnmarshalJSON",
		"Deep":    "[2]int is not supported",
		"Missing": "no type Missing",
		"":        "-type is missing",
	} {
		files, err := generate("testdata/refused", "", typ, "z_json")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %d files, %v, want %q", typ, len(files), err, want)
		}
	}
	if _, err := generate("testdata/record", "example.com/none", "X", "z_json"); err == nil {
		t.Error("a package that is not there: accepted")
	}
}

// TestRecord runs code that was generated outside of ocijson against encoding/json.
func TestRecord(t *testing.T) {
	five, yes, limit := 5, true, int64(-1)
	yesPtr := &yes
	full := record.Record{
		Base: record.Base{ID: "x"}, Mode: "m", Yes: true, I16: -32768, U8: 255, F: 1e-9, When: time.Unix(1, 5).UTC(), Never: time.Unix(2, 0).UTC(),
		Any: []any{1.0, "a", nil, map[string]any{"k": true}}, Ptr: &five, PtrPtr: &yesPtr, Leaf: record.Leaf{N: -128},
		Leaves: []record.Leaf{{N: 1}, {N: 2}}, LeafPtrs: []*record.Leaf{nil, {N: 3}}, Modes: []record.Mode{"a", ""}, Ints: []int64{1, -2},
		Grid: [][]uint32{{1}, {}, nil}, Tags: map[string]string{"b": "1", "a": "2"}, ByName: map[string]record.Leaf{"x": {N: 1}},
		Lists: map[string][]string{"l": {"a"}, "n": nil}, Ptrs: map[string]*inner.Part{"p": {Name: "q"}, "nil": nil},
		Part: inner.Part{Name: "n"}, Limits: &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}},
		Self: &record.Record{NoTag: "inside"}, NoTag: "t",
	}
	for _, r := range []record.Record{{}, full} {
		want, err := json.Marshal(&r)
		if err != nil {
			t.Fatal(err)
		}
		if got := record.AppendRecord(nil, &r); !bytes.Equal(got, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		var ours, theirs record.Record
		if err := record.UnmarshalRecord(want, &ours); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(want, &theirs); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(ours, theirs) {
			t.Errorf("got  %+v\nwant %+v", ours, theirs)
		}
	}
	var tiny record.Small
	if err := record.UnmarshalTiny([]byte(`{"a":7}`), &tiny); err != nil || string(record.AppendTiny(nil, &tiny)) != `{"a":7}` {
		t.Errorf("%+v, %v", tiny, err)
	}
	err := record.UnmarshalRecord([]byte(`{"self":{"ptrs":{"p":{"name":1}}}}`), new(record.Record))
	if err == nil || err.Error() != "self.ptrs.p.name: want a string, found a number (line 1, column 30)" {
		t.Errorf("got %v", err)
	}
}

// TestRun writes files, and takes away those of an earlier run that are no longer needed.
func TestRun(t *testing.T) {
	// In the module, as the type checker must find its imports; the name begins with a dot, so that nothing else sees it.
	dir, err := os.MkdirTemp("testdata", ".run")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("a.go", "// Package a is made by a test.\npackage a\n\ntype T struct{ A []string }\n\nvar _ = DecodeT // not there yet\n")
	write("z_json2.go", "old")
	write("z_json_other.go", "package a\n")
	if err := run(dir, "", "T", "z_json"); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "z_*"))
	if err != nil || len(names) != 2 || filepath.Base(names[0]) != "z_json.go" || filepath.Base(names[1]) != "z_json_other.go" {
		t.Errorf("files %q, %v", names, err)
	}
}
