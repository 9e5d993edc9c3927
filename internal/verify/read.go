package verify

import (
	"context"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/lsm"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/rootfs"
	"golang.org/x/sys/unix"
)

// A reader reads the facts of one container.
type reader struct {
	ctx  context.Context
	d    *Declared
	proc *procfs.Proc
	f    *Facts
	root int // the root of the first process, O_PATH
}

// Read reads what the kernel says of a container. A container that ends meanwhile is of kind Conflict; a caller who may not look is of kind Denied.
func Read(ctx context.Context, d *Declared) (*Facts, error) {
	proc, err := procfs.Host()
	if err != nil {
		return nil, err
	}
	r := &reader{ctx: ctx, d: d, proc: proc, root: -1}
	r.f = &Facts{Joined: map[string]Namespaces{}, Others: map[string]Namespaces{}, Paths: map[string]Path{}, Sources: map[string]Source{}}
	defer func() {
		if r.root >= 0 {
			_ = unix.Close(r.root)
		}
	}()
	for _, step := range []func() error{r.alive, r.hosts, r.processes, r.filters, r.maps, r.mounts, r.limits, r.inner, r.alive} {
		if err := ctx.Err(); err != nil {
			return nil, errdef.Errorf(errdef.Timeout, "verify container %s: %w", d.Name, context.Cause(ctx))
		}
		if err := step(); err != nil {
			return nil, err
		}
	}
	return r.f, nil
}

// alive: a number is used again, with its start time it names one process.
func (r *reader) alive() error {
	st, err := r.proc.Stat(r.d.PID)
	if errdef.Is(err, errdef.NotFound) || err == nil && (st.StartTime != r.d.StartTime || st.Dead()) {
		return errdef.Errorf(errdef.Conflict, "verify container %s: container not running", r.d.Name)
	}
	return err
}

// hosts reads the namespaces of those whom this container is compared with.
func (r *reader) hosts() error {
	for _, pid := range []int{r.d.Parent, 0} {
		if pid == r.d.Parent && pid == 0 && len(r.f.Host) > 0 {
			continue
		}
		if ns, ok := r.namespaces(pid); ok {
			r.f.Host = append(r.f.Host, ns)
		}
	}
	if text, err := r.proc.Read(procfs.Path(r.d.Parent, "oom_score_adj")); err == nil && r.d.Parent > 0 {
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			r.f.OOMScore = &n
		}
	}
	if len(r.f.Host) == 0 {
		return errdef.Errorf(errdef.Denied, "verify container %s: the namespaces of this process cannot be read", r.d.Name)
	}
	for i := range r.d.Others {
		if ns, ok := r.namespaces(r.d.Others[i].PID); ok {
			r.f.Others[r.d.Others[i].Name] = ns
		}
	}
	if r.d.Spec.Linux == nil {
		return nil
	}
	for _, n := range r.d.Spec.Linux.Namespaces {
		for _, k := range kinds {
			if k.kind == n.Type && n.Path != "" {
				if inode, ok := r.joined(n.Path); ok {
					r.f.Joined[string(n.Type)] = Namespaces{k.file: inode}
				}
			}
		}
	}
	return nil
}

// joined returns the namespace at a path, if that is still the one that was joined: the process that it names must be older than the container.
func (r *reader) joined(at string) (uint64, bool) {
	var pid int
	if rest, ok := strings.CutPrefix(at, "/proc/"); ok {
		number, _, _ := strings.Cut(rest, "/")
		pid = int(limitOf(number))
		if st, err := r.proc.Stat(pid); err != nil || st.StartTime > r.d.StartTime {
			return 0, false
		}
	}
	var st unix.Stat_t
	if unix.Stat(at, &st) != nil {
		return 0, false
	}
	return st.Ino, true
}

// maps reads the id maps of the first process.
func (r *reader) maps() error {
	for _, m := range []struct {
		file string
		to   *[]idmap.Range
	}{{"uid_map", &r.f.UIDs}, {"gid_map", &r.f.GIDs}} {
		text, err := r.proc.Read(procfs.Path(r.d.PID, m.file))
		if err == nil {
			*m.to, err = idmap.Parse(string(text))
		}
		if err != nil {
			return errdef.Errorf(errdef.KindOf(err), "verify container %s: %s: %w", r.d.Name, m.file, err)
		}
	}
	return nil
}

// mounts reads the mount table, and what stands at the places that the configuration names.
func (r *reader) mounts() error {
	var err error
	if r.f.Mounts, err = r.proc.Mountinfo(r.d.PID); err != nil {
		return err
	}
	if r.f.HostMounts, err = r.proc.Mountinfo(r.hostPID()); err != nil {
		return err
	}
	if r.root, err = r.proc.OpenLink(r.d.PID, "root", unix.O_PATH|unix.O_DIRECTORY); err != nil {
		return err
	}
	spec := r.d.Spec
	r.path("/")
	for i := range spec.Mounts {
		m := &spec.Mounts[i]
		dest, err := rootfs.CleanDestination(m.Destination)
		o, err2 := rootfs.ParseOptions(m.Type, m.Options)
		if err != nil || err2 != nil {
			continue
		}
		r.path(dest)
		if o.Bind {
			r.source(m.Source)
		}
	}
	if l := spec.Linux; l != nil {
		for _, list := range [][]string{l.MaskedPaths, l.ReadonlyPaths} {
			for _, p := range list {
				r.path(path.Clean("/" + p))
			}
		}
	}
	c := &comparison{d: r.d, f: r.f}
	for _, d := range c.declaredDevices() {
		r.path(d.Path)
	}
	r.path("/dev/console")
	r.nodes()
	r.f.AppArmor, r.f.SELinux = lsm.Host().AppArmor, lsm.Host().SELinux
	return nil
}

// hostPID is a process that has the host's mounts as they were at the start: the monitor, which has its own copy of them.
func (r *reader) hostPID() int {
	if len(r.f.Host) > 1 {
		return r.d.Parent
	}
	return 0
}

// path resolves a path inside, and looks at what it leads to.
func (r *reader) path(at string) {
	p, fd := resolve(r.root, at)
	if fd >= 0 {
		_ = unix.Close(fd)
	}
	r.f.Paths[at] = p
}

// resolve opens nothing but the path itself.
func resolve(root int, at string) (p Path, fd int) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd = -1
	err := sys.Retry(func() (err error) {
		fd, err = unix.Openat2(root, at, &how)
		return err
	})
	if err != nil {
		return p, -1
	}
	return statPath(fd), fd
}

// statPath looks at what a descriptor is, without asking the file system that it is on.
func statPath(fd int) (p Path) {
	var st unix.Statx_t
	if unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE|unix.STATX_MNT_ID, &st) != nil {
		return p
	}
	p = Path{Exists: true, Major: st.Rdev_major, Minor: st.Rdev_minor, Mount: int(st.Mnt_id), Root: st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		p.Dir = true
	case unix.S_IFCHR:
		p.Char = true
	case unix.S_IFBLK:
		p.Block = true
	}
	return p
}

// source looks at a source on the host: which file system it is on, and where in it.
func (r *reader) source(text string) {
	source := text
	if !filepath.IsAbs(source) {
		source = filepath.Join(r.d.Bundle, source)
	}
	host, err := r.proc.OpenLink(r.hostPID(), "root", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return
	}
	defer unix.Close(host)
	p, fd := resolve(host, source)
	if fd < 0 {
		r.f.Sources[source] = Source{}
		return
	}
	defer unix.Close(fd)
	c := comparison{f: &Facts{Mounts: r.f.HostMounts}}
	m := c.byID(p.Mount)
	at, err := linkText(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd)) // without links, as the host's mount namespace has it
	if m == nil || err != nil {
		return
	}
	rel, ok := strings.CutPrefix(at, strings.TrimSuffix(m.Point, "/"))
	if !ok {
		return
	}
	r.f.Sources[source] = Source{Exists: true, Major: m.Major, Minor: m.Minor, Root: path.Join(m.Root, rel)}
}

// limits reads the control files.
func (r *reader) limits() error {
	if r.d.Cgroup == nil {
		return nil
	}
	g, err := cgroup.FromRecord(*r.d.Cgroup)
	if err != nil {
		return err
	}
	defer g.Close()
	if l := r.d.Spec.Linux; l != nil {
		r.f.Limits, err = g.Compare(l.Resources)
	} else {
		r.f.Limits, err = g.Compare(nil)
	}
	if err != nil {
		r.f.LimitsErr = err.Error()
	}
	return nil
}
