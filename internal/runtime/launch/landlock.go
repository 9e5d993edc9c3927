package launch

import (
	"runtime"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/lsm"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/plan"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Landlock returns what this kernel can do of what the annotation lsm.LandlockAnnotation asks for, nil if it asks for nothing, and sentences about
// what is left out because the annotation says so.
func Landlock(spec *specs.Spec) (*lsm.Ruleset, []string, error) {
	value, ok := spec.Annotations[lsm.LandlockAnnotation]
	if !ok {
		return nil, nil, nil
	}
	request, err := lsm.ParseLandlock(value)
	if err != nil {
		return nil, nil, err
	}
	return request.For(lsm.LandlockABI())
}

// joinedLandlock is Landlock for a process that joins the container.
func joinedLandlock(spec *specs.Spec) (*lsm.Ruleset, error) {
	rules, _, err := Landlock(spec)
	return rules.Scopes(ownNamespace(spec, specs.PIDNamespace), ownNamespace(spec, specs.NetworkNamespace)), err
}

// ownNamespace reports whether the container has a namespace that was made for it.
func ownNamespace(spec *specs.Spec, t specs.LinuxNamespaceType) bool {
	if spec.Linux == nil {
		return false
	}
	for _, ns := range spec.Linux.Namespaces {
		if ns.Type == t {
			return ns.Path == ""
		}
	}
	return false
}

// portGuard returns the filter that comes with rules for ports: Landlock judges plain TCP sockets only, and other sockets carry TCP as well, or reach the
// same ports. MPTCP and SMC are refused as a kernel without them refuses them, so that programs fall back to TCP, which Go does at each listener; SCTP has
// no such fallback. What makes sockets where no filter can see of which kind, io_uring and the 32-bit socketcall, is refused too.
func portGuard(rules *lsm.Ruleset, cache string) (plan.Filter, error) {
	if rules == nil || rules.Net == 0 {
		return plan.Filter{}, nil
	}
	const smc = 43 // AF_SMC, linux/socket.h
	unsupported, denied, unknown := uint(unix.EPROTONOSUPPORT), uint(unix.EPERM), uint(unix.ENOSYS)
	refuse := func(name string, errno *uint, arg uint, value uint64) specs.LinuxSyscall {
		return specs.LinuxSyscall{
			Names: []string{name}, Action: specs.ActErrno, ErrnoRet: errno,
			Args: []specs.LinuxSeccompArg{{Index: arg, Value: 0xffffffff, ValueTwo: value, Op: specs.OpMaskedEqual}},
		}
	}
	profile := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
		refuse("socket", &unsupported, 2, unix.IPPROTO_MPTCP),
		refuse("socket", &unsupported, 2, unix.IPPROTO_SCTP),
		refuse("socket", &unsupported, 0, smc),
		{Names: []string{"io_uring_setup"}, Action: specs.ActErrno, ErrnoRet: &denied},
	}}
	switch runtime.GOARCH {
	case "amd64":
		profile.Architectures = []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32}
		profile.Syscalls = append(profile.Syscalls, refuse("socketcall", &unknown, 0, 1)) // SYS_SOCKET
	case "arm64":
		profile.Architectures = []specs.Arch{specs.ArchAARCH64, specs.ArchARM}
	}
	f, err := seccomp.Cached(cache, profile)
	if err != nil {
		return plan.Filter{}, err
	}
	return plan.Filter{Program: f.Bytes(), Flags: f.Flags}, nil
}
