package ocijson

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// TestErrors wants the field, the reason and the place of what is wrong.
func TestErrors(t *testing.T) {
	for doc, want := range map[string]string{
		// wrong types
		`{"linux":{"resources":{"memory":{"limit":"1g"}}}}`: "linux.resources.memory.limit: want an integer, found a string (line 1, column 42)",
		"{\n \"process\": {\n  \"args\": \"sh\"\n }\n}":     "process.args: want an array, found a string (line 3, column 11)",
		`{"process":{"args":["a",1]}}`:                      "process.args[1]: want a string, found a number (line 1, column 25)",
		`{"process":{"terminal":"yes"}}`:                    "process.terminal: want true or false, found a string (line 1, column 24)",
		`{"process":{"terminal":1}}`:                        "process.terminal: want true or false, found a number (line 1, column 24)",
		`{"process":[]}`:                                    "process: want an object, found an array (line 1, column 12)",
		`{"mounts":{}}`:                                     "mounts: want an array, found an object (line 1, column 11)",
		`{"mounts":[{"type":true}]}`:                        "mounts[0].type: want a string, found a boolean (line 1, column 20)",
		`{"annotations":{"a.b":1}}`:                         `annotations["a.b"]: want a string, found a number (line 1, column 23)`,
		`{"linux":{"sysctl":{"\u001b[31m":1}}}`:             `linux.sysctl["\x1b[31m"]: want a string, found a number (line 1, column 34)`,
		`[]`:                                                "want an object, found an array (line 1, column 1)",
		`null`:                                              "want an object, found null (line 1, column 1)",
		`"x"`:                                               "want an object, found a string (line 1, column 1)",

		// integers
		`{"process":{"user":{"uid":-1}}}`:                                   "process.user.uid: want an integer from 0 to 4294967295, found \"-1\" (line 1, column 27)",
		`{"process":{"user":{"uid":-0}}}`:                                   "process.user.uid: want an integer from 0 to 4294967295, found \"-0\" (line 1, column 27)",
		`{"process":{"user":{"uid":4294967296}}}`:                           "process.user.uid: want an integer from 0 to 4294967295, found \"4294967296\" (line 1, column 27)",
		`{"process":{"user":{"uid":1.0}}}`:                                  "process.user.uid: want an integer, found \"1.0\" (line 1, column 27)",
		`{"process":{"user":{"uid":1e3}}}`:                                  "process.user.uid: want an integer, found \"1e3\" (line 1, column 27)",
		`{"process":{"scheduler":{"nice":2147483648}}}`:                     "process.scheduler.nice: want an integer from -2147483648 to 2147483647, found \"2147483648\" (line 1, column 33)",
		`{"process":{"scheduler":{"nice":-2147483649}}}`:                    "process.scheduler.nice: want an integer from -2147483648 to 2147483647, found \"-2147483649\" (line 1, column 33)",
		`{"process":{"oomScoreAdj":9223372036854775808}}`:                   "process.oomScoreAdj: want an integer from -9223372036854775808 to 9223372036854775807, found \"9223372036854775808\" (line 1, column 27)",
		`{"linux":{"resources":{"blockIO":{"weight":65536}}}}`:              "linux.resources.blockIO.weight: want an integer from 0 to 65535, found \"65536\" (line 1, column 44)",
		`{"process":{"rlimits":[{"hard":18446744073709551616}]}}`:           "process.rlimits[0].hard: want an integer from 0 to 18446744073709551615, found \"18446744073709551616\" (line 1, column 32)",
		`{"linux":{"devices":[{"major":` + strings.Repeat("9", 99) + `}]}}`: "linux.devices[0].major: want an integer from -9223372036854775808 to 9223372036854775807, found \"" + strings.Repeat("9", 64) + "\"... (line 1, column 31)",

		// names
		`{"process":{},"process":{}}`:                  "process: the field stands twice (line 1, column 15)",
		`{"process":null,"hostname":"a","process":{}}`: "process: the field stands twice (line 1, column 32)",
		`{"pro\u0063ess":{},"process":{}}`:             "process: the field stands twice (line 1, column 20)",
		`{"annotations":{"a":"1","a":"1"}}`:            "annotations.a: the name stands twice (line 1, column 25)",
		`{"linux":{"seccomp":{},"Seccomp":null}}`:      "linux.Seccomp: the field stands twice, seccomp in different case being the same (line 1, column 24)",
		`{"linux":{"Seccomp":{},"seccomp":{}}}`:        "linux.seccomp: the field stands twice (line 1, column 24)",
		`{"PROCESS":{},"Process":{}}`:                  "Process: the field stands twice, process in different case being the same (line 1, column 15)",
		`{"HOSTNAME":1}`:                               "HOSTNAME: want a string, found a number (line 1, column 13)",
		`{"hoo\u212as":{}}`:                            `["hoo\u212as"]: the name looks like hooks and is written with other letters (line 1, column 2)`,

		// syntax
		``:                                "want an object, found the end of the document (line 1, column 1)",
		` `:                               "want an object, found the end of the document (line 1, column 2)",
		`{`:                               "want a name in quotes, found the end of the document (line 1, column 2)",
		`{"process"`:                      `want ':' after "process", found the end of the document (line 1, column 11)`,
		`{"process":`:                     "process: want an object, found the end of the document (line 1, column 12)",
		`{"hostname":"a"`:                 "hostname: want ',' or '}', found the end of the document (line 1, column 16)",
		`{"hostname":"a"}}`:               "something follows the end of the document (line 1, column 17)",
		"{}\x00":                          "something follows the end of the document (line 1, column 3)",
		`{} {}`:                           "something follows the end of the document (line 1, column 4)",
		`{"hostname":"a",}`:               "hostname: a comma stands before the closing '}' (line 1, column 17)",
		`{"mounts":[{},]}`:                "mounts[0]: a comma stands before the closing ']' (line 1, column 15)",
		`{"mounts":[{} {}]}`:              "mounts[0]: want ',' or ']', found \"{\" (line 1, column 15)",
		`{,}`:                             `want a name in quotes, found "," (line 1, column 2)`,
		`{hostname:"a"}`:                  `want a name in quotes, found "h" (line 1, column 2)`,
		`{'hostname':"a"}`:                `want a name in quotes, found "'" (line 1, column 2)`,
		`{"hostname" "a"}`:                `want ':' after "hostname", found "\"" (line 1, column 13)`,
		"\ufeff{}":                        `want an object, found "\ufeff" (line 1, column 1)`,
		"// x\n{}":                        `want an object, found "/" (line 1, column 1)`,
		`{"hostname":"a`:                  "hostname: a string is not closed (line 1, column 15)",
		`{"hostname":"a\`:                 "hostname: a string is not closed (line 1, column 16)",
		"{\"hostname\":\"a\nb\"}":         "hostname: a control character stands in a string, want it escaped (line 1, column 15)",
		`{"hostname":"\x"}`:               "hostname: a backslash begins no escape sequence (line 1, column 14)",
		`{"hostname":"\u12g4"}`:           "hostname: want four hexadecimal digits after \\u (line 1, column 14)",
		`{"hostname":"\u12"}`:             "hostname: want four hexadecimal digits after \\u (line 1, column 14)",
		`{"hostname":tru}`:                "hostname: want a string, found a boolean (line 1, column 13)",
		`{"hostname":nul}`:                `hostname: want null, found "n" (line 1, column 13)`,
		`{"process":{"terminal":tru}}`:    `process.terminal: want true, found "t" (line 1, column 24)`,
		`{"process":{"terminal":falsy}}`:  `process.terminal: want false, found "f" (line 1, column 24)`,
		`{"process":{"oomScoreAdj":01}}`:  `process.oomScoreAdj: a number has a leading zero (line 1, column 27)`,
		`{"process":{"oomScoreAdj":-}}`:   `process.oomScoreAdj: want a digit after the minus (line 1, column 28)`,
		`{"process":{"oomScoreAdj":1.}}`:  `process.oomScoreAdj: want a digit after the point (line 1, column 29)`,
		`{"process":{"oomScoreAdj":1e}}`:  `process.oomScoreAdj: want a digit in the exponent (line 1, column 29)`,
		`{"process":{"oomScoreAdj":+1}}`:  `process.oomScoreAdj: want an integer, found "+" (line 1, column 27)`,
		`{"process":{"oomScoreAdj":NaN}}`: `process.oomScoreAdj: want an integer, found "N" (line 1, column 27)`,

		// what is skipped
		`{"x":{"a":[1,{"b":tru}]}}`: `x.a.b: want true, found "t" (line 1, column 19)`,
		`{"x":[1,]}`:                "x: a comma stands before the closing ']' (line 1, column 9)",
		`{"x":}`:                    `x: want a value, found "}" (line 1, column 6)`,
		`{"x":-}`:                   `x: want a digit after the minus (line 1, column 7)`,
		`{"x":"\ud800"}`:            "x: half a surrogate pair is no character (line 1, column 7)",

		// Unicode
		"{\"hostname\":\"a\xffb\"}":         "hostname: a string is not UTF-8 (line 1, column 15)",
		"{\"hostname\":\"\\n\xc0\x80\"}":    "hostname: a string is not UTF-8 (line 1, column 16)",
		"{\"hostname\":\"\xed\xa0\x80\"}":   "hostname: a string is not UTF-8 (line 1, column 14)",
		`{"hostname":"\ud83d"}`:             "hostname: half a surrogate pair is no character (line 1, column 14)",
		`{"hostname":"\ude00\ud83d"}`:       "hostname: half a surrogate pair is no character (line 1, column 14)",
		`{"hostname":"\ud83d\u0041"}`:       "hostname: half a surrogate pair is no character (line 1, column 14)",
		`{"hostname":"\ud83dx"}`:            "hostname: half a surrogate pair is no character (line 1, column 14)",
		"{\"annotations\":{\"\xff\":\"\"}}": "annotations: a string is not UTF-8 (line 1, column 18)",
	} {
		spec := specs.Spec{Hostname: "left over"}
		err := UnmarshalSpec([]byte(doc), &spec)
		if err == nil || err.Error() != want {
			t.Errorf("%s\n got %v\nwant %s", doc, err, want)
			continue
		}
		if errdef.KindOf(err) != errdef.Invalid {
			t.Errorf("%s: kind %v", doc, errdef.KindOf(err))
		}
		if spec.Hostname != "" || spec.Process != nil {
			t.Errorf("%s: a part of it is kept: %+v", doc, spec)
		}
	}
}

// TestCase reads names in other case as encoding/json does, which agree compares.
func TestCase(t *testing.T) {
	for _, doc := range []string{
		`{"CPU":{"Shares":7,"cpuS":"0-1"},"hugepageLimits":[{"pagesize":"2MB","LIMIT":5}],"Pids":{"limit":3}}`,
		`{"unified":{"CPU.max":"1","cpu.max":"2"},"MEMORY":{"limit":1}}`,
	} {
		agree(t, []byte(doc), UnmarshalResources, AppendResources)
	}
	var res specs.LinuxResources
	doc := `{"CPU":{"Shares":7},"hugepageLimits":[{"pagesize":"2MB"}],"unified":{"CPU.max":"1","cpu.max":"2"},"[pids]":{},"p\u0049ds":{"limit":3}}`
	if err := UnmarshalResources([]byte(doc), &res); err != nil {
		t.Fatal(err)
	}
	if *res.CPU.Shares != 7 || res.HugepageLimits[0].Pagesize != "2MB" || len(res.Unified) != 2 || *res.Pids.Limit != 3 {
		t.Errorf("got %+v", res)
	}
	var spec specs.Spec
	if err := UnmarshalSpec([]byte(`{"linux":{"SECCOMP":{"defaultAction":"SCMP_ACT_KILL"}},"Annotations":{"a":"1","A":"2"}}`), &spec); err != nil {
		t.Fatal(err)
	}
	if spec.Linux.Seccomp == nil || spec.Linux.Seccomp.DefaultAction != "SCMP_ACT_KILL" || len(spec.Annotations) != 2 {
		t.Errorf("got %+v", spec)
	}
	if sameFolded("@", "`") || sameFolded("[", "{") || !sameFolded("Az", "aZ") {
		t.Error("what is folded is not the case of ASCII letters alone")
	}
}

func TestStrings(t *testing.T) {
	for text, want := range map[string]string{
		`"plain"`:                    "plain",
		`""`:                         "",
		`"\"\\\/\b\f\n\r\t"`:         "\"\\/\b\f\n\r\t",
		`"\u0041\u00e9\u20AC\u0000"`: "Aé€\x00",
		`"\ud83d\ude00"`:             "😀",
		`"é\n😀"`:                     "é\n😀",
		`"\ufffd"`:                   "\ufffd",
		"\"\x7f\"":                   "\x7f",
	} {
		var s specs.State
		if err := UnmarshalState([]byte(`{"id":`+text+`}`), &s); err != nil || s.ID != want {
			t.Errorf("%s: %q, %v", text, s.ID, err)
		}
	}
}

// TestBounds goes to the limits and one beyond.
func TestBounds(t *testing.T) {
	nest := func(n int) string { return `{"x":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}` }
	objects := func(n int) string { return strings.Repeat(`{"x":`, n) + "1" + strings.Repeat("}", n) }
	gids := func(n int) string {
		return `{"process":{"user":{"additionalGids":[` + strings.Repeat("1,", n-1) + `1]}}}`
	}
	keys := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(`,"` + strconv.Itoa(i) + `":""`)
		}
		return `{"annotations":{` + b.String()[1:] + `}}`
	}
	for name, f := range map[string]struct {
		doc   func(int) string
		limit int
		class class
	}{
		"arrays":   {nest, MaxDepth, classDepth},
		"objects":  {objects, MaxDepth, classDepth},
		"elements": {gids, MaxElements, classCount},
		"keys":     {keys, MaxElements, classCount},
	} {
		var spec specs.Spec
		if err := UnmarshalSpec([]byte(f.doc(f.limit)), &spec); err != nil {
			t.Errorf("%s at the limit: %v", name, err)
		}
		var e *Error
		if err := UnmarshalSpec([]byte(f.doc(f.limit+1)), &spec); !errors.As(err, &e) || e.class != f.class {
			t.Errorf("%s above the limit: %v", name, err)
		}
	}
	// Far above: neither the stack nor the time may give out.
	for _, doc := range []string{strings.Repeat("[", 1<<22), strings.Repeat(`{"x":`, 1<<20), `{"x":"` + strings.Repeat(`\u0041`, 1<<20)} {
		start := time.Now()
		if err := UnmarshalSpec([]byte(doc), new(specs.Spec)); err == nil {
			t.Errorf("%q... is accepted", doc[:8])
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%q...: %v", doc[:8], d)
		}
	}
}

// TestReuse wants nothing of an earlier value to survive.
func TestReuse(t *testing.T) {
	spec := specs.Spec{Hostname: "a", Annotations: map[string]string{"a": "b"}, Process: &specs.Process{Cwd: "/x"}}
	if err := UnmarshalSpec([]byte(`{"process":{},"annotations":{}}`), &spec); err != nil {
		t.Fatal(err)
	}
	if spec.Hostname != "" || len(spec.Annotations) != 0 || spec.Process.Cwd != "" {
		t.Errorf("got %+v", spec)
	}
}

// TestAllocations keeps the decoder from copying what it need not.
func TestAllocations(t *testing.T) {
	data, err := os.ReadFile("testdata/docker.json")
	if err != nil {
		t.Fatal(err)
	}
	var spec specs.Spec
	n := testing.AllocsPerRun(20, func() {
		if err := UnmarshalSpec(data, &spec); err != nil {
			t.Fatal(err)
		}
	})
	if n > 150 {
		t.Errorf("%v allocations, want at most 150", n)
	}
}
