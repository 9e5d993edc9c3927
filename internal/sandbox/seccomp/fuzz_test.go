package seccomp

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// FuzzCompile feeds profiles as JSON: an error of a kind, or a program that the kernel would take.
func FuzzCompile(f *testing.F) {
	for _, name := range []string{"testdata/docker.json", "testdata/podman.json"} {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b), byte(archX8664))
	}
	f.Add(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["semop"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":1,"op":"SCMP_CMP_LT"}]}]}`, byte(archX86))
	f.Add(`{"defaultAction":"SCMP_ACT_KILL","syscalls":[{"names":["set_tls"],"action":"SCMP_ACT_LOG","args":[{"index":5,"value":18446744073709551615,"op":"SCMP_CMP_GE"}]}]}`, byte(archARM))
	f.Fuzz(func(t *testing.T, text string, native byte) {
		var p specs.LinuxSeccomp
		if json.NewDecoder(strings.NewReader(text)).Decode(&p) != nil {
			return
		}
		a := archID(native) % numArchs
		if a == archX32 {
			a = archX8664
		}
		filter, err := compile(&p, a)
		if err != nil {
			if !errdef.Is(err, errdef.Invalid) {
				t.Fatal(err)
			}
			return
		}
		if err := Check(filter.Program); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzEntry feeds cache files: never a program that Check refuses, never a panic.
func FuzzEntry(f *testing.F) {
	key := []byte("key")
	f.Add((&Filter{Program: []Insn{{Code: codeRet, K: retAllow}}}).entry(key))
	f.Add([]byte(fileMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if filter := parseEntry(b, key); filter != nil && Check(filter.Program) != nil {
			t.Fatal("a bad program was taken")
		}
	})
}

// FuzzRun feeds programs: what Check accepts, Run finishes.
func FuzzRun(f *testing.F) {
	f.Add(encode([]Insn{{Code: codeLoad}, {Code: codeEqual, K: 1, Jf: 1}, {Code: codeRet, K: retAllow}, {Code: codeRet}}))
	f.Add(encode([]Insn{{Code: 0x02, K: 3}, {Code: 0x61, K: 3}, {Code: 0x3c}, {Code: 0x16}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		program := decode(b)
		if _, err := Run(program, &Data{}); (err == nil) != (Check(program) == nil) {
			t.Fatal(err)
		}
	})
}
