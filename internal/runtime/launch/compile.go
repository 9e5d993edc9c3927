package launch

import (
	"cmp"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/linux/resolve"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/capability"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/lsm"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/plan"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/rootfs"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A Draft is a plan that is being compiled beside its caller.
type Draft struct {
	done chan struct{}
	plan *plan.Plan
	err  error
}

// Compile begins to compile the plan of a new container. It looks at Group before it returns, and at nothing of Dir; the spec may not
// change any more.
func Compile(o *Options) *Draft {
	d := &Draft{done: make(chan struct{})}
	facts := cgroupFacts(o.Group, o.Spec)
	go func() {
		defer close(d.done)
		d.plan, d.err = compile(o, facts)
	}()
	return d
}

// compile gathers the facts and makes the plan of a new container.
func compile(o *Options, group plan.CgroupFacts) (*plan.Plan, error) {
	filter, err := filterOf(o.Spec, o.SeccompCache)
	if err != nil {
		return nil, err
	}
	facts, err := factsOf(o.Spec, o.Bundle)
	if err != nil {
		return nil, err
	}
	facts.Cgroup = group
	rules, _, err := Landlock(o.Spec)
	if err != nil {
		return nil, err
	}
	guard, err := portGuard(rules, o.SeccompCache)
	if err != nil {
		return nil, err
	}
	return plan.Compile(&plan.Input{
		Spec: o.Spec, Bundle: o.Bundle, ID: o.ID, Facts: facts, Run: o.Run, NoPivot: o.NoPivot, NoKeyring: o.NoKeyring,
		PreserveFDs: o.PreserveFDs, Hooks: needsBarrier(o.Spec), Filter: filter, Landlock: rules, PortGuard: guard,
	})
}

// Explain makes the plan that Create would run, and runs nothing. Descriptors are not opened; the host is only looked at.
func Explain(o *Options) (*plan.Plan, error) {
	return compile(o, cgroupFacts(o.Group, o.Spec))
}

// needsBarrier reports whether the runtime has something to do between the namespaces and the root.
func needsBarrier(spec *specs.Spec) bool {
	if h := spec.Hooks; h != nil && len(h.Prestart)+len(h.CreateRuntime) > 0 { //nolint:staticcheck // prestart is deprecated, not gone
		return true
	}
	return spec.Linux != nil && (len(spec.Linux.NetDevices) > 0 || spec.Linux.IntelRdt != nil)
}

func filterOf(spec *specs.Spec, cache string) (plan.Filter, error) {
	if spec.Linux == nil || spec.Linux.Seccomp == nil {
		return plan.Filter{}, nil
	}
	f, err := seccomp.Cached(cache, spec.Linux.Seccomp)
	if err != nil {
		return plan.Filter{}, err
	}
	return plan.Filter{Program: f.Bytes(), Flags: f.Flags, Notify: f.Notify}, nil
}

// factsOf looks at the host. It opens nothing of the image.
func factsOf(spec *specs.Spec, bundle string) (*plan.Facts, error) {
	f := &plan.Facts{LastCap: sys.LastCapability(), Permitted: Permitted()}
	files := openFiles()
	f.NofileHard = files.Max
	if files.raised {
		f.NofileSoft = files.Cur
	}
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &lim); err == nil {
		f.NprocHard = lim.Max
	}
	mapped := mappedRoot(spec)
	if spec.Root != nil {
		path := rootPath(spec, bundle)
		f.RootAt = rootAt(path, mapped, restricted(path, administers(spec.Process)))
	}
	lookAtTargets(f, spec, bundle)
	for i := range spec.Mounts {
		m := &spec.Mounts[i]
		o, err := rootfs.ParseOptions(m.Type, m.Options)
		if err != nil || !o.Bind || m.Source == "" {
			continue // the compiler reports it
		}
		source := m.Source
		if !filepath.IsAbs(source) {
			source = filepath.Join(bundle, source)
		}
		source = filepath.Clean(source)
		if f.Sources == nil {
			f.Sources = map[string]plan.Source{}
		}
		f.Sources[source] = lookAt(source, mapped, administers(spec.Process))
	}
	var err error
	if f.Labels, err = execLabel(spec.Process); err != nil {
		return nil, err
	}
	if spec.Linux != nil {
		if err := lsm.CheckMountLabel(lsm.Host(), spec.Linux.MountLabel); err != nil {
			return nil, err
		}
	}
	if spec.Linux != nil && strings.Contains(spec.Linux.RootfsPropagation, "shared") {
		if f.RootParent, err = mountPointOf(cmp.Or(f.RootAt, rootPath(spec, bundle))); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// lookAtTargets looks at the destinations of mounts in the image where the plan depends on them: the mode of a directory that a tmpfs without
// a mode covers, and links that lead to nothing yet. It is a hint: the child resolves every path again, inside the root.
func lookAtTargets(f *plan.Facts, spec *specs.Spec, bundle string) {
	if spec.Root == nil {
		return
	}
	path := spec.Root.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(bundle, path)
	}
	dir, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(dir)
	for i := range spec.Mounts {
		m := &spec.Mounts[i]
		o, err := rootfs.ParseOptions(m.Type, m.Options)
		if err != nil || !o.Bind && m.Type != "tmpfs" || covered(spec.Mounts[:i], m.Destination) {
			continue
		}
		dest, err := rootfs.CleanDestination(m.Destination)
		if err != nil {
			continue
		}
		target, err := resolve.InRoot(dir, dest, unix.O_PATH)
		if errors.Is(err, unix.ENOENT) {
			if to := resolve.Target(dir, dest); to != dest {
				set(&f.TargetLinks, dest, to)
			}
			continue
		}
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if m.Type == "tmpfs" && unix.Fstat(target, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			set(&f.TargetModes, dest, st.Mode&0o7777)
		}
		unix.Close(target)
	}
}

func set[V any](m *map[string]V, key string, value V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = value
}

// covered reports whether an earlier mount lies over a destination: then the image says nothing about it.
func covered(mounts []specs.Mount, dest string) bool {
	for i := range mounts {
		if p, err := rootfs.CleanDestination(mounts[i].Destination); err == nil && rootfs.Under(filepath.Clean("/"+dest), p) {
			return true
		}
	}
	return false
}

// Permitted returns the capabilities of this process: it can grant no others, but in a user namespace.
func Permitted() capability.Set {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return 0
	}
	return capability.Set(data[0].Permitted) | capability.Set(data[1].Permitted)<<32
}

// noUser stands for "no user namespace": the child keeps the runtime's own rights.
const noUser = -1

// mappedRoot returns the host's id of the root of the container's new user namespace, noUser when there is none.
func mappedRoot(spec *specs.Spec) int64 {
	if spec.Linux == nil {
		return noUser
	}
	for _, n := range spec.Linux.Namespaces {
		if n.Type != specs.UserNamespace {
			continue
		}
		for _, m := range spec.Linux.UIDMappings {
			if m.ContainerID == 0 {
				return int64(m.HostID)
			}
		}
		return 1 << 32 // joined, or root not mapped: nobody that owns a file
	}
	return noUser
}

// administers reports whether the container's first program may change the options of its mounts.
func administers(p *specs.Process) bool {
	if p == nil || p.Capabilities == nil {
		return false
	}
	c := p.Capabilities
	for _, set := range [][]string{c.Bounding, c.Effective, c.Permitted, c.Inheritable, c.Ambient} {
		if slices.ContainsFunc(set, func(name string) bool { return strings.HasSuffix(strings.ToUpper(name), "SYS_ADMIN") }) {
			return true
		}
	}
	return false
}

// lookAt finds out what a bind mount's source is.
func lookAt(source string, mapped int64, admin bool) plan.Source {
	var st unix.Stat_t
	if err := unix.Stat(source, &st); err != nil {
		return plan.Source{Missing: err == unix.ENOENT || err == unix.ENOTDIR}
	}
	s := plan.Source{Dir: st.Mode&unix.S_IFMT == unix.S_IFDIR}
	if s.Dir && st.Ino == 1 {
		var fs unix.Statfs_t
		s.ProcRoot = unix.Statfs(source, &fs) == nil && fs.Type == unix.PROC_SUPER_MAGIC
	}
	if mapped == noUser {
		return s
	}
	s.HostOnly = !reachable(source, mapped) && !restricted(source, admin)
	return s
}

// reachable reports whether a user who has no other right may pass all directories above a path. Those that are not there yet will let everybody through.
func reachable(path string, uid int64) bool {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		var st unix.Stat_t
		err := unix.Stat(dir, &st)
		if err != nil && err != unix.ENOENT {
			return false
		}
		if err == nil && st.Mode&1 == 0 && (int64(st.Uid) != uid || st.Mode&0o100 == 0) {
			return false
		}
		if dir == "/" || dir == "." {
			return true
		}
	}
}

// rootPath is root.path, absolute.
func rootPath(spec *specs.Spec, bundle string) string {
	if filepath.IsAbs(spec.Root.Path) {
		return filepath.Clean(spec.Root.Path)
	}
	return filepath.Join(bundle, spec.Root.Path)
}

// rootAt is the last directory above the rootfs that the mapped root can reach, if it cannot reach the rootfs itself: the root is put over it, whatever it is, and
// nobody sees that but the child, which moves on to the root at once. "" is the rootfs's own place.
func rootAt(path string, mapped int64, restricted bool) string {
	if mapped == noUser || restricted || reachable(path, mapped) {
		return ""
	}
	for path != "/" && !reachable(path, mapped) {
		path = filepath.Dir(path)
	}
	return path
}

// restricted reports whether the mount behind path has options that the kernel locks when a user namespace gets a copy of it, and that count. A mount that
// the runtime opens for the child has no locks, so it must have nothing to lose: never that it is read-only, and the others only where nobody in the container
// has CAP_SYS_ADMIN to change them (a namespace below the container's gets locks of its own). Podman's /dev/shm is such a mount, in directories of mode 0700.
func restricted(path string, admin bool) bool {
	var fs unix.Statfs_t
	locked := int64(unix.ST_RDONLY)
	if admin {
		locked |= unix.ST_NOSUID | unix.ST_NODEV | unix.ST_NOEXEC
	}
	return unix.Statfs(path, &fs) != nil || int64(fs.Flags)&locked != 0
}

// compileExec makes the plan of a process that joins a container.
func compileExec(o *ExecOptions) (*plan.Plan, error) {
	filter, err := filterOf(o.Spec, o.SeccompCache)
	if err != nil {
		return nil, err
	}
	facts, err := factsOf(&specs.Spec{Process: o.Process}, "/")
	if err != nil {
		return nil, err
	}
	facts.Cgroup = cgroupFacts(o.Group, nil)
	rules, err := joinedLandlock(o.Spec)
	if err != nil {
		return nil, err
	}
	guard, err := portGuard(rules, o.SeccompCache)
	if err != nil {
		return nil, err
	}
	return plan.CompileExec(&plan.ExecInput{
		Spec: o.Spec, Process: o.Process, ID: o.ID, Facts: facts, PreserveFDs: o.PreserveFDs, Stdio: o.Stdio != nil, Filter: filter, Landlock: rules, PortGuard: guard,
	})
}

// execLabel says what asks the security module to confine the program: the writes of package lsm for the moment of execve.
func execLabel(p *specs.Process) ([]plan.Label, error) {
	if p == nil {
		return nil, nil
	}
	inherited, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	writes, err := lsm.Labels(lsm.Host(), p.ApparmorProfile, p.SelinuxLabel, p.NoNewPrivileges || inherited == 1)
	if err != nil {
		return nil, err
	}
	var labels []plan.Label
	for _, w := range writes {
		labels = append(labels, plan.Label{File: w.File, Value: w.Data, Why: w.Reason, Keyring: w.When == lsm.BeforeKeyring})
	}
	return labels, nil
}

// mountPointOf returns the mount point that holds the rootfs.
func mountPointOf(root string) (string, error) {
	proc, err := procfs.Host()
	if err != nil {
		return "", err
	}
	mounts, err := proc.Mountinfo(unix.Getpid())
	if err != nil {
		return "", err
	}
	best := ""
	for i := range mounts {
		if p := mounts[i].Point; rootfs.Under(root, p) && len(p) >= len(best) {
			best = p
		}
	}
	return best, nil
}
