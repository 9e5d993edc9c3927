package seccomp

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// strict makes a missing tool a failure: the Makefile installs them and sets it.
func strict() bool { return os.Getenv("BULKHEAD_TEST_STRICT") == "1" }

// reference is libseccomp in a process of its own (testdata/ref).
type reference struct {
	in      io.Writer
	out     *bufio.Reader
	numbers map[string]int
	mu      sync.Mutex
}

func newReference(tb testing.TB) *reference {
	tb.Helper()
	bin := filepath.Join(tb.TempDir(), "ref")
	build := exec.Command("cc", "-O1", "-o", bin, "testdata/ref/ref.c", "-lseccomp")
	if out, err := build.CombinedOutput(); err != nil {
		if strict() {
			tb.Fatalf("cc: %v\n%s", err, out)
		}
		tb.Skipf("needs cc and libseccomp-dev: %v", err)
	}
	cmd := exec.Command(bin)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			tb.Errorf("ref: %v", err)
		}
	})
	return &reference{in: in, out: bufio.NewReader(out), numbers: map[string]int{}}
}

// token is libseccomp's name of an architecture: the kernel's, but for x32.
func token(a archID) uint32 {
	if a == archX32 {
		return 62 | 0x40000000
	}
	return archs[a].token
}

// number returns what libseccomp knows of a call: negative if the architecture lacks it, -1 if nobody has it.
func (r *reference) number(tb tester, a archID, name string) int {
	key := fmt.Sprintf("number %x %s\n", token(a), name)
	r.mu.Lock()
	defer r.mu.Unlock()
	if n, ok := r.numbers[key]; ok {
		return n
	}
	_, _ = io.WriteString(r.in, key)
	var n int
	if _, err := fmt.Fscanf(r.out, "ok %d\n", &n); err != nil {
		tb.Fatalf("ref: number %s: %v", name, err)
	}
	r.numbers[key] = n
	return n
}

// compile does what runc does with a profile, but for its ENOSYS stub (see enosys).
func (r *reference) compile(tb tester, p *specs.LinuxSeccomp, native archID, optimize int) ([]Insn, error) {
	checked, err := parse(p, native)
	if err != nil {
		tb.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "begin %x %d %x\n", checked.deflt, optimize, token(native))
	for _, a := range checked.archs[1:] {
		fmt.Fprintf(&b, "arch %x\n", token(a))
	}
	for i, s := range p.Syscalls {
		if checked.calls[i].action == checked.deflt {
			continue
		}
		for _, name := range s.Names {
			writeRules(&b, checked.calls[i].action, name, s.Args)
		}
	}
	b.WriteString("end\n")
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = io.WriteString(r.in, b.String())
	var word string
	var n int
	if _, err := fmt.Fscanf(r.out, "%s %d\n", &word, &n); err != nil {
		tb.Fatalf("ref: %v", err)
	}
	if word != "ok" {
		return nil, fmt.Errorf("libseccomp: error %d", n)
	}
	program := make([]Insn, n)
	for i := range program {
		in := &program[i]
		if _, err := fmt.Fscanf(r.out, "%d %d %d %d\n", &in.Code, &in.Jt, &in.Jf, &in.K); err != nil {
			tb.Fatalf("ref: %v", err)
		}
		if archs[native].big != hostBigEndian {
			in.Code = in.Code>>8 | in.Code<<8
			in.K = bits.ReverseBytes32(in.K)
			// libseccomp 2.5.4 turns the value round once more where it copies a return into reach, if it compiles for another byte order
			// than its own (_gen_bpf_build_jmp_ret in its gen_bpf.c).
			if in.Code == codeRet && strings.HasPrefix(ActionName(in.K), "0x") || in.Code == codeRet && in.K < 0x10000 && in.K != 0 {
				in.K = bits.ReverseBytes32(in.K)
			}
		}
	}
	return program, nil
}

var refOps = map[specs.LinuxSeccompOperator]int{
	specs.OpNotEqual: 1, specs.OpLessThan: 2, specs.OpLessEqual: 3, specs.OpEqualTo: 4, specs.OpGreaterEqual: 5, specs.OpGreaterThan: 6,
	specs.OpMaskedEqual: 7,
}

func writeRules(b *strings.Builder, action uint32, name string, args []specs.LinuxSeccompArg) {
	one := func(args []specs.LinuxSeccompArg) {
		fmt.Fprintf(b, "rule %x %s %d", action, name, len(args))
		for _, a := range args {
			fmt.Fprintf(b, " %d %d %d %d", a.Index, refOps[a.Op], a.Value, a.ValueTwo)
		}
		b.WriteString("\n")
	}
	seen := map[uint]bool{}
	for _, a := range args {
		if seen[a.Index] {
			for i := range args {
				one(args[i : i+1])
			}
			return
		}
		seen[a.Index] = true
	}
	one(args)
}

// common returns the profile with only those calls whose numbers libseccomp has as we do: ours is newer.
func (r *reference) common(tb tester, p *specs.LinuxSeccomp, native archID) *specs.LinuxSeccomp {
	checked, err := parse(p, native)
	if err != nil {
		tb.Fatal(err)
	}
	out := *p
	out.Syscalls = nil
	for _, s := range p.Syscalls {
		var names []string
		for _, name := range s.Names {
			if r.knows(tb, checked.archs, name) {
				names = append(names, name)
			}
		}
		s.Names = names
		if len(names) > 0 {
			out.Syscalls = append(out.Syscalls, s)
		}
	}
	return &out
}

func (r *reference) knows(tb tester, list []archID, name string) bool {
	id, ok := lookup(name)
	if !ok {
		return r.number(tb, list[0], name) == -1
	}
	for _, a := range list {
		n, ok := archs[a].number(id)
		ref := r.number(tb, a, name)
		if ok != (ref >= 0) || ok && uint32(ref) != n || ref == -1 {
			return false
		}
	}
	return true
}

// enosys says whether runc's stub answers a call before the filter, with the differences that the package comment names.
func enosys(p *specs.LinuxSeccomp, list []archID, d *Data) bool {
	switch p.DefaultAction {
	case specs.ActAllow, specs.ActLog, specs.ActTrace:
		return false
	}
	x32 := false
	for _, a := range list {
		x32 = x32 || a == archX32
	}
	for _, a := range list {
		if archs[a].token != d.Arch || (a == archX32) != (x32 && d.NR >= x32Bit && d.Arch == archs[archX8664].token) {
			continue
		}
		if a == archX8664 && d.NR >= x32Bit {
			continue
		}
		last, lastPrivate := int64(-1), int64(-1)
		for _, s := range p.Syscalls {
			for _, name := range s.Names {
				if n, ok := Number(archPrefix+archs[a].name, name); ok && a == archARM && n >= privateBase {
					lastPrivate = max(lastPrivate, int64(n))
				} else if ok {
					last = max(last, int64(n))
				}
			}
		}
		if last < 0 && lastPrivate < 0 {
			continue
		}
		if (a == archS390 || a == archS390X) && d.NR == 0 {
			return true
		}
		if lastPrivate >= 0 && d.NR >= privateBase {
			return int64(d.NR) > lastPrivate
		}
		return int64(d.NR) > last
	}
	return false
}

func readProfile(tb testing.TB, name string) *specs.LinuxSeccomp {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	var p specs.LinuxSeccomp
	if err := json.Unmarshal(b, &p); err != nil {
		tb.Fatal(err)
	}
	return &p
}
