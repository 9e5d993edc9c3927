package ocijson

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// seed adds the documents of testdata and a few that are odd.
func seed(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("testdata: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, doc := range []string{
		`{"process":{"user":{"uid":4294967295},"env":["A=\ud83d\ude00"]},"x":[null,true,-1.5e+3,{"":{}}]}`,
		`{"windows":{"credentialSpec":{"a":[1,null,"x",{"b":false}]},"layerFolders":null},"vm":{"hwconfig":{"irqs":[1]}}}`,
		`{"freebsd":{"jail":{"enforceStatfs":1}},"linux":{"resources":{"blockIO":{"weightDevice":[{"major":8,"weight":10}]}}}}`,
		`{"annotations":{"a":"b","a":"c"},"Annotations":{}}`,
		`{"ociVersion":"1.0.0","hooks":["a"],"linux":{"cgroup":{"v1":true,"v2":null}}}`,
		`{"id":"a","pid":-5,"status":"x"}`,
	} {
		f.Add([]byte(doc))
	}
}

func FuzzSpec(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) { agree(t, data, UnmarshalSpec, AppendSpec) })
}

func FuzzFeatures(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) { agree(t, data, UnmarshalFeatures, AppendFeatures) })
}

// FuzzAny checks the grammar alone.
func FuzzAny(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		read := func(data []byte, v *any) error { return Unmarshal(data, v, ReadAny) }
		agree(t, data, read, func(dst []byte, v *any) []byte { return AppendAny(dst, *v) })
	})
}

// FuzzString checks that any bytes come out as encoding/json would have them.
func FuzzString(f *testing.F) {
	f.Add("a\xff\u2028\x00\x7f😀\"\\")
	f.Fuzz(func(t *testing.T, s string) {
		out := AppendString(nil, s)
		for _, c := range out {
			if c < 0x20 || c == 0x7f {
				t.Fatalf("control character in %q", out)
			}
		}
		var a, b, c string
		std, err := json.Marshal(s)
		if err != nil || json.Unmarshal(std, &b) != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &a); err != nil || a != b {
			t.Fatalf("%q: %q, want %q (%v)", s, a, b, err)
		}
		if err := Unmarshal(out, &c, ReadString); err != nil || c != b {
			t.Fatalf("%q: %q, want %q (%v)", s, c, b, err)
		}
	})
}

func benchmarkFile(b *testing.B) []byte {
	data, err := os.ReadFile("testdata/docker.json")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	return data
}

func BenchmarkDecode(b *testing.B) {
	data := benchmarkFile(b)
	for b.Loop() {
		var spec specs.Spec
		if err := UnmarshalSpec(data, &spec); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeStandard(b *testing.B) {
	data := benchmarkFile(b)
	for b.Loop() {
		var spec specs.Spec
		if err := json.Unmarshal(data, &spec); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	data := benchmarkFile(b)
	var spec specs.Spec
	if err := UnmarshalSpec(data, &spec); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		data = AppendSpec(data[:0], &spec)
	}
}

func BenchmarkEncodeStandard(b *testing.B) {
	data := benchmarkFile(b)
	var spec specs.Spec
	if err := UnmarshalSpec(data, &spec); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := json.Marshal(&spec); err != nil {
			b.Fatal(err)
		}
	}
}
