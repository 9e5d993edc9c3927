package ocijson

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"pgregory.net/rapid"
)

// agree checks what holds for every document: what we accept, encoding/json accepts with the same result; what we refuse, it refuses
// too, unless for a reason that the package comment names.
func agree[T any](t interface{ Fatalf(string, ...any) }, data []byte, unmarshal func([]byte, *T) error, appendTo func([]byte, *T) []byte) {
	var ours, theirs T
	err := unmarshal(data, &ours)
	stdErr := json.Unmarshal(data, &theirs)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("error %v has no *Error in its chain", err)
		}
		if e.Offset < 0 || e.Offset > len(data) || e.Line < 1 || e.Column < 1 {
			t.Fatalf("error %v at offset %d of %d", err, e.Offset, len(data))
		}
		if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("error %q is not printable", err.Error())
		}
		if e.class >= classDuplicate {
			return
		}
		if stdErr == nil {
			t.Fatalf("refused %q: %v; encoding/json accepts it", data, err)
		}
		return
	}
	if stdErr != nil {
		t.Fatalf("accepted %q; encoding/json: %v", data, stdErr)
	}
	if !reflect.DeepEqual(ours, theirs) {
		t.Fatalf("document %q:\n ours   %+v\n theirs %+v", data, ours, theirs)
	}
	roundTrip(t, &ours, appendTo)
}

// roundTrip checks that encoding/json reads what we write as what it would have written itself.
func roundTrip[T any](t interface{ Fatalf(string, ...any) }, v *T, appendTo func([]byte, *T) []byte) {
	ours := appendTo(nil, v)
	theirs, err := json.Marshal(v)
	if err != nil {
		return // JSON has no such value: a NaN
	}
	var a, b any
	if err := json.Unmarshal(ours, &a); err != nil {
		t.Fatalf("wrote %q: %v", ours, err)
	}
	if err := json.Unmarshal(theirs, &b); err != nil {
		t.Fatalf("encoding/json: %v", err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Fatalf("wrote\n %s\nencoding/json\n %s", ours, theirs)
	}
	// The same members in the same order: one that is written twice would not show above.
	var compact bytes.Buffer
	if err := json.Compact(&compact, theirs); err != nil {
		t.Fatalf("%v", err)
	}
	if x, y := skeleton(ours), skeleton(compact.Bytes()); x != y {
		t.Fatalf("order of members:\n ours   %s\n theirs %s", x, y)
	}
}

// skeleton drops the contents of strings.
func skeleton(b []byte) string {
	var out []byte
	for i := 0; i < len(b); i++ {
		out = append(out, b[i])
		if b[i] == '"' {
			end := stringEnd(b, i)
			if end < len(b) && b[end] == ':' {
				var name string
				_ = json.Unmarshal(b[i:end], &name)
				out = append(out, name...)
			}
			i = end - 1
		}
	}
	return string(out)
}

// fill makes a value of any type that the generator supports.
func fill(t *rapid.T, v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "/dev/null", "a\"b\\c", "\x00\x1f\x7f", "\u0085\u2028😀", "<&>"})).Draw(t, "s"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "b"))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n := rapid.Int64().Draw(t, "i")
		v.SetInt(n >> (64 - v.Type().Bits()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n := rapid.Uint64().Draw(t, "u")
		v.SetUint(n >> (64 - v.Type().Bits()))
	case reflect.Interface:
		v.Set(reflect.ValueOf(rapid.SampledFrom([]any{true, 1.5, "x", []any{nil, -1e30, map[string]any{"k": "v"}}}).Draw(t, "any")))
	case reflect.Pointer:
		if depth < 8 && rapid.Bool().Draw(t, "ptr") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem(), depth+1)
		}
	case reflect.Slice:
		for range rapid.IntRange(0, 2).Draw(t, "len") {
			e := reflect.New(v.Type().Elem()).Elem()
			fill(t, e, depth+1)
			v.Set(reflect.Append(v, e))
		}
	case reflect.Map:
		if n := rapid.IntRange(0, 3).Draw(t, "len"); n > 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for range n {
				e := reflect.New(v.Type().Elem()).Elem()
				fill(t, e, depth+1)
				v.SetMapIndex(reflect.ValueOf(rapid.String().Draw(t, "key")), e)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), depth+1)
		}
	}
}

func differential[T any](t *testing.T, unmarshal func([]byte, *T) error, appendTo func([]byte, *T) []byte) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		var v T
		fill(t, reflect.ValueOf(&v).Elem(), 0)
		roundTrip(t, &v, appendTo)
		data, err := json.Marshal(&v)
		if err != nil {
			t.Fatal(err)
		}
		var back T
		if err := unmarshal(data, &back); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		agree(t, data, unmarshal, appendTo)
		agree(t, AppendIndent(nil, appendTo(nil, &v), "\t"), unmarshal, appendTo)
		agree(t, mutate(t, data), unmarshal, appendTo)
	})
}

// upper is bytes.ToUpper for ASCII: the length stays.
func upper(b []byte) []byte {
	out := bytes.Clone(b)
	for i, c := range out {
		if 'a' <= c && c <= 'z' {
			out[i] = c - 'a' + 'A'
		}
	}
	return out
}

// mutate breaks a document a little.
func mutate(t *rapid.T, data []byte) []byte {
	data = bytes.Clone(data)
	for range rapid.IntRange(1, 3).Draw(t, "edits") {
		i := rapid.IntRange(0, len(data)-1).Draw(t, "at")
		if rapid.Bool().Draw(t, "case") {
			end := min(i+rapid.IntRange(1, 20).Draw(t, "letters"), len(data))
			copy(data[i:end], upper(data[i:end]))
			continue
		}
		part := rapid.SampledFrom([]string{
			"", "null", "0", "-0", "01", "1.0", "1e3", "-1", "{", "}", "[", "]", ",", ":", `"`, `\`, `\u00`, `\ud800`, "\xff", "true", "nul",
			"18446744073709551616", `"a":1,`, " ", "\t", "\x00",
		}).Draw(t, "part")
		cut := rapid.IntRange(0, 3).Draw(t, "cut")
		data = append(data[:i:i], append([]byte(part), data[min(i+cut, len(data)):]...)...)
		if len(data) == 0 {
			return []byte("0")
		}
	}
	return data
}

func TestDifferentialSpec(t *testing.T)     { differential(t, UnmarshalSpec, AppendSpec) }
func TestDifferentialState(t *testing.T)    { differential(t, UnmarshalState, AppendState) }
func TestDifferentialProcess(t *testing.T)  { differential(t, UnmarshalProcess, AppendProcess) }
func TestDifferentialFeatures(t *testing.T) { differential(t, UnmarshalFeatures, AppendFeatures) }
func TestDifferentialSeccomp(t *testing.T)  { differential(t, UnmarshalSeccomp, AppendSeccomp) }
func TestDifferentialResources(t *testing.T) {
	differential(t, UnmarshalResources, AppendResources)
}

func TestDifferentialContainerProcessState(t *testing.T) {
	differential(t, UnmarshalContainerProcessState, AppendContainerProcessState)
}

// TestExamples reads whatever a person wrote: our own documents and the examples in runtime-spec's module, where it is at hand.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata: %v, %d files", err, len(files))
	}
	if dir := specModule(t); dir != "" {
		more, _ := filepath.Glob(filepath.Join(dir, "schema/test/*/*/*.json"))
		if len(more) < 10 {
			t.Errorf("%d examples in runtime-spec, want at least 10", len(more))
		}
		files = append(files, more...)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		agree(t, data, UnmarshalSpec, AppendSpec)
		agree(t, data, UnmarshalFeatures, AppendFeatures)
		agree(t, data, UnmarshalState, AppendState)
		if strings.Contains(file, "/good/") || strings.HasPrefix(file, "testdata") {
			if err := accept(file, data); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// accept reads a document as what it is, by its place.
func accept(file string, data []byte) error {
	switch {
	case strings.Contains(file, "/features/"):
		return UnmarshalFeatures(data, new(features.Features))
	case strings.Contains(file, "/state/"):
		return UnmarshalState(data, new(specs.State))
	}
	return UnmarshalSpec(data, new(specs.Spec))
}
