package assemble

import (
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/defaults"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// A Request is what a container is asked to be, and what must be known to answer.
type Request struct {
	ID     string
	Config container.Config     // of Merge
	Host   container.HostConfig // what Docker calls so: the flags about the host
	Points []Point              // of Points, volumes with their sources
	Rootfs *Rootfs              // instead of an image's files
	Facts  Facts
}

// Facts are what is known of the host and the image's files. The zero value is a host without anything special.
type Facts struct {
	defaults.Host
	Kernel string // release, as uname -r has it
	Rootfs string // absolute
	Passwd []byte // /etc/passwd of the image, nil: none
	Group  []byte
	Cgroup string  // cgroupsPath of the container
	Files  []Point // what the engine itself mounts: /etc/hosts, /etc/hostname, /etc/resolv.conf, an init
	Nodes  string  // directory for device nodes of the container; "": the runtime shows the host's
	Labels Labels  // SELinux's
	Init   string  // of an init program in the container, for --init
	// Device describes a device node of the host, or those below a directory.
	Device func(path string) ([]specs.LinuxDevice, error)
	// Namespace returns the path of a namespace of another container, for the modes container:NAME.
	Namespace func(container string, kind specs.LinuxNamespaceType) (string, error)
	// Sharing are names of containers that have some of the container's ids, too.
	Sharing []string
	// Source says whether the source of a bind mount is there.
	Source func(path string) (exists bool)
}

// A Weakening is one line of what holds less than at the default level, for inspect and the audit log.
type Weakening struct {
	Flag string // that asked for it
	What string // that is given up
}

// A Result is what a request comes to.
type Result struct {
	Spec   *specs.Spec
	Weaker []Weakening
	// Relabel and Chown are sources that must be changed before the start.
	Relabel []Point
	Chown   []Point
	Make    []string            // directories on the host that are sources and do not exist
	Nodes   []specs.LinuxDevice // to be made, with ids as they are inside
	// UID and GID are of the process, inside.
	UID, GID uint32
	Options  Options
}

// A build is a configuration on its way.
type build struct {
	r      *Request
	o      Options
	spec   *specs.Spec
	out    *Result
	userNS bool // the container has a user namespace of its own
}

// Spec makes the configuration of a container.
func Spec(r *Request) (*Result, error) {
	if err := refuse(r); err != nil {
		return nil, err
	}
	o, err := ParseOptions(r.Host.SecurityOpt)
	if err != nil {
		return nil, err
	}
	b := &build{r: r, o: o, spec: defaults.Spec(o.Level, r.Facts.Host), out: &Result{Options: o}}
	if o.Level == defaults.Compat {
		b.weaker("level=compat", "what Docker allows, instead of the hardened default")
	}
	for _, step := range []func() error{b.namespaces, b.process, b.capabilities, b.seccomp, b.paths, b.modules, b.mounts, b.devices, b.resources, b.sysctls, b.identity} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	b.out.Spec = b.spec
	return b.out, nil
}

func (b *build) weaker(flag, what string) {
	b.out.Weaker = append(b.out.Weaker, Weakening{flag, what})
}

// identity fills in what the container is called and where it is.
func (b *build) identity() error {
	s, c := b.spec, &b.r.Config
	if f := b.r.Rootfs; f != nil && !f.Overlay {
		b.weaker("rootfs "+f.Path, "that what a container changes is thrown away with it: it writes into that directory of the host")
	}
	s.Root.Path, s.Root.Readonly = b.r.Facts.Rootfs, s.Root.Readonly || b.r.Host.ReadonlyRootfs
	if i := slices.IndexFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.UTSNamespace }); i >= 0 && s.Linux.Namespaces[i].Path == "" {
		s.Hostname, s.Domainname = c.Hostname, c.Domainname
		if s.Hostname == "" {
			s.Hostname = b.r.ID[:min(12, len(b.r.ID))]
		}
	} else if c.Hostname != "" || c.Domainname != "" {
		return errdef.Errorf(errdef.Invalid, "hostname: a container with the uts namespace of the host or of another container has that one's name")
	} else {
		s.Hostname = ""
	}
	for k, v := range b.r.Host.Annotations {
		if strings.HasPrefix(k, "io.bulkhead.") {
			return errdef.Errorf(errdef.Invalid, "annotation %.128q: these are the engine's own", k)
		}
		s.Annotations[k] = v
	}
	if len(s.Hostname) > 63 {
		return errdef.Errorf(errdef.Invalid, "hostname %.80q: longer than 63 bytes", s.Hostname)
	}
	return nil
}

// capabilities gives the process its set.
func (b *build) capabilities() error {
	h, p := &b.r.Host, b.spec.Process
	level := p.Capabilities.Bounding
	if !b.userNS && b.o.Level == defaults.Hardened {
		level = []string{"CAP_NET_BIND_SERVICE"} // root inside is root outside: it gets no more of itself
	}
	set, err := capabilities(level, h)
	if err != nil {
		return err
	}
	for _, c := range set {
		if !slices.Contains(level, c) && !h.Privileged {
			b.weaker("cap-add "+strings.TrimPrefix(c, "CAP_"), "the capability "+c)
		}
	}
	effective := set
	if b.out.UID != 0 {
		effective = nil // as execve(2) has it for who is not root
	}
	p.Capabilities = &specs.LinuxCapabilities{
		Bounding: set, Effective: slices.Clone(effective), Permitted: slices.Clone(effective), Inheritable: []string{}, Ambient: []string{},
	}
	return nil
}

// seccomp chooses the filter and opens groups of it.
func (b *build) seccomp() error {
	p := b.spec.Linux.Seccomp
	switch {
	case b.r.Host.Privileged && b.o.Seccomp == nil, b.o.NoSeccomp:
		p = nil
		if b.o.NoSeccomp {
			b.weaker("security-opt seccomp=unconfined", "the filter: every system call reaches the kernel")
		}
	case b.o.Seccomp != nil:
		p = b.o.Seccomp.For(b.spec.Process.Capabilities.Bounding, b.r.Facts.Kernel)
		b.weaker("security-opt seccomp=PROFILE", "the engine's filter, for the caller's")
	default:
		var names []string
		for _, c := range b.spec.Process.Capabilities.Bounding {
			names = append(names, defaults.GroupsOf(c)...)
		}
		granted := names
		names = append(slices.Clone(names), b.o.Allow...)
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			reason, err := defaults.Allow(p, name)
			if err != nil {
				return err
			}
			if !slices.Contains(granted, name) {
				b.weaker("allow "+name, reason)
			}
		}
	}
	if p == nil && len(b.o.Allow) > 0 {
		return errdef.Errorf(errdef.Invalid, "allow: there is no filter to open")
	}
	b.spec.Linux.Seccomp = p
	return nil
}

// paths applies mask=, unmask= and --privileged to what is hidden and frozen.
func (b *build) paths() error {
	l, h := b.spec.Linux, &b.r.Host
	if h.MaskedPaths != nil {
		l.MaskedPaths = h.MaskedPaths
	}
	if h.ReadonlyPaths != nil {
		l.ReadonlyPaths = h.ReadonlyPaths
	}
	for _, path := range b.o.Unmask {
		b.weaker("security-opt unmask="+path, "what hides or freezes "+path)
		if strings.EqualFold(path, "ALL") {
			l.MaskedPaths, l.ReadonlyPaths = nil, nil
			continue
		}
		if !strings.HasPrefix(path, "/") {
			return errdef.Errorf(errdef.Invalid, "security-opt unmask=%.128q: wants an absolute path or ALL", path)
		}
		drop := func(p string) bool { return match(path, p) }
		l.MaskedPaths, l.ReadonlyPaths = slices.DeleteFunc(l.MaskedPaths, drop), slices.DeleteFunc(l.ReadonlyPaths, drop)
	}
	if h.Privileged {
		l.MaskedPaths, l.ReadonlyPaths = nil, nil
	}
	for _, path := range b.o.Mask {
		if !strings.HasPrefix(path, "/") {
			return errdef.Errorf(errdef.Invalid, "security-opt mask=%.128q: wants an absolute path", path)
		}
		l.MaskedPaths = append(l.MaskedPaths, path)
	}
	return nil
}

// modules says which security modules confine the container.
func (b *build) modules() error {
	const annotation = "io.bulkhead.apparmor"
	a, p := b.spec.Annotations, b.spec.Process
	switch {
	case b.o.AppArmor != "":
		delete(a, annotation)
		p.ApparmorProfile = b.o.AppArmor
		if b.o.AppArmor == "unconfined" {
			b.weaker("security-opt apparmor=unconfined", "AppArmor")
		}
	case b.r.Host.Privileged:
		delete(a, annotation)
	case slices.Contains(b.o.Allow, "mount"), slices.Contains(b.spec.Process.Capabilities.Bounding, "CAP_SYS_ADMIN"):
		a[annotation] = strings.Replace(a[annotation], "generated", "generated,mount,userns", 1)
	case slices.Contains(b.o.Allow, "userns"):
		a[annotation] = strings.Replace(a[annotation], "generated", "generated,mount,userns", 1)
	}
	// Landlock forbids all mounting (landlock(7)): it gives way to whoever is to mount.
	if b.r.Host.Privileged || slices.Contains(b.o.Allow, "mount") || slices.Contains(b.o.Allow, "userns") || slices.Contains(p.Capabilities.Bounding, "CAP_SYS_ADMIN") {
		delete(a, "io.bulkhead.landlock")
	}
	return b.labels()
}

func hasNamespace(s *specs.Spec, t specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == t })
}

// bindMount is a point as the specification has it.
func bindMount(p *Point) specs.Mount {
	options := []string{"rbind"}
	if !p.Recursive && p.Type == mount.TypeBind {
		options = []string{"bind"}
	}
	if p.Propagation != "" {
		options = append(options, p.Propagation)
	} else {
		options = append(options, "rprivate")
	}
	switch {
	case p.ReadOnly && options[0] == "rbind" && !p.TopOnly:
		options = append(options, "rro")
	case p.ReadOnly:
		options = append(options, "ro")
	}
	if p.NoExec {
		options = append(options, "noexec")
	}
	if !p.Suid {
		options = append(options, "nosuid")
	}
	if !p.Dev {
		options = append(options, "nodev")
	}
	source := p.Source
	if p.Place != "" {
		source = p.Place
	}
	return specs.Mount{Destination: p.Destination, Type: "bind", Source: source, Options: options}
}
