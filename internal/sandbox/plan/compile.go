package plan

import (
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Compile makes the plan of a new container. The spec has been validated (package bundle). Errors are of kind Invalid or Unsupported
// and name the field.
func Compile(in *Input) (*Plan, error) {
	b := newBuilder(in)
	if in.Spec.Process == nil {
		return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "process: missing"), "config.json needs a process to run")
	}
	if err := b.sortNamespaces(); err != nil {
		return nil, err
	}
	b.early()
	b.namespaces()
	b.identity()
	if in.Hooks || b.forked {
		b.p.Hooks = true
		b.barrier(BarrierHooks, "namespaces are ready: prestart and createRuntime hooks, network devices")
	}
	if err := b.filesystem(); err != nil {
		return nil, err
	}
	if err := b.process(in.Spec.Process); err != nil {
		return nil, err
	}
	return b.p, nil
}

func newBuilder(in *Input) *builder {
	b := &builder{in: in, spec: in.Spec, p: &Plan{}, files: map[string]bool{}}
	b.p.Ops = make([]op.Op, 0, 320)
	b.proc = b.want(FileWant{Name: "proc", Kind: HostProc, Path: "/proc"})
	return b
}

// early is what needs the host's rights: it comes before any namespace of the container.
func (b *builder) early() {
	p := b.spec.Process
	b.add(op.Umask(0).Because("modes of files that the plan makes are exact"))
	if p.OOMScoreAdj != nil {
		f := b.slot("f")
		b.add(
			op.Openat(b.proc, "self/oom_score_adj", unix.O_WRONLY|unix.O_CLOEXEC, 0).To(f).Because("process.oomScoreAdj"),
			op.Write(op.At(f), itoa(*p.OOMScoreAdj)).Because("process.oomScoreAdj").Hinted("lowering the score needs CAP_SYS_RESOURCE on the host"),
			op.Close(op.At(f)),
		)
	}
	b.limits(p.Rlimits)
}

// identity gives the container its names, its loopback device and its keyring.
func (b *builder) identity() {
	if b.spec.Hostname != "" {
		b.add(setname("sethostname", unix.SYS_SETHOSTNAME, b.spec.Hostname).Because("hostname"))
	}
	if b.spec.Domainname != "" {
		b.add(setname("setdomainname", unix.SYS_SETDOMAINNAME, b.spec.Domainname).Because("domainname"))
	}
	if b.newNS&unix.CLONE_NEWNET != 0 {
		b.loopback()
	}
	b.labels(true)
	if !b.in.NoKeyring {
		b.add(op.Raw("keyctl", unix.SYS_KEYCTL, op.Flag(unix.KEYCTL_JOIN_SESSION_KEYRING, "JOIN_SESSION_KEYRING"), op.Str("_ses."+b.in.ID)).
			Else(unix.ENOSYS, "").Because("a session keyring of its own: the host's keys stay out of reach"))
	}
}

func setname(call string, nr uint32, name string) op.Op {
	return op.Raw(call, nr, op.Str(name), op.Num(len(name)))
}

// loopback brings lo up in the new network namespace: netdevice(7), SIOCSIFFLAGS.
func (b *builder) loopback() {
	req := make([]byte, 40) // struct ifreq
	copy(req, "lo")
	req[16] = unix.IFF_UP // flags, 16 bits
	s := b.slot("s")
	b.add(
		op.Raw("socket", unix.SYS_SOCKET, op.Flag(unix.AF_INET, "AF_INET"), op.Flag(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, "SOCK_DGRAM|SOCK_CLOEXEC"), op.Num(0)).
			To(s).Because("a socket to configure lo with"),
		op.Ioctl(op.At(s), unix.SIOCSIFFLAGS, "SIOCSIFFLAGS", op.Data(string(req), "{lo, IFF_UP}")).Because("loopback works in the new network namespace"),
		op.Close(op.At(s)),
	)
}

// sysctls writes linux.sysctl through a procfs that the image has no say in, before any of it becomes read-only. The names were checked to be namespaced ones.
func (b *builder) sysctls() error {
	if b.spec.Linux == nil {
		return nil
	}
	for _, key := range sortedKeys(b.spec.Linux.Sysctl) {
		path, err := sysctlPath(key)
		if err != nil {
			return err
		}
		f := b.slot("f")
		b.add(
			op.Openat2(b.proc, path, unix.O_WRONLY|unix.O_CLOEXEC, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV).
				To(f).Because("linux.sysctl."+key).Hinted("this kernel has no such sysctl, or it belongs to no namespace of the container"),
			op.Write(op.At(f), b.spec.Linux.Sysctl[key]).Because("linux.sysctl."+key),
			op.Close(op.At(f)),
		)
	}
	return nil
}

// sysctlPath turns net.ipv4.ip_forward into sys/net/ipv4/ip_forward. As in sysctl(8), whichever of dot and slash comes first separates,
// and the other one stands for a dot in a name (net/ipv4/conf/eth0.1/...).
func sysctlPath(key string) (string, error) {
	var path string
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '/' {
		path = key
	} else {
		path = strings.Map(func(r rune) rune {
			switch r {
			case '.':
				return '/'
			case '/':
				return '.'
			}
			return r
		}, key)
	}
	for _, part := range strings.Split(path, "/") {
		if part == "" || part == "." || part == ".." {
			return "", errdef.Errorf(errdef.Invalid, "linux.sysctl.%s: not the name of a sysctl", key)
		}
	}
	return "sys/" + path, nil
}

func ns(t specs.LinuxNamespaceType) uint64 {
	switch t {
	case specs.PIDNamespace:
		return unix.CLONE_NEWPID
	case specs.NetworkNamespace:
		return unix.CLONE_NEWNET
	case specs.MountNamespace:
		return unix.CLONE_NEWNS
	case specs.IPCNamespace:
		return unix.CLONE_NEWIPC
	case specs.UTSNamespace:
		return unix.CLONE_NEWUTS
	case specs.UserNamespace:
		return unix.CLONE_NEWUSER
	case specs.CgroupNamespace:
		return unix.CLONE_NEWCGROUP
	case specs.TimeNamespace:
		return unix.CLONE_NEWTIME
	}
	return 0
}
