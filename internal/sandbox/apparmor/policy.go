package apparmor

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/resolve"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/capability"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/lsm"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/rootfs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// maxRegions bounds what a specification can make of a profile: a hostile one would keep the parser busy.
const maxRegions = 512

// maxRules bounds the bytes of the rules, which grow with the square of the length of a path that is excepted. A typical container has 10 KB.
const maxRules = 512 << 10

// A Policy is what a profile says, without its name.
type Policy struct {
	request lsm.AppArmorRequest
	caps    capability.Set
	regions regions
	// guests: the pid namespace is that of another container, so its processes are what this one is there for.
	guests bool
}

// New makes the policy of a container. root is the directory of its root, where links in the destinations of mounts are followed, "" if there is none to
// look at. Errors are of kind Invalid, for what the runtime refuses anyway.
func New(spec *specs.Spec, root string, request lsm.AppArmorRequest) (*Policy, error) {
	p := &Policy{request: request}
	if request.Default {
		return p, nil
	}
	if spec.Process != nil && spec.Process.Capabilities != nil {
		sets, _ := capability.FromSpec(spec.Process.Capabilities)
		p.caps = sets.Bounding &^ capability.Of(unix.CAP_MAC_ADMIN, unix.CAP_MAC_OVERRIDE)
	}
	p.guests = joins(spec, specs.PIDNamespace)
	return p, p.lookAtFiles(spec, root)
}

// BestEffort reports whether a container may go without the profile.
func (p *Policy) BestEffort() bool { return p.request.BestEffort }

// Name is what `explain` shows: the names of a policy but for the number.
func (p *Policy) Name() string {
	if p.request.Default {
		return lsm.DefaultProfile
	}
	return prefix + p.Hash() + "-N"
}

// joins reports whether a namespace of a type is somebody else's, and not the caller's.
func joins(spec *specs.Spec, t specs.LinuxNamespaceType) bool {
	if spec.Linux == nil {
		return false
	}
	return slices.ContainsFunc(spec.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == t && ns.Path != "" })
}

// lookAtFiles makes the regions: the root, then the mounts in their order, then what is frozen and masked.
func (p *Policy) lookAtFiles(spec *specs.Spec, root string) error {
	dir := -1
	if root != "" {
		var err error
		if dir, err = unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			defer unix.Close(dir)
		}
	}
	follow := func(path string) string {
		if dir < 0 {
			return path
		}
		return resolve.Target(dir, path)
	}
	readonly := spec.Root != nil && spec.Root.Readonly
	p.regions = regions{{"/", access{read: true, write: !readonly, exec: true}}}
	for i := range spec.Mounts {
		m := &spec.Mounts[i]
		o, err := rootfs.ParseOptions(m.Type, m.Options)
		if err != nil {
			return err
		}
		dest, err := rootfs.CleanDestination(m.Destination)
		if err != nil {
			return err
		}
		dest = follow(dest)
		if o.Remount { // which leaves alone what is mounted below
			p.regions = p.regions.set(dest, p.mounted(dest, m, &o))
			continue
		}
		p.regions = p.regions.over(dest, p.mounted(dest, m, &o))
	}
	if spec.Linux != nil {
		for _, path := range spec.Linux.ReadonlyPaths {
			p.regions = p.regions.freeze(follow(filepath.Clean("/" + path)))
		}
		for _, path := range spec.Linux.MaskedPaths {
			p.regions = p.regions.over(follow(filepath.Clean("/"+path)), access{})
		}
	}
	const hint = "mount directories instead of single files, or leave the annotation " + lsm.AppArmorAnnotation + " away"
	if len(p.regions) > maxRegions {
		err := errdef.Errorf(errdef.Invalid, "apparmor: %d mounts, read-only and masked paths: more than %d make no profile", len(p.regions), maxRegions)
		return errdef.WithHint(err, hint)
	}
	if n := p.regions.ruleBytes(); n > maxRules {
		err := errdef.Errorf(errdef.Invalid, "apparmor: mounts, read-only and masked paths make rules of %d bytes: more than %d make no profile", n, maxRules)
		return errdef.WithHint(err, hint)
	}
	return nil
}

// mounted says what a mount leaves of the rights. A remount changes what is there; a bind mount that says nothing has the options of its source, which hold
// by themselves.
func (p *Policy) mounted(dest string, m *specs.Mount, o *rootfs.Options) access {
	a := access{read: true, write: true, exec: true}
	if o.Remount {
		a = p.regions.holding(dest).access
	}
	set, clear := o.AttrSet|o.RecAttrSet, o.AttrClr|o.RecAttrClr
	for _, param := range o.SuperFlags {
		if param.Flag && param.Key == "ro" {
			set |= unix.MOUNT_ATTR_RDONLY
		}
	}
	a.write = (a.write || clear&unix.MOUNT_ATTR_RDONLY != 0) && set&unix.MOUNT_ATTR_RDONLY == 0
	a.exec = (a.exec || clear&unix.MOUNT_ATTR_NOEXEC != 0) && set&unix.MOUNT_ATTR_NOEXEC == 0
	return a
}

// Hash tells policies apart, in 16 hexadecimal digits: those of other mounts, capabilities or words. It is no proof against collisions that are looked
// for; whoever finds a compiled profile by it compares the text as well.
func (p *Policy) Hash() string {
	h := uint64(14695981039346656037) // FNV-1a
	for _, c := range []byte(p.Text("", Modern)) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	s := strconv.FormatUint(h, 16)
	return strings.Repeat("0", 16-len(s)) + s
}
