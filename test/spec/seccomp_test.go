package spec

import (
	"fmt"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The system call that the rules of these tests are about: getpriority(which, who), which no program here needs.
const probe = unix.SYS_GETPRIORITY

// probeWith is the program that makes it, with arguments.
func probeWith(args ...any) []string {
	line := []string{"inside", "call", fmt.Sprint(probe)}
	for _, a := range args {
		line = append(line, fmt.Sprint(a))
	}
	return line
}

// filter makes a profile that allows everything but what the rules say.
func filter(rules ...specs.LinuxSyscall) *specs.LinuxSeccomp {
	return &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: rules}
}

func rule(action specs.LinuxSeccompAction, args ...specs.LinuxSeccompArg) specs.LinuxSyscall {
	return specs.LinuxSyscall{Names: []string{"getpriority"}, Action: action, Args: args}
}

// TestSeccompActions: what each action does to the call, with and without no_new_privs.
func TestSeccompActions(t *testing.T) {
	t.Parallel()
	errno := rule(specs.ActErrno)
	own, trace := errno, rule(specs.ActTrace)
	own.ErrnoRet, trace.ErrnoRet = ptr(uint(unix.ENOTNAM)), ptr(uint(7))
	for _, c := range []struct {
		rule specs.LinuxSyscall
		out  string
		code int
	}{
		{rule(specs.ActAllow), "20\n", 0},
		{errno, "EPERM\n", 0},
		{own, "ENOTNAM\n", 0},
		{rule(specs.ActLog), "20\n", 0},
		{trace, "ENOSYS\n", 0}, // nobody traces
		{rule(specs.ActKillProcess), "", 128 + int(unix.SIGSYS)},
		{rule(specs.ActKill), "", 128 + int(unix.SIGSYS)},
		{rule(specs.ActKillThread), "", 128 + int(unix.SIGSYS)},
		{rule(specs.ActTrap), "", 128 + int(unix.SIGSYS)},
	} {
		for _, noNewPrivs := range []bool{true, false} {
			b := newBox(t, probeWith(0, 0)...)
			if c.out == "" {
				c.rule.Names = []string{"sync"}
				b.spec.Process.Args = []string{"sync"} // has one thread and no handler
			}
			b.spec.Linux.Seccomp = filter(c.rule)
			b.spec.Process.NoNewPrivileges = noNewPrivs
			b.spec.Process.User = specs.User{UID: 1000, GID: 1000}
			if r := b.run(); r.out != c.out || r.code != c.code {
				t.Errorf("%s, no_new_privs %v: %q and exit status %d, want %q and %d: %.200s", c.rule.Action, noNewPrivs, r.out, r.code, c.out, c.code, r.err)
			}
		}
	}
}

// TestSeccompSeen: the filter counts in /proc/PID/status, also for a process that joins, and not before the program runs.
func TestSeccompSeen(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sleep", "60")
	b.spec.Linux.Seccomp = filter(rule(specs.ActErrno))
	pid := b.create()
	b.ok("start", b.id)
	same(t, statusOf(t, pid), map[string]string{"Seccomp": "2", "Seccomp_filters": "1", "NoNewPrivs": "0"})
	same(t, facts(b.ok("exec", b.id, "inside", "report").out), map[string]string{"status.Seccomp": "2"})
	if out := b.ok(append([]string{"exec", b.id}, probeWith(0, 0)...)...).out; out != "EPERM\n" {
		t.Errorf("exec: %q", out)
	}
}

// TestSeccompDefault: defaultAction and defaultErrnoRet, with a list of what the program needs.
func TestSeccompDefault(t *testing.T) {
	t.Parallel()
	needed := strings.Fields(`arch_prctl brk clone clone3 close epoll_create1 epoll_ctl epoll_pwait eventfd2 execve exit exit_group fcntl futex getpid
		getrlimit gettid madvise mmap mprotect munmap nanosleep open openat pipe2 prctl prlimit64 pread64 read readlinkat restart_syscall
		rt_sigaction rt_sigprocmask rt_sigreturn rseq sched_getaffinity set_robust_list set_tid_address setrlimit sigaltstack tgkill uname write fstat newfstatat`)
	b := newBox(t, probeWith(0, 0)...)
	b.spec.Process.NoNewPrivileges = true
	b.spec.Linux.Seccomp = &specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno, DefaultErrnoRet: ptr(uint(unix.EOWNERDEAD)), Syscalls: []specs.LinuxSyscall{{Names: needed, Action: specs.ActAllow}},
	}
	if out := b.output(); out != "EOWNERDEAD\n" {
		t.Errorf("%q", out)
	}
	b.spec.Linux.Seccomp.DefaultErrnoRet = nil
	if out := b.output(); out != "EPERM\n" {
		t.Errorf("%q", out)
	}
	b.spec.Linux.Seccomp.DefaultAction = specs.ActKillProcess
	if r := b.run(); r.code != 128+int(unix.SIGSYS) {
		t.Errorf("exit status %d: %s", r.code, r.err)
	}
}

// TestSeccompArgs: each comparison, in 64 bits, on a call that is refused where it holds.
func TestSeccompArgs(t *testing.T) {
	t.Parallel()
	const big = 0x1_0000_0005
	for _, c := range []struct {
		op         specs.LinuxSeccompOperator
		value, two uint64
		hits       []uint64
		misses     []uint64
	}{
		{specs.OpEqualTo, big, 0, []uint64{big}, []uint64{5, big + 1, 0x2_0000_0005}},
		{specs.OpNotEqual, big, 0, []uint64{5, 0x2_0000_0005}, []uint64{big}},
		{specs.OpLessThan, big, 0, []uint64{big - 1, 0xffff_ffff}, []uint64{big, 0x2_0000_0000}},
		{specs.OpLessEqual, big, 0, []uint64{big, 6}, []uint64{big + 1, 0x2_0000_0004}},
		{specs.OpGreaterEqual, big, 0, []uint64{big, 0x2_0000_0000}, []uint64{big - 1, 0xffff_ffff}},
		{specs.OpGreaterThan, big, 0, []uint64{big + 1, 0x2_0000_0000}, []uint64{big, 0xffff_ffff}},
		{specs.OpMaskedEqual, 0xf_0000_000f, big, []uint64{big, 0x21_0000_0ff5}, []uint64{5, big + 1, 0x3_0000_0005}},
	} {
		refused := rule(specs.ActErrno, specs.LinuxSeccompArg{Index: 1, Value: c.value, ValueTwo: c.two, Op: c.op})
		refused.ErrnoRet = ptr(uint(unix.EXFULL))
		script, want := "", ""
		for _, v := range c.hits {
			script += fmt.Sprintf("inside call %d 77 %d\n", probe, v)
			want += "EXFULL\n"
		}
		for _, v := range c.misses { // what the kernel says of the first argument
			script += fmt.Sprintf("inside call %d 77 %d\n", probe, v)
			want += "EINVAL\n"
		}
		b := newBox(t, "sh", "-c", script)
		b.spec.Linux.Seccomp = filter(refused)
		if out := b.output(); out != want {
			t.Errorf("%s: %q, want %q", c.op, out, want)
		}
	}
	b := newBox(t, "sh", "-c", fmt.Sprintf("inside call %d 0 1; inside call %d 1 0; inside call %d 0 0", probe, probe, probe))
	zero := func(i uint) specs.LinuxSeccompArg {
		return specs.LinuxSeccompArg{Index: i, Value: 0, Op: specs.OpEqualTo}
	}
	b.spec.Linux.Seccomp = filter(rule(specs.ActErrno, zero(0), zero(1))) // both must hold
	if out := b.output(); !strings.HasSuffix(out, "EPERM\n") || strings.Count(out, "EPERM") != 1 {
		t.Errorf("two comparisons: %q", out)
	}
}

// TestSeccompArchitectures: what comes by the entry of another architecture is only let in if that is in the list, and then it is filtered
// by its own numbers.
func TestSeccompArchitectures(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/sys/abi/vsyscall32"); err != nil {
		cannot(t, "no 32-bit programs: %v", err)
	}
	const getpriority32, getpid32 = "96", "20"
	b := newBox(t, "sh", "-c", "inside int80 "+getpid32+" & sleep 0.3; kill -KILL $!; echo end") // it may have lost a thread only
	b.spec.Linux.Seccomp = filter(rule(specs.ActErrno))
	b.spec.Linux.Seccomp.Architectures = []specs.Arch{specs.ArchX86_64}
	if out := b.output(); out != "end\n" {
		t.Errorf("a 32-bit call passes a filter for x86_64: %q", out)
	}
	b.spec.Linux.Seccomp.Architectures = []specs.Arch{specs.ArchX86_64, specs.ArchX86}
	if out := b.output(); out == "end\n" || strings.HasPrefix(out, "E") {
		t.Errorf("a 32-bit call does not pass a filter with SCMP_ARCH_X86: %q", out)
	}
	b.spec.Process.Args = []string{"inside", "int80", getpriority32}
	if out := b.output(); out != "EPERM\n" {
		t.Errorf("a rule does not hold for 32-bit calls: %q", out)
	}
}

// TestSeccompFlags: all of them are taken, and the kernel that logs says so.
func TestSeccompFlags(t *testing.T) {
	t.Parallel()
	for _, flag := range []specs.LinuxSeccompFlag{
		specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow, "SECCOMP_FILTER_FLAG_TSYNC", specs.LinuxSeccompFlagWaitKillableRecv,
	} {
		b := newBox(t, probeWith(0, 0)...)
		b.spec.Linux.Seccomp = filter(rule(specs.ActErrno))
		b.spec.Linux.Seccomp.Flags = []specs.LinuxSeccompFlag{flag}
		if flag == specs.LinuxSeccompFlagWaitKillableRecv { // of a listener only (seccomp(2))
			b.write()
			if r := b.call("run", "--bundle", b.dir, b.id); r.code == 0 && r.out != "EPERM\n" || r.code != 0 && !strings.Contains(r.err, "seccomp") {
				t.Errorf("%s: exit status %d: %s%s", flag, r.code, r.out, r.err)
			}
			continue
		}
		if out := b.output(); out != "EPERM\n" {
			t.Errorf("%s: %q", flag, out)
		}
	}
}

// TestSeccompErrors: profiles that say something wrong.
func TestSeccompErrors(t *testing.T) {
	t.Parallel()
	arg := specs.LinuxSeccompArg{Index: 6, Op: specs.OpEqualTo}
	withErrno := rule(specs.ActKill)
	withErrno.ErrnoRet = ptr(uint(1))
	for field, p := range map[string]*specs.LinuxSeccomp{
		"defaultAction":        {DefaultAction: "SCMP_ACT_PERHAPS"},
		"syscalls[0].action":   filter(specs.LinuxSyscall{Names: []string{"acct"}, Action: "X"}),
		"syscalls[0].names":    filter(specs.LinuxSyscall{Action: specs.ActErrno}),
		"syscalls[0].errnoRet": filter(withErrno),
		"defaultErrnoRet":      {DefaultAction: specs.ActAllow, DefaultErrnoRet: ptr(uint(1))},
		"index":                filter(rule(specs.ActErrno, arg)),
		"op":                   filter(rule(specs.ActErrno, specs.LinuxSeccompArg{Op: "SCMP_CMP_XX"})),
		"architectures[0]":     {DefaultAction: specs.ActAllow, Architectures: []specs.Arch{"SCMP_ARCH_PDP11"}},
		"flags[0]":             {DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_X"}},
		"listenerMetadata":     {DefaultAction: specs.ActAllow, ListenerMetadata: "x"},
		"listenerPath":         filter(rule(specs.ActNotify)),
	} {
		b := newBox(t, "true")
		b.spec.Linux.Seccomp = p
		b.refused("linux.seccomp", field)
	}
	b := newBox(t, "true") // names that this kernel does not have are none of the rules' business
	b.spec.Linux.Seccomp = filter(specs.LinuxSyscall{Names: []string{"no_such_call", "acct"}, Action: specs.ActErrno})
	b.output()
}
