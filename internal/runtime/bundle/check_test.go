package bundle

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/ocijson"
)

// change is a line of a table in testdata.
type change struct {
	line  int
	text  string
	edits []string
	want  string
}

func table(t *testing.T, file string) []change {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []change
	for i, line := range strings.Split(string(data), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		edits, want, _ := strings.Cut(line, " => ")
		c := change{line: i + 1, text: line, want: strings.TrimSpace(want)}
		for _, e := range strings.Split(edits, " ;; ") {
			c.edits = append(c.edits, strings.TrimSpace(e))
		}
		out = append(out, c)
	}
	return out
}

// namespaces that a table names by a word.
var words = map[string]string{
	"NEWUSER":  `{"type":"user"}`,
	"JOINUSER": `{"type":"user","path":"/proc/1/ns/user"}`,
	"NEWTIME":  `{"type":"time"}`,
	"JOINTIME": `{"type":"time","path":"/proc/1/ns/time"}`,
}

// apply makes the changes to the default spec.
func apply(t *testing.T, edits []string) *specs.Spec {
	t.Helper()
	var doc map[string]any
	decode := func(data string, v any) {
		t.Helper()
		d := json.NewDecoder(strings.NewReader(data))
		d.UseNumber()
		if err := d.Decode(v); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
	}
	decode(string(ocijson.AppendSpec(nil, Default(false))), &doc)
	for _, e := range edits {
		if ns, ok := words[e]; ok {
			var v any
			decode(ns, &v)
			linux := doc["linux"].(map[string]any)
			linux["namespaces"] = append(linux["namespaces"].([]any), v)
			if e == "NEWUSER" {
				for _, key := range []string{"uidMappings", "gidMappings"} {
					decode(`[{"containerID":0,"hostID":100000,"size":65536}]`, &v)
					linux[key] = v
				}
			}
			continue
		}
		path, value, ok := strings.Cut(e, "=")
		if !ok {
			t.Fatalf("no change: %q", e)
		}
		at := doc
		steps := strings.Split(path, ".")
		for _, s := range steps[:len(steps)-1] {
			next, ok := at[s].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[s] = next
			}
			at = next
		}
		var v any
		decode(value, &v)
		at[steps[len(steps)-1]] = v
	}
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	spec := new(specs.Spec)
	if err := ocijson.UnmarshalSpec(data, spec); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return spec
}

// TestBad changes one thing each, and wants an error that names the field, is one line, and has a way out.
func TestBad(t *testing.T) {
	tests := table(t, "testdata/bad.txt")
	if len(tests) < 300 {
		t.Errorf("%d bad inputs, want at least 300", len(tests))
	}
	for _, test := range tests {
		field := test.want
		if field == "" {
			field, _, _ = strings.Cut(test.edits[len(test.edits)-1], "=")
		}
		err := Validate(apply(t, test.edits))
		switch {
		case err == nil:
			t.Errorf("bad.txt:%d: accepted: %s", test.line, test.text)
			continue
		case !strings.HasPrefix(err.Error(), field+": "):
			t.Errorf("bad.txt:%d: %s\n got %v\nwant %s: ...", test.line, test.text, err, field)
		case errdef.KindOf(err) != errdef.Invalid:
			t.Errorf("bad.txt:%d: kind %v", test.line, errdef.KindOf(err))
		}
		if hint := errdef.Hint(err); hint == "" {
			t.Errorf("bad.txt:%d: no hint: %v", test.line, err)
		}
		for _, r := range err.Error() {
			if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 {
				t.Errorf("bad.txt:%d: control character in %q", test.line, err.Error())
			}
		}
		if strings.Contains(err.Error(), "%!") {
			t.Errorf("bad.txt:%d: %v", test.line, err)
		}
	}
}

// TestGood changes one thing each, and wants no error, and exactly the warning named.
func TestGood(t *testing.T) {
	for _, test := range table(t, "testdata/good.txt") {
		spec := apply(t, test.edits)
		if err := Validate(spec); err != nil {
			t.Errorf("good.txt:%d: %s\n%v", test.line, test.text, err)
			continue
		}
		warnings := Warnings(spec)
		switch {
		case test.want == "" && len(warnings) > 0:
			t.Errorf("good.txt:%d: %s\n%q", test.line, test.text, warnings)
		case test.want != "" && (len(warnings) != 1 || !strings.HasPrefix(warnings[0], test.want)):
			t.Errorf("good.txt:%d: %s\n got %q\nwant %q", test.line, test.text, warnings, test.want)
		}
	}
}

// TestLimits are too long for a table.
func TestLimits(t *testing.T) {
	many := func(n int) (list []specs.LinuxIDMapping) {
		for i := range uint32(n) {
			list = append(list, specs.LinuxIDMapping{ContainerID: 2 * i, HostID: 2 * i, Size: 1})
		}
		return list
	}
	tests := []struct {
		field  string
		change func(s *specs.Spec, over int)
	}{
		{"linux.uidMappings", func(s *specs.Spec, over int) { s.Linux.UIDMappings = many(maxMappings + over) }},
		{"linux.gidMappings", func(s *specs.Spec, over int) { s.Linux.GIDMappings = many(maxMappings + over) }},
		{"process.user.additionalGids", func(s *specs.Spec, over int) { s.Process.User.AdditionalGids = make([]uint32, maxGroups+over) }},
		{"mounts", func(s *specs.Spec, over int) {
			s.Mounts = slices.Repeat([]specs.Mount{{Destination: "/a", Type: "tmpfs"}}, maxMounts+over)
		}},
		{"mounts[0].destination", func(s *specs.Spec, over int) {
			s.Mounts = []specs.Mount{{Destination: "/" + strings.Repeat("a", 255+over), Type: "tmpfs"}}
		}},
		{"mounts[0].destination", func(s *specs.Spec, over int) {
			s.Mounts = []specs.Mount{{Destination: strings.Repeat("/a", 2047) + "/"[:over], Type: "tmpfs"}}
			s.Mounts[0].Destination += strings.Repeat("b", over)
		}},
	}
	for _, test := range tests {
		spec := apply(t, []string{"NEWUSER"})
		test.change(spec, 0)
		if err := Validate(spec); err != nil {
			t.Errorf("%s at its limit: %v", test.field, err)
		}
		test.change(spec, 1)
		if err := Validate(spec); err == nil || !strings.HasPrefix(err.Error(), test.field+": ") {
			t.Errorf("%s above its limit: %v", test.field, err)
		}
	}
	spec := Default(false)
	spec.Process.Capabilities.Bounding = slices.Repeat([]string{"CAP_X"}, 1000)
	if n := len(Warnings(spec)); n != maxWarnings+1 {
		t.Errorf("%d warnings, want %d", n, maxWarnings+1)
	}
	if err := Validate(nil); err == nil {
		t.Error("no spec: accepted")
	}
	if err := Validate(new(specs.Spec)); err == nil {
		t.Error("empty spec: accepted")
	}
}

// TestEnvSecret keeps values of the environment out of errors, which land in logs.
func TestEnvSecret(t *testing.T) {
	for _, env := range []string{"=hunter2", "TOKEN=hunter2"} {
		spec := Default(false)
		spec.Process.Env = []string{env + "\x00"}
		if err := Validate(spec); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", env, err)
		}
	}
}

// TestResources is the entry that `update` uses.
func TestResources(t *testing.T) {
	low := int64(-7)
	err := ValidateResources(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &low}})
	if err == nil || !strings.HasPrefix(err.Error(), "linux.resources.pids.limit: ") {
		t.Errorf("got %v", err)
	}
	if err := ValidateResources(nil); err != nil {
		t.Error(err)
	}
}

// harmless are the strings that never become a C string, by their path without indexes: JSON for others, or sections of other platforms.
var harmless = []string{
	"Annotations", "Linux.Seccomp.ListenerMetadata", "Process.CommandLine", "Process.User.Username", "Solaris", "Windows", "VM", "ZOS", "FreeBSD",
	// Looked up in a table by whoever compiles the filter.
	"Linux.Seccomp.DefaultAction", "Linux.Seccomp.Architectures", "Linux.Seccomp.Flags", "Linux.Seccomp.Syscalls",
	// Looked up in a table: what is not in it is dropped with a warning.
	"Process.Capabilities", "Linux.Personality.Flags",
}

// TestNUL puts a NUL byte into every string of the types, one at a time: each must be refused or be known to be harmless. A field that a new
// version of the specification adds fails here until someone has thought about it.
func TestNUL(t *testing.T) {
	count := 0
	spec := apply(t, []string{"NEWUSER", "NEWTIME"})
	walkStrings(reflect.ValueOf(spec).Elem(), "", func(path string) {
		count++
		if slices.ContainsFunc(harmless, func(h string) bool {
			return path == h || strings.HasPrefix(path, h+".") || strings.HasPrefix(path, h+"{")
		}) {
			return
		}
		if err := Validate(spec); err == nil {
			t.Errorf("a NUL byte in %s is accepted", path)
		}
	})
	if count < 120 {
		t.Errorf("only %d strings seen", count)
	}
}

// walkStrings calls check once for every string that v, a value of one of the specification's types, may hold, with a NUL byte in it.
func walkStrings(v reflect.Value, path string, check func(path string)) {
	switch v.Kind() {
	case reflect.String:
		old := v.String()
		v.SetString(old + "\x00")
		check(path)
		v.SetString(old)
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
			defer v.SetZero()
		}
		walkStrings(v.Elem(), path, check)
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			walkStrings(v.Field(i), strings.TrimPrefix(path+"."+name, "."), check)
		}
	case reflect.Slice:
		old := v.Interface()
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		walkStrings(v.Index(0), path, check)
		v.Set(reflect.ValueOf(old))
	case reflect.Map:
		old := v.Interface()
		for _, key := range []string{"a", "a\x00"} {
			e := reflect.New(v.Type().Elem()).Elem()
			put := func(path string) {
				m := reflect.MakeMap(v.Type())
				m.SetMapIndex(reflect.ValueOf(key), e)
				v.Set(m)
				check(path)
			}
			if key == "a" {
				walkStrings(e, path+"{}", put)
			} else {
				put(path + "{key}")
			}
		}
		v.Set(reflect.ValueOf(old))
	}
}

// FuzzLoad feeds bytes to what Load does after reading: nothing may panic, and what is accepted must stay so when it is written and
// read again, as it is when the state directory keeps a copy.
func FuzzLoad(f *testing.F) {
	f.Add(ocijson.AppendSpec(nil, Default(false)))
	f.Add(ocijson.AppendSpec(nil, Default(true)))
	for _, test := range []string{"good", "bad"} {
		data, err := os.ReadFile("testdata/" + test + ".txt")
		if err != nil {
			f.Fatal(err)
		}
		for _, line := range strings.Split(string(data), "\n") {
			f.Add([]byte(line))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, doc := range [][]byte{data, wrap(data)} {
			spec, warnings, err := parse(doc)
			if err != nil {
				continue
			}
			again, more, err := parse(ocijson.AppendSpec(nil, spec))
			if err != nil {
				t.Fatalf("%q was accepted once only: %v", doc, err)
			}
			if a, b := ocijson.AppendSpec(nil, spec), ocijson.AppendSpec(nil, again); string(a) != string(b) || len(warnings) != len(more) {
				t.Fatalf("%s\n%s\n%q\n%q", a, b, warnings, more)
			}
		}
	})
}

// wrap makes a config.json of a line of a table, as far as it goes: a path and a value.
func wrap(data []byte) []byte {
	path, value, ok := strings.Cut(string(data), "=")
	if !ok {
		return nil
	}
	doc := `{"ociVersion":"1.0.0","root":{"path":"r"},"process":{"args":["a"],"cwd":"/"}}`
	steps := strings.Split(path, ".")
	for _, s := range slices.Backward(steps) {
		value = "{" + strconv.Quote(s) + ":" + value + "}"
	}
	if steps[0] == "linux" {
		return []byte(doc[:len(doc)-1] + "," + value[1:])
	}
	return []byte(value)
}
