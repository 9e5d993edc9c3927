package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

var wide = Limits{Bytes: 1 << 20, Depth: 64, Values: 1 << 20}

func TestRefused(t *testing.T) {
	named := Limits{Bytes: 1000, Depth: 4, Values: 10, Names: []string{"layers", "mediaType"}, Free: []string{"labels"}}
	for in, want := range map[string]string{
		``:                           "byte 0: the JSON ends where a value should stand",
		` `:                          "byte 1: the JSON ends",
		`{} {}`:                      "byte 3: something after the end",
		"{}\x00":                     "byte 2: something after the end",
		"\xef\xbb\xbf{}":             "where a value should stand",
		"{\"a\":\"\xff\"}":           "no UTF-8",
		"{\"a\":\"\n\"}":             "byte 6: a control character",
		`{"a":1,"a":2}`:              `byte 7: the key "a" stands there twice`,
		`{"a":1,"\u0061":2}`:         `the key "a" stands there twice`,
		`{"x":{"a":1,"b":2,"a":3}}`:  `the key "a" stands there twice`,
		`{"Layers":1}`:               `the key "Layers" is spelled "layers"`,
		`{"layerſ":1}`:               `is spelled "layers"`,
		`[{"mediatype":1}]`:          `the key "mediatype" is spelled "mediaType"`,
		`{"lab":{"LAYERS":1}}`:       `the key "LAYERS" is spelled "layers"`,
		`[[[[[]]]]]`:                 "byte 4: nested deeper than 4",
		`{"a":{"a":{"a":{"a":{}}}}}`: "nested deeper than 4",
		`[1,2,3,4,5,6,7,8,9,0]`:      "more than 10 values",
		strings.Repeat(" ", 1001):    "1001 bytes, at most 1000",
		`{"a"}`:                      "where a colon should stand",
		`{"a":1,}`:                   "where a key should stand",
		`{a:1}`:                      "where a key should stand",
		`[1,]`:                       "where a value should stand",
		`[1 2]`:                      "a comma or the end of the array",
		`{"a":1 "b":2}`:              "a comma or the end of the object",
		`01`:                         "byte 1: something after",
		`-`:                          "where a digit should stand",
		`1.`:                         "where a digit should stand",
		`1e+`:                        "where a digit should stand",
		`tru`:                        "where true should stand",
		`nul`:                        "where null should stand",
		`falsy`:                      "where false should stand",
		`"\x"`:                       "where an escape should stand",
		`"\u12g4"`:                   "where a hexadecimal digit should stand",
		`"\`:                         "where an escape should stand",
		`"abc`:                       "where the end of a string should stand",
		`NaN`:                        "where a value should stand",
		`'a'`:                        "where a value should stand",
	} {
		err := Check([]byte(in), named)
		if err == nil || !strings.Contains(err.Error(), want) || !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
	if err := Check([]byte(`1`), Limits{}); err == nil {
		t.Error("the zero limits accept something")
	}
}

func TestAccepted(t *testing.T) {
	l := Limits{Bytes: 1000, Depth: 3, Values: 20, Names: []string{"layers"}, Free: []string{"labels"}}
	for _, in := range []string{
		`{}`, ` [ ] `, `"a\"\\\/\b\f\n\r\t\u00e4"`, `-0.5e-7`, `0`, `true`, `null`, `{"labels":{"Layers":1,"LAYERS":{"layerS":2}}}`, `{"a":1,"A":2}`, `[[[]]]`,
		`{"layers":[1,2,{"layers":3}]}`,
	} {
		if err := Check([]byte(in), l); err != nil {
			t.Errorf("%s: %v", in, err)
		}
	}
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf(`"k%d":%d`, i, i))
	}
	if err := Check([]byte("{"+strings.Join(many, ",")+"}"), wide); err != nil {
		t.Error(err)
	}
	if err := Check([]byte("{"+strings.Join(append(many, `"k50":0`), ",")+"}"), wide); err == nil {
		t.Error("a double key among a hundred")
	}
}

func TestDecode(t *testing.T) {
	var out struct{ Size int64 }
	if err := Decode([]byte(`{"size":7}`), wide, &out); err != nil || out.Size != 7 {
		t.Errorf("%+v, %v", out, err)
	}
	if err := Decode([]byte(`{"size":"7"}`), wide, &out); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("a string as number: %v", err)
	}
}

// agree compares with encoding/json: what is accepted must be valid, and the members must be the same.
func agree(t *testing.T, data []byte) {
	err := Check(data, wide)
	if err != nil {
		ours := strings.Contains(err.Error(), "twice") || strings.Contains(err.Error(), "UTF-8") || strings.Contains(err.Error(), "deeper") || len(data) > wide.Bytes
		if json.Valid(data) && !ours {
			t.Errorf("%q: %v, but it is valid", data, err)
		}
		return
	}
	if !json.Valid(data) {
		t.Fatalf("%q is not valid, and was accepted", data)
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(data, &object) == nil && object != nil {
		n := 0
		for key, value := range Object(data) {
			if n++; !bytes.Equal(object[key], value) {
				t.Errorf("%q: %q is %q, want %q", data, key, value, object[key])
			}
		}
		if n != len(object) {
			t.Errorf("%q: %d members, want %d", data, n, len(object))
		}
	}
	var array []json.RawMessage
	if json.Unmarshal(data, &array) == nil {
		n := 0
		for value := range Array(data) {
			if n == len(array) || !bytes.Equal(array[n], value) {
				t.Fatalf("%q: element %d is %q", data, n, value)
			}
			n++
		}
		if n != len(array) {
			t.Errorf("%q: %d elements, want %d", data, n, len(array))
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,2,{"b":"c"}],"d":null}`, `[true,false,-1.5e9,"\u00e4\\"]`, `{"a":1,"a":2}`, `{"":{}}`, ` [ 1 , "x" ] `, `{"\ud800":1}`, `"\ud800"`, `[[[[]]]]`, "\xff",
		`{"a":1,"b":[],"c":{},"d":"}"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(agree)
}

func BenchmarkCheck(b *testing.B) {
	entry := `{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","size":1234,"annotations":{"org.opencontainers.image.ref.name":"docker.io/library/name:latest"}}`
	data := []byte("[" + strings.Repeat(entry+",", 999) + entry + "]")
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := Check(data, wide); err != nil {
			b.Fatal(err)
		}
	}
}
