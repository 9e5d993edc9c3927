package runtime

import (
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/capability"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/rootfs"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"golang.org/x/sys/unix"
)

// Annotations of runc's that say something about us as well.
const (
	versionAnnotation    = "io.bulkhead.version"
	checkpointAnnotation = "org.opencontainers.runc.checkpoint.enabled"
)

// Features returns what this runtime knows, whatever the host supports: features.md of the runtime specification. No annotation of a
// config.json changes what this runtime does, so there are none to call unsafe.
func Features(version string) *features.Features {
	yes := true
	return &features.Features{
		OCIVersionMin: "1.0.0",
		OCIVersionMax: specs.Version,
		Hooks:         []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},
		MountOptions:  rootfs.KnownOptions(),
		Annotations:   map[string]string{versionAnnotation: version, checkpointAnnotation: "false"},
		Linux: &features.Linux{
			Namespaces: []string{
				string(specs.CgroupNamespace), string(specs.IPCNamespace), string(specs.MountNamespace), string(specs.NetworkNamespace),
				string(specs.PIDNamespace), string(specs.TimeNamespace), string(specs.UserNamespace), string(specs.UTSNamespace),
			},
			Capabilities:    capabilities(),
			Cgroup:          &features.Cgroup{V1: &yes, V2: &yes, Systemd: &yes, SystemdUser: &yes, Rdma: &yes},
			Seccomp:         seccompFeatures(),
			Apparmor:        &features.Apparmor{Enabled: &yes},
			Selinux:         &features.Selinux{Enabled: &yes},
			IntelRdt:        &features.IntelRdt{Enabled: &yes, Schemata: &yes, Monitoring: &yes},
			MemoryPolicy:    memoryPolicies(),
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: &yes}},
			NetDevices:      &features.NetDevices{Enabled: &yes},
		},
	}
}

func capabilities() []string {
	var names []string
	for n := 0; n <= sys.LastCapability(); n++ {
		if name := capability.Name(n); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func memoryPolicies() *features.MemoryPolicy {
	f := &features.MemoryPolicy{}
	for _, m := range []specs.MemoryPolicyModeType{
		specs.MpolBind, specs.MpolDefault, specs.MpolInterleave, specs.MpolLocal, specs.MpolPreferred, specs.MpolPreferredMany, specs.MpolWeightedInterleave,
	} {
		f.Modes = append(f.Modes, string(m))
	}
	for _, m := range []specs.MemoryPolicyFlagType{specs.MpolFNumaBalancing, specs.MpolFRelativeNodes, specs.MpolFStaticNodes} {
		f.Flags = append(f.Flags, string(m))
	}
	return f
}

// The words of seccomp profiles that package seccomp compiles, which a test makes sure of.
var (
	seccompActions = []specs.LinuxSeccompAction{
		specs.ActAllow, specs.ActErrno, specs.ActKill, specs.ActKillProcess, specs.ActKillThread, specs.ActLog, specs.ActNotify, specs.ActTrace,
		specs.ActTrap,
	}
	seccompOperators = []specs.LinuxSeccompOperator{
		specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpLessEqual, specs.OpLessThan, specs.OpMaskedEqual, specs.OpNotEqual,
	}
	seccompArchs = []specs.Arch{
		specs.ArchAARCH64, specs.ArchARM, specs.ArchMIPS, specs.ArchMIPS64, specs.ArchMIPS64N32, specs.ArchMIPSEL, specs.ArchMIPSEL64,
		specs.ArchMIPSEL64N32, specs.ArchPPC, specs.ArchPPC64, specs.ArchPPC64LE, specs.ArchRISCV64, specs.ArchS390, specs.ArchS390X,
		specs.ArchX32, specs.ArchX86, specs.ArchX86_64,
	}
	seccompFlags = []struct {
		name specs.LinuxSeccompFlag
		bit  uintptr
	}{
		{specs.LinuxSeccompFlagLog, seccomp.FlagLog},
		{specs.LinuxSeccompFlagSpecAllow, seccomp.FlagSpecAllow},
		{specs.LinuxSeccompFlagWaitKillableRecv, seccomp.FlagWaitKillable},
	}
)

func seccompFeatures() *features.Seccomp {
	yes := true
	f := &features.Seccomp{Enabled: &yes}
	for _, a := range seccompActions {
		f.Actions = append(f.Actions, string(a))
	}
	for _, o := range seccompOperators {
		f.Operators = append(f.Operators, string(o))
	}
	for _, a := range seccompArchs {
		f.Archs = append(f.Archs, string(a))
	}
	for _, flag := range seccompFlags {
		f.KnownFlags = append(f.KnownFlags, string(flag.name))
		bit := flag.bit
		if bit == seccomp.FlagWaitKillable {
			bit |= seccomp.FlagNewListener // the kernel takes it with a listener alone
		}
		if sys.SeccompFlagError(bit) == unix.EFAULT {
			f.SupportedFlags = append(f.SupportedFlags, string(flag.name))
		}
	}
	return f
}
