package seccomp

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/opencontainers/runtime-spec/specs-go"
)

var update = flag.Bool("update", false, "write golden files")

func TestErrorsNameTheField(t *testing.T) {
	n, big := uint(1), uint(5000)
	rule := func(s specs.LinuxSyscall) *specs.LinuxSeccomp {
		ok := specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActAllow}
		return &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{ok, s}}
	}
	arg := func(a ...specs.LinuxSeccompArg) *specs.LinuxSeccomp {
		return rule(specs.LinuxSyscall{Names: []string{"write"}, Action: specs.ActAllow, Args: a})
	}
	one := []specs.LinuxSeccompArg{{Index: 0, Value: 1, Op: specs.OpEqualTo}}
	conflict := rule(specs.LinuxSyscall{Names: []string{"write"}, Action: specs.ActAllow, Args: one})
	conflict.Syscalls = append(conflict.Syscalls, specs.LinuxSyscall{Names: []string{"write"}, Action: specs.ActKill, Args: one})
	for _, c := range []struct {
		p    *specs.LinuxSeccomp
		want string
	}{
		{nil, "linux.seccomp: missing"},
		{&specs.LinuxSeccomp{}, `linux.seccomp.defaultAction: unknown action ""`},
		{&specs.LinuxSeccomp{DefaultAction: "x\n"}, `linux.seccomp.defaultAction: unknown action "x\n"`},
		{&specs.LinuxSeccomp{DefaultAction: specs.ActErrno, DefaultErrnoRet: &big}, "linux.seccomp.defaultErrnoRet: 5000 is above the largest, 4095"},
		{&specs.LinuxSeccomp{DefaultAction: specs.ActAllow, DefaultErrnoRet: &n}, "linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW takes no errno"},
		{&specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{"SCMP_ARCH_X86_64", "Z80"}}, `linux.seccomp.architectures[1]: unknown architecture "Z80"`},
		{&specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{"SCMP_ARCH_S390X"}}, "linux.seccomp.architectures[0]: SCMP_ARCH_S390X has another byte order than this machine"},
		{&specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Flags: []specs.LinuxSeccompFlag{"F"}}, `linux.seccomp.flags[0]: unknown flag "F"`},
		{rule(specs.LinuxSyscall{Action: specs.ActAllow}), "linux.seccomp.syscalls[1].names: empty"},
		{rule(specs.LinuxSyscall{Names: []string{"read", ""}, Action: specs.ActAllow}), "linux.seccomp.syscalls[1].names[1]: empty"},
		{rule(specs.LinuxSyscall{Names: []string{"read"}, Action: "DENY"}), `linux.seccomp.syscalls[1].action: unknown action "DENY"`},
		{rule(specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActErrno, ErrnoRet: &big}), "linux.seccomp.syscalls[1].errnoRet: 5000 is above the largest, 4095"},
		{rule(specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActKill, ErrnoRet: &n}), "linux.seccomp.syscalls[1].errnoRet: SCMP_ACT_KILL takes no errno"},
		{arg(specs.LinuxSeccompArg{Op: "X"}), `linux.seccomp.syscalls[1].args[0].op: unknown operator "X"`},
		{arg(one[0], specs.LinuxSeccompArg{Index: 6, Op: specs.OpEqualTo}), "linux.seccomp.syscalls[1].args[1].index: 6 is above 5, the last argument"},
		{conflict, "linux.seccomp.syscalls[2]: contradicts syscalls[1] under the same conditions"},
	} {
		_, err := compile(c.p, archX8664)
		if err == nil || err.Error() != c.want || !errdef.Is(err, errdef.Invalid) {
			t.Errorf("got  %v (%v)\nwant %s", err, errdef.KindOf(err), c.want)
		}
	}
	if _, err := compile(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow}, numArchs); !errdef.Is(err, errdef.Unsupported) {
		t.Errorf("an architecture without name: %v", err)
	}
}

func TestTooLong(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}
	for i := range uint64(3000) {
		p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Names: []string{"ioctl"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{
			{Index: 1, Value: i * 77, Op: specs.OpEqualTo}, {Index: 2, Value: i << 33, Op: specs.OpGreaterThan},
		}})
	}
	_, err := Compile(p)
	if err == nil || !strings.Contains(err.Error(), "instructions, the kernel takes at most 4096") {
		t.Fatal(err)
	}
}

func TestFlags(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{
		"SECCOMP_FILTER_FLAG_TSYNC", specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow, specs.LinuxSeccompFlagWaitKillableRecv,
	}}
	f, err := Compile(p)
	if err != nil || f.Flags != FlagLog|FlagSpecAllow || f.Notify {
		t.Fatal(f, err)
	}
	p.Syscalls = []specs.LinuxSyscall{{Names: []string{"mkdir", "execve", "write"}, Action: specs.ActNotify}}
	f, err = Compile(p)
	if err != nil || f.Flags != FlagLog|FlagSpecAllow|FlagWaitKillable|FlagNewListener || !f.Notify {
		t.Fatal(f, err)
	}
}

// TestInvalidNumbers: what stands for a call that no kernel has.
func TestInvalidNumbers(t *testing.T) {
	p := readProfile(t, "docker.json")
	p.Architectures = nil
	f, err := compile(p, archX8664)
	if err != nil {
		t.Fatal(err)
	}
	for nr, want := range map[uint32]uint32{
		0x3fffffff: retENOSYS, 0x40000000: retKillThread, 0x80000000: retKillThread, 0xfffffffe: retKillThread, 0xffffffff: retErrno | eperm,
	} {
		if got, _ := run(f.Program, &Data{Arch: 0xc000003e, NR: nr}, false); got != want {
			t.Errorf("%#x: %s, want %s", nr, ActionName(got), ActionName(want))
		}
	}
	p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Names: []string{"cacheflush", "set_tls"}, Action: specs.ActAllow})
	arm, err := compile(p, archARM)
	if err != nil {
		t.Fatal(err)
	}
	for nr, want := range map[uint32]uint32{
		1000: retENOSYS, 0xeffff: retENOSYS, 0xf0001: retErrno | eperm, 0xf0002: retAllow, 0xf0005: retAllow, 0xf0006: retENOSYS,
	} {
		if got, _ := run(arm.Program, &Data{Arch: 0x40000028, NR: nr}, false); got != want {
			t.Errorf("arm %#x: %s, want %s", nr, ActionName(got), ActionName(want))
		}
	}
}

// TestGolden shows every instruction for Docker's profile. If it changes, so must compilerVersion, which stands in the first line.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		profile string
		native  archID
	}{{"docker.json", archX8664}, {"docker.json", archAARCH64}, {"podman.json", archX8664}} {
		p := readProfile(t, c.profile)
		if c.native == archAARCH64 {
			p.Architectures = []specs.Arch{specs.ArchARM, specs.ArchAARCH64}
		}
		f, err := compile(p, c.native)
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("compiler version %d\n%s", compilerVersion, Disassemble(f.Program))
		name := filepath.Join("testdata", strings.TrimSuffix(c.profile, ".json")+"."+strings.ToLower(archs[c.native].name)+".golden")
		if *update {
			if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs; look at it with -update and git diff, and raise compilerVersion", name)
		}
	}
}
