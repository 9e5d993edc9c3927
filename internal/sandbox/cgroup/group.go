package cgroup

import (
	"errors"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Options say on whose behalf cgroups are made. The zero value is root's, without systemd, and tolerates nothing.
type Options struct {
	Rootless bool // no permission to make cgroups is no error, unless a path or a limit was asked for
	Systemd  bool // systemd makes the cgroup, as a transient unit; see systemd.go
}

// A Record is what another process needs to go on with a group.
type Record struct {
	Mode     Mode        `json:"mode"`
	Dirs     []RecordDir `json:"dirs,omitempty"`
	Rootless bool        `json:"rootless,omitempty"`
	Slice    string      `json:"slice,omitempty"` // systemd's, with Unit
	Unit     string      `json:"unit,omitempty"`
}

// A RecordDir is the group's directory in one hierarchy.
type RecordDir struct {
	Controllers []string `json:"controllers,omitempty"` // none: the unified hierarchy
	Mount       string   `json:"mount"`
	Path        string   `json:"path"` // below Mount, without a leading slash
}

// A Group is the cgroup of one container, in every hierarchy.
type Group struct {
	mode     Mode
	rootless bool
	explicit bool // the path was asked for
	unit     unit // systemd's; name "" without
	holder   *holder
	again    []setting // to be written after Release, upon which systemd writes its own idea of them
	dirs     []*dir
}

// A dir is the group's directory in one hierarchy.
type dir struct {
	controllers []string
	mount       string
	path        string
	root        int  // descriptor of the mount point, -1 when closed
	fd          int  // descriptor of the directory, -1 when closed
	made        int  // how many of the path's last components were made by Create
	fresh       bool // the directory itself was made by Create, just now
	absent      bool // could not be made, and that is tolerated
}

func (d *dir) unified() bool { return len(d.controllers) == 0 }

// name is for texts: the place as the user finds it.
func (d *dir) name() string { return d.mount + "/" + d.path }

func (d *dir) has(controller string) bool {
	for _, c := range d.controllers {
		if c == controller {
			return true
		}
	}
	return false
}

// Open resolves where the container's cgroup stands in every hierarchy; it makes nothing. Path is linux.cgroupsPath of the specification;
// when it is empty the cgroup is /ID, or, for a rootless caller, ID beside (v2) or below (v1) its own.
func (l *Layout) Open(path, id string, opts Options) (*Group, error) {
	g := &Group{mode: l.Mode, rootless: opts.Rootless, explicit: path != ""}
	if opts.Systemd {
		return g, g.openUnit(l, path, id)
	}
	if path == "" {
		path = "/" + id
		if opts.Rootless {
			path = id
		}
	}
	if err := checkPath(path); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(path, "/") {
		if err := l.findRoots(); err != nil {
			return nil, err
		}
	}
	for i := range l.Hierarchies {
		h := &l.Hierarchies[i]
		below, err := h.relativeTo(path)
		if err != nil {
			if g.tolerates(unix.EPERM) {
				continue
			}
			return nil, err
		}
		g.addDir(h, below)
	}
	return g, nil
}

func (g *Group) addDir(h *Hierarchy, below string) {
	g.dirs = append(g.dirs, &dir{controllers: h.Controllers, mount: h.Mount, path: below, root: -1, fd: -1})
}

// tolerates reports whether an error of making the cgroup is none: rootless, nothing asked for, and no permission.
func (g *Group) tolerates(err error) bool { return g.rootless && !g.explicit && denied(err) }

// Record returns what FromRecord needs.
func (g *Group) Record() Record {
	r := Record{Mode: g.mode, Rootless: g.rootless, Slice: g.unit.slice, Unit: g.unit.name}
	for _, d := range g.dirs {
		if !d.absent {
			r.Dirs = append(r.Dirs, RecordDir{Controllers: d.controllers, Mount: d.mount, Path: d.path})
		}
	}
	return r
}

// FromRecord returns the group that another process made. It makes no system call: what has gone since shows when it is used.
func FromRecord(r Record) (*Group, error) {
	g := &Group{mode: r.Mode, rootless: r.Rootless, unit: unit{slice: r.Slice, name: r.Unit}}
	for _, rd := range r.Dirs {
		if err := checkPath(rd.Path); err != nil || rd.Path[0] == '/' || !strings.HasPrefix(rd.Mount, "/") {
			return nil, errdef.Errorf(errdef.Invalid, "cgroup record: %q on %q is no cgroup", rd.Path, rd.Mount)
		}
		g.addDir(&Hierarchy{Controllers: rd.Controllers, Mount: rd.Mount}, rd.Path)
	}
	return g, nil
}

// Paths returns the directory of the group for each controller, "" for the unified hierarchy, as runc's state has it.
func (g *Group) Paths() map[string]string {
	paths := map[string]string{}
	for _, d := range g.dirs {
		if d.absent {
			continue
		}
		for _, c := range d.controllers {
			paths[c] = d.name()
		}
		if d.unified() {
			paths[""] = d.name()
		}
	}
	return paths
}

// Active reports whether the container is in a cgroup of its own at all: not when the host has no hierarchy, nor when a rootless caller
// may make no cgroup.
func (g *Group) Active() bool {
	for _, d := range g.dirs {
		if !d.absent {
			return true
		}
	}
	return false
}

// Exists reports whether the group's directory is there in some hierarchy.
func (g *Group) Exists() bool {
	for _, d := range g.dirs {
		if !d.absent && d.open() == nil {
			return true
		}
	}
	return false
}

// Close releases the descriptors that the group holds, and the scope of systemd from the process that held it open. The group can be used
// again afterwards.
func (g *Group) Close() error {
	for _, d := range g.dirs {
		d.close()
	}
	return g.Release()
}

func (d *dir) close() {
	if d.root >= 0 {
		unix.Close(d.root)
	}
	if d.fd >= 0 {
		unix.Close(d.fd)
	}
	d.root, d.fd = -1, -1
}

// openRoot opens the mount point of the hierarchy, once.
func (d *dir) openRoot() error {
	if d.root >= 0 {
		return nil
	}
	fd, err := openMount(d.mount, d.unified())
	if err != nil {
		return err
	}
	d.root = fd
	return nil
}

// open opens the group's directory, once.
func (d *dir) open() error {
	if d.fd >= 0 {
		return nil
	}
	if err := d.openRoot(); err != nil {
		return err
	}
	fd, err := openBelow(d.root, d.path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return errdef.Errorf(kindOf(err), "cgroup %s: %w", d.name(), err)
	}
	d.fd = fd
	return nil
}

// dirOf returns the directory that has the controller's files. "" is the core of v2.
func (g *Group) dirOf(controller string) *dir {
	for _, d := range g.dirs {
		if d.absent {
			continue
		}
		if g.mode == V2 || controller == "" {
			if d.unified() {
				return d
			}
		} else if d.has(controller) {
			return d
		}
	}
	if g.mode == Hybrid && besideV1[controller] {
		return g.dirOf("")
	}
	return nil
}

// besideV1 are controllers whose files are the same, or known to the compiler, in the v2 hierarchy of a hybrid host, which has those that no v1
// hierarchy has taken.
var besideV1 = map[string]bool{"hugetlb": true, "rdma": true, "misc": true}

// unifiedDir is the group's directory in the v2 hierarchy, nil when there is none.
func (g *Group) unifiedDir() *dir { return g.dirOf("") }

// ProcsFDs returns a descriptor for each v1 hierarchy, open for writing and close-on-exec, into which the process that is to join writes
// "0". The files are `tasks`, which move one thread (see the package comment): the writer must have a single thread, must do it before it
// forks, and before it makes its cgroup namespace. The unified hierarchy is not among them: see DirFD. The caller closes them.
func (g *Group) ProcsFDs() ([]int, error) { return g.SubProcsFDs("") }

// SubProcsFDs is ProcsFDs for a cgroup below the group, which must exist ("exec --cgroup"). Sub may begin with "CONTROLLER[,CONTROLLER]:";
// then it speaks about those, and the others are joined at the group itself.
func (g *Group) SubProcsFDs(sub string) ([]int, error) {
	var fds []int
	for _, d := range g.dirs {
		if d.absent || d.unified() || g.JoinsByParent() {
			continue
		}
		fd, err := d.openIn(sub, "tasks", unix.O_WRONLY)
		if err != nil {
			closeAll(fds)
			return nil, err
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

// DirFD returns a descriptor of the group's directory in the v2 hierarchy for CLONE_INTO_CGROUP (Linux 5.7), close-on-exec; -1 when there
// is no v2 hierarchy, or the process may not join by itself (JoinsByParent). In hybrid mode both it and ProcsFDs are to be used. The caller closes it.
//
// The new process must not get CLONE_NEWCGROUP in the same clone3: its cgroup namespace would be rooted at the parent's cgroup.
func (g *Group) DirFD() (int, error) { return g.SubDirFD("") }

// SubDirFD is DirFD for a cgroup below the group.
func (g *Group) SubDirFD(sub string) (int, error) {
	d := g.unifiedDir()
	if d == nil || g.JoinsByParent() {
		return -1, nil
	}
	return d.openIn(sub, "", unix.O_RDONLY|unix.O_DIRECTORY)
}

// openIn opens a file, or with "" the directory itself, of the group or of a cgroup below it.
func (d *dir) openIn(sub, file string, flags int) (int, error) {
	if err := d.open(); err != nil {
		return -1, err
	}
	below, err := d.subFor(sub)
	if err != nil {
		return -1, err
	}
	path := below
	if file != "" {
		path = strings.TrimPrefix(below+"/"+file, "/")
	}
	fd, err := openBelow(d.fd, path, flags)
	if err != nil {
		return -1, errdef.Errorf(kindOf(err), "cgroup %s: %w", strings.TrimSuffix(d.name()+"/"+path, "/"), err)
	}
	return fd, nil
}

// subFor returns the part of "[CONTROLLERS:]PATH" that is for this directory.
func (d *dir) subFor(sub string) (string, error) {
	if controllers, path, ok := strings.Cut(sub, ":"); ok {
		mine := false
		for _, c := range strings.Split(controllers, ",") {
			mine = mine || d.has(c)
		}
		if !mine {
			return "", nil
		}
		sub = path
	}
	sub = strings.TrimPrefix(sub, "/")
	if sub == "" {
		return "", nil
	}
	for _, part := range strings.Split(sub, "/") {
		if err := checkName(part); err != nil {
			return "", errdef.Errorf(errdef.Invalid, "sub-cgroup %q: %w", sub, err)
		}
	}
	return sub, nil
}

// AddProcess moves a process, with all its threads, into the group or into a cgroup below it; sub as for SubProcsFDs. It is slow: in each
// first hierarchy the kernel waits for a grace period.
func (g *Group) AddProcess(pid int, sub string) error {
	if g.JoinsByParent() {
		if err := g.attach(pid, sub); err != nil {
			return err
		}
		return g.Release()
	}
	for _, d := range g.dirs {
		if d.absent {
			continue
		}
		fd, err := d.openIn(sub, "cgroup.procs", unix.O_WRONLY)
		if err == nil {
			err = moveProcess(fd, pid)
			unix.Close(fd)
			if err != nil {
				err = errdef.Errorf(kindOf(err), "cgroup %s: move process %d: %w", d.name(), pid, err)
			}
		}
		if err != nil && !g.tolerates(errors.Unwrap(err)) {
			return err
		}
	}
	return nil
}

// PIDs lists the processes of the group; with all, those of the cgroups below it too. Processes of other pid namespaces than the caller's
// or its children's are left out.
func (g *Group) PIDs(all bool) ([]int, error) {
	d := g.listing()
	if d == nil {
		return nil, errdef.Errorf(errdef.Unsupported, "cgroup: the container has none of its own")
	}
	if err := d.open(); err != nil {
		return nil, err
	}
	return pidsOf(d.fd, all)
}

// listing chooses the hierarchy whose processes are the group's. All v1 hierarchies have the same, unless a process with the right to do
// so moved; devices comes first as it does with runc.
func (g *Group) listing() *dir {
	for _, c := range []string{"devices", "pids", "freezer", ""} {
		if d := g.dirOf(c); d != nil {
			return d
		}
	}
	for _, d := range g.dirs {
		if !d.absent {
			return d
		}
	}
	return nil
}

// Update changes the limits of the group to what is set in the resources, and leaves the others alone. When one of them cannot be had,
// those before it are put back. Devices change only if the resources have rules; they are then replaced as a whole.
func (g *Group) Update(res *specs.LinuxResources) error {
	if res == nil {
		return nil
	}
	return g.update(res)
}
