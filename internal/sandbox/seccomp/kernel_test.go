package seccomp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// kernel runs programs in the real kernel (testdata/kernel).
type kernel struct{ bin string }

func newKernel(tb testing.TB) kernel {
	tb.Helper()
	k := kernel{filepath.Join(tb.TempDir(), "kernel")}
	build := exec.Command("cc", "-O1", "-Wall", "-o", k.bin, "testdata/kernel/kernel.c")
	if out, err := build.CombinedOutput(); err != nil {
		if strict() {
			tb.Fatalf("cc: %v\n%s", err, out)
		}
		tb.Skipf("needs cc: %v", err)
	}
	return k
}

// run gives the programs to the kernel and returns the lines of the answer; killed is the signal that ended it.
func (k kernel) run(tb testing.TB, programs [][]Insn, args ...string) (lines []string, killed syscall.Signal) {
	tb.Helper()
	var in bytes.Buffer
	for _, p := range programs {
		var n [4]byte
		binary.NativeEndian.PutUint32(n[:], uint32(len(p)))
		in.Write(n[:])
		in.Write(encode(p))
	}
	cmd := exec.Command(k.bin, args...)
	var out, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &in, &out, &stderr
	err := cmd.Run()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		killed = status.Signal()
	} else if err != nil {
		tb.Fatalf("kernel %v: %v\n%s", args, err, stderr.String())
	}
	return strings.Fields(out.String()), killed
}

// decides runs one call under a filter: its errno, or -1 if the process was killed by SIGSYS.
func (k kernel) decides(tb testing.TB, program []Insn, gate string, call ...uint64) int {
	tb.Helper()
	args := []string{gate}
	for len(call) < 4 {
		call = append(call, 0)
	}
	for _, v := range call {
		args = append(args, strconv.FormatUint(v, 10))
	}
	lines, killed := k.run(tb, [][]Insn{program}, args...)
	if killed == syscall.SIGSYS {
		return -1
	}
	if killed != 0 || len(lines) != 1 {
		tb.Fatalf("call %v: signal %v, answers %q", call, killed, lines)
	}
	n, err := strconv.Atoi(lines[0])
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func needAMD64(tb testing.TB) {
	tb.Helper()
	if runtime.GOARCH != "amd64" {
		tb.Skip("the numbers are x86_64's")
	}
}

// TestKernelDecides makes calls under Docker's profile.
func TestKernelDecides(t *testing.T) {
	needAMD64(t)
	k := newKernel(t)
	p := readProfile(t, "docker.json")
	f, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	const personality, socket, mount, getpid, clone3, unshare = 135, 41, 165, 39, 435, 272
	for _, c := range []struct {
		what string
		gate string
		call []uint64
		want int
	}{
		{"getpid", "call", []uint64{getpid}, 0},
		{"personality read", "call", []uint64{personality, 0xffffffff}, 0},
		{"personality without randomization", "call", []uint64{personality, 0x40000}, int(syscall.EPERM)},
		{"personality with high bits", "call", []uint64{personality, 1 << 32}, int(syscall.EPERM)},
		{"unix socket", "call", []uint64{socket, syscall.AF_UNIX, syscall.SOCK_STREAM}, 0},
		{"AF_VSOCK", "call", []uint64{socket, 40, syscall.SOCK_STREAM}, int(syscall.EPERM)},
		{"AF_ALG", "call", []uint64{socket, 38, syscall.SOCK_SEQPACKET}, int(syscall.EPERM)},
		{"AF_VSOCK with high bits", "call", []uint64{socket, 40 | 1<<32, syscall.SOCK_STREAM}, int(syscall.EPERM)},
		{"mount", "call", []uint64{mount}, int(syscall.EPERM)},
		{"unshare", "call", []uint64{unshare, 0}, int(syscall.EPERM)},
		{"clone3", "call", []uint64{clone3}, int(syscall.ENOSYS)},
		{"newer than the profile", "call", []uint64{500}, int(syscall.ENOSYS)},
		{"i386 getpid", "int80", []uint64{20}, 0},
		{"i386 mount", "int80", []uint64{21}, int(syscall.EPERM)},
		{"i386 personality", "int80", []uint64{136, 0x40000}, int(syscall.EPERM)},
		{"i386 newer", "int80", []uint64{500}, int(syscall.ENOSYS)},
	} {
		t.Run(c.what, func(t *testing.T) {
			if got := k.decides(t, f.Program, c.gate, c.call...); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

// TestKernelKills checks what ends a process: the kill actions, x32 and i386 when they are not listed.
func TestKernelKills(t *testing.T) {
	needAMD64(t)
	k := newKernel(t)
	p := readProfile(t, "docker.json")
	p.Architectures = []specs.Arch{specs.ArchX86_64}
	p.Syscalls = append(p.Syscalls,
		specs.LinuxSyscall{Names: []string{"mount"}, Action: specs.ActKillProcess},
		specs.LinuxSyscall{Names: []string{"umount2"}, Action: specs.ActKill},
		specs.LinuxSyscall{Names: []string{"swapon"}, Action: specs.ActTrap})
	f, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		gate string
		nr   uint64
		want int
	}{
		"KILL_PROCESS": {"call", 165, -1}, "KILL": {"call", 166, -1}, "TRAP": {"call", 167, -1},
		"x32 getpid": {"call", x32Bit | 39, -1}, "i386 getpid": {"int80", 20, -1}, "getpid": {"call", 39, 0},
	} {
		if got := k.decides(t, f.Program, c.gate, c.nr); got != c.want {
			t.Errorf("%s: %d, want %d", what, got, c.want)
		}
	}
}

// TestCheckIsTheKernels gives short programs with every code to Check and to the kernel.
func TestCheckIsTheKernels(t *testing.T) {
	k := newKernel(t)
	ret := Insn{Code: codeRet, K: retAllow}
	var programs [][]Insn
	for code := range uint16(0x100) {
		for _, v := range []uint32{0, 1, 2, 3, 4, 15, 16, 31, 32, 60, 62, 64} {
			programs = append(programs, []Insn{{Code: code, K: v}, ret, ret})
		}
		programs = append(programs, []Insn{{Code: code, Jt: 1}, ret, ret}, []Insn{{Code: code, Jf: 2}, ret, ret}, []Insn{ret, {Code: code}},
			[]Insn{{Code: 0x02, K: 1}, {Code: code, K: 1}, ret, ret},
			[]Insn{{Code: codeEqual, K: 1, Jt: 1}, {Code: 0x02, K: 1}, {Code: code, K: 1}, ret, ret})
	}
	long := make([]Insn, maxProgram+1)
	for i := range long {
		long[i] = ret
	}
	programs = append(programs, nil, long[:maxProgram], long, []Insn{{Code: 0x100}, ret}, []Insn{{Code: codeRet | 0x300}})
	lines, _ := k.run(t, programs, "try")
	if len(lines) != len(programs) {
		t.Fatalf("%d answers for %d programs", len(lines), len(programs))
	}
	bad := 0
	for i, p := range programs {
		if got := Check(p); (got == nil) != (lines[i] == "0") {
			bad++
			if bad < 10 && len(p) < 10 {
				t.Errorf("Check: %v, kernel: errno %s, for\n%s", got, lines[i], Disassemble(p))
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d differ", bad, len(programs))
	}
}

// TestKernelCost compares what calls cost under our program and under libseccomp's, in the kernel, and how many instructions each
// takes for a decision. Times are for reading: only a gross loss fails.
func TestKernelCost(t *testing.T) {
	needAMD64(t)
	ref, k := newReference(t), newKernel(t)
	for _, name := range []string{"docker.json", "podman.json"} {
		p := ref.common(t, readProfile(t, name), archX8664)
		f, err := Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		programs := map[string][]Insn{"ours": f.Program}
		for optimize := 1; optimize <= 2; optimize++ {
			if programs[fmt.Sprint("libseccomp ", optimize)], err = ref.compile(t, p, archX8664, optimize); err != nil {
				t.Fatal(err)
			}
		}
		mean := map[string]float64{}
		for _, who := range []string{"ours", "libseccomp 1", "libseccomp 2"} {
			mean[who] = meanSteps(t, programs[who])
			lines, _ := k.run(t, [][]Insn{programs[who]}, "bench", "20000", "39", "0", "135", "0xffffffff", "165", "0")
			t.Logf("%s %-12s %4d instructions, %5.1f a decision; getpid %s ns, personality %s ns, mount (denied) %s ns",
				name, who, len(programs[who]), mean[who], lines[0], lines[1], lines[2])
		}
		if mean["ours"] > mean["libseccomp 1"] || mean["ours"] > mean["libseccomp 2"] {
			t.Errorf("%s: our program takes more instructions than libseccomp's", name)
		}
	}
	lines, _ := k.run(t, [][]Insn{nil}, "bench", "20000", "39", "0", "135", "0xffffffff", "165", "0")
	t.Logf("no filter: getpid %s ns, personality %s ns, mount %s ns", lines[0], lines[1], lines[2])
}

// meanSteps returns the instructions that a decision takes, on average over all calls of x86_64.
func meanSteps(tb testing.TB, program []Insn) float64 {
	tb.Helper()
	total, calls := 0, 0
	for id := range numNames {
		if nr, ok := archs[archX8664].number(id); ok {
			_, n := run(program, &Data{Arch: archs[archX8664].token, NR: nr}, hostBigEndian)
			total += n
			calls++
		}
	}
	return float64(total) / float64(calls)
}
