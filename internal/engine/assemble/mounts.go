package assemble

import (
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/rootfs"
	"github.com/moby/moby/api/types/mount"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// dangerous are sources that are the host itself, for whoever may write there: recorded, and refused by a policy.
var dangerous = []string{"/", "/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/dev", "/proc", "/sys", "/run", "/var", "/var/run", "/var/lib", "/root", "/home"}

// tmpfsDefault are the options of a tmpfs, before those of the caller; as Docker's.
var tmpfsDefault = []string{"noexec", "nosuid", "nodev"}

// mounts adds what was asked for to the level's own mounts, and the engine's files. A mount of the caller's takes the place of one of the level's.
func (b *build) mounts() error {
	h, s := &b.r.Host, b.spec
	if h.ShmSize < 0 {
		return errdef.Errorf(errdef.Invalid, "shm-size %d: wants a positive number of bytes", h.ShmSize)
	}
	for i := range s.Mounts {
		if m := &s.Mounts[i]; m.Destination == "/dev/shm" && h.ShmSize > 0 {
			for j, o := range m.Options {
				if strings.HasPrefix(o, "size=") {
					m.Options[j] = "size=" + strconv.FormatInt(h.ShmSize, 10)
				}
			}
		}
	}
	b.shared()
	if h.Privileged {
		b.writable("/sys")
		b.writable("/sys/fs/cgroup")
	}
	for i := range b.r.Facts.Files {
		if f := &b.r.Facts.Files[i]; !slices.ContainsFunc(b.r.Points, func(p Point) bool { return p.Destination == f.Destination }) {
			m, _ := b.idmapped(f, bindMount(f)) // ours have no maps of their own
			s.Mounts = append(s.Mounts, m)
		}
	}
	for i := range b.r.Points {
		if err := b.point(&b.r.Points[i]); err != nil {
			return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "%s: %w", b.r.Points[i].Flag, err), errdef.Hint(err))
		}
	}
	b.shown()
	return nil
}

// shared has a container that shares a namespace with the host see the host's file systems of it. Who has a user namespace of its own may not mount them: they belong to the
// namespace, and that to the host (proc_get_tree, mqueue_init_fs_context, sysfs_init_fs_context). Its ids, masks and read-only paths hold all the same.
func (b *build) shared() {
	h := &b.r.Host
	if h.IpcMode == "host" {
		b.replace(specs.Mount{Destination: "/dev/shm", Type: "bind", Source: "/dev/shm", Options: []string{"rbind", "nosuid", "nodev", "noexec"}})
	}
	if !b.userNS {
		return
	}
	if h.IpcMode == "host" {
		const queues = "/dev/mqueue"
		if b.r.Facts.Source != nil && b.r.Facts.Source(queues) {
			b.instead(specs.Mount{Destination: queues, Type: "bind", Source: queues, Options: []string{"bind", "nosuid", "nodev", "noexec"}})
		} else {
			b.spec.Mounts = slices.DeleteFunc(b.spec.Mounts, func(m specs.Mount) bool { return m.Destination == queues })
		}
	}
	if h.PidMode == "host" {
		b.instead(specs.Mount{Destination: "/proc", Type: "bind", Source: "/proc", Options: []string{"rbind", "rslave", "nosuid", "noexec", "nodev"}})
	}
	if !ownNetwork(b.spec) {
		b.instead(specs.Mount{Destination: "/sys", Type: "bind", Source: "/sys", Options: []string{"rbind", "rslave", "nosuid", "noexec", "nodev", "rro"}})
	}
}

// replace puts a mount in the place of the one with its destination, or behind all.
func (b *build) replace(m specs.Mount) {
	b.spec.Mounts = slices.DeleteFunc(b.spec.Mounts, func(old specs.Mount) bool { return old.Destination == m.Destination })
	b.spec.Mounts = append(b.spec.Mounts, m)
}

// instead puts a mount in the very place of the one with its destination, so that what is mounted below comes after it.
func (b *build) instead(m specs.Mount) {
	for i := range b.spec.Mounts {
		if b.spec.Mounts[i].Destination == m.Destination {
			b.spec.Mounts[i] = m
		}
	}
}

// ownNetwork reports whether the network namespace is made for the container.
func ownNetwork(s *specs.Spec) bool {
	return slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace && n.Path == "" })
}

// writable takes ro from one of the level's mounts.
func (b *build) writable(dest string) {
	for i := range b.spec.Mounts {
		if m := &b.spec.Mounts[i]; m.Destination == dest {
			m.Options = slices.DeleteFunc(m.Options, func(o string) bool { return o == "ro" })
		}
	}
}

func (b *build) point(p *Point) error {
	switch p.Type {
	case mount.TypeTmpfs:
		options := slices.Clone(tmpfsDefault)
		for _, o := range p.Options {
			if o == "rw" || o == "" {
				continue
			}
			options = slices.DeleteFunc(options, func(d string) bool { return d == "no"+o })
			options = append(options, o)
		}
		if _, err := rootfs.ParseOptions("tmpfs", options); err != nil {
			return err
		}
		b.replace(specs.Mount{Destination: p.Destination, Type: "tmpfs", Source: "tmpfs", Options: options})
		return nil
	case mount.TypeBind:
		if err := b.source(p); err != nil {
			return err
		}
	case mount.TypeImage:
	case mount.TypeVolume:
		if p.Source == "" {
			return errdef.Errorf(errdef.Internal, "the volume has no directory")
		}
		b.risky(p) // one may be a directory of the host
	}
	if p.Relabel != NoRelabel {
		b.out.Relabel = append(b.out.Relabel, *p)
	}
	if p.Chown && p.Overlay {
		return errdef.Errorf(errdef.Invalid, "options O and U: the files below an overlay stay as they are")
	}
	if p.Chown {
		if p.Type == mount.TypeBind {
			b.weaker(p.Flag, "the owners of the files there: they become the container's user's")
		}
		b.out.Chown = append(b.out.Chown, *p)
	}
	m, err := b.idmapped(p, bindMount(p))
	b.replace(m)
	return err
}

// source looks at the source of a bind mount.
func (b *build) source(p *Point) error {
	if b.r.Facts.Source != nil && !b.r.Facts.Source(p.Source) {
		if !p.Make {
			return errdef.Errorf(errdef.Invalid, "bind source path does not exist: %s", p.Source)
		}
		b.out.Make = append(b.out.Make, p.Source)
	}
	b.risky(p)
	return nil
}

// risky records what a source of the host's gives away.
func (b *build) risky(p *Point) {
	if !p.ReadOnly && slices.Contains(dangerous, p.Source) {
		b.weaker("volume "+p.Source, "the host: whoever may write there is outside")
	}
	if strings.HasSuffix(p.Source, "docker.sock") || strings.HasSuffix(p.Source, "bulkhead.sock") || strings.HasSuffix(p.Source, "podman.sock") || strings.HasSuffix(p.Source, "containerd.sock") {
		b.weaker("volume "+p.Source, "the host: whoever speaks to an engine's socket can start any container")
	}
	if p.Suid || p.Dev {
		b.weaker("volume "+p.Source, "that device nodes or set-user-id files of the source count for nothing")
	}
}

// idmapped has the files of a source shown with the container's ids: what belongs to root there belongs to root inside, who is nobody outside.
// The engine maps the layers of an overlay itself.
func (b *build) idmapped(p *Point, m specs.Mount) (specs.Mount, error) {
	if p.IDs != nil {
		if b.r.Facts.Rootless {
			return m, errdef.Errorf(errdef.Unsupported, "option idmap: mounts with other ids need root")
		}
		uids, gids, err := p.IDs.Of(b.spec.Linux.UIDMappings, b.spec.Linux.GIDMappings)
		if err != nil {
			return m, err
		}
		b.weaker(p.Flag, "that files have no other owners inside than outside: ids "+line(uids[0])+" ...")
		m.Options = append(m.Options, "idmap")
		m.UIDMappings, m.GIDMappings = uids, gids
		return m, nil
	}
	if !b.userNS || !p.Idmap || b.r.Facts.Rootless || p.Overlay || p.Type == mount.TypeImage {
		return m, nil
	}
	m.Options = append(m.Options, "idmap")
	m.UIDMappings, m.GIDMappings = slices.Clone(b.spec.Linux.UIDMappings), slices.Clone(b.spec.Linux.GIDMappings)
	return m, nil
}
