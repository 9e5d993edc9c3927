package cgroup

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Create makes the group's directories, sets the limits and filters devices. On an error nothing that it made is left. A cgroup that is
// there already is taken if it is empty and not frozen, else it is a Conflict.
//
// The limits are compiled first, so that resources that make no sense cost no system call.
func (g *Group) Create(res *specs.LinuxResources) error {
	return g.CreateBeside(res, func() error { return nil }, func() {})
}

// CreateBeside is Create, and calls begin as soon as DirFD has a directory, so that the container's process can be made while the rest is
// done: it must not run anything of the container before CreateBeside has returned, for the limits come later. When a step fails, begin or
// another, abort is called before the group is taken back: the process must have left it by then.
func (g *Group) CreateBeside(res *specs.LinuxResources, begin func() error, abort func()) error {
	settings, err := compile(g.mode, res)
	if err == nil {
		err = checkRoom(settings)
	}
	if err != nil {
		return err
	}
	var list []specs.LinuxDeviceCgroup
	if res != nil {
		list = res.Devices
	}
	devices, err := newFilter(list)
	if err != nil {
		return err
	}
	if g.unit.name != "" {
		if err := g.startUnit(res, devices); err != nil {
			return err
		}
		g.again = settings
		if g.unit.tasks != 0 { // set at Release: what holds the scope open would count
			settings = slices.DeleteFunc(slices.Clone(settings), func(s setting) bool { return s.controller == "pids" })
		}
	}
	err = g.makeDirs(settings, begin)
	if err == nil {
		_, err = g.apply(settings)
	}
	if err == nil {
		err = g.applyDevices(devices)
	}
	for _, d := range g.dirs {
		d.fresh = false
	}
	if err != nil {
		abort()
		g.undo()
	}
	return err
}

// leastMemory is what a process needs to begin with. Below it the kernel may look for something to kill while the child still shares its
// memory with the runtime, and both would die (mm/oom_kill.c, __oom_kill_process).
const leastMemory = 1 << 20

// checkRoom refuses a limit of memory in which nothing can start.
func checkRoom(settings []setting) error {
	for _, s := range settings {
		if s.file != "memory.max" && s.file != "memory.limit_in_bytes" {
			continue
		}
		if n, err := strconv.ParseInt(s.value, 10, 64); err == nil && n >= 0 && n < leastMemory {
			return errdef.Errorf(errdef.Invalid, "%s: %d bytes: out of memory before a process can start; it takes %d and what the program needs", s.field, n, leastMemory)
		}
	}
	return nil
}

// makeDirs makes the directories, the unified one first, and calls begin when that is there.
func (g *Group) makeDirs(settings []setting, begin func() error) error {
	if len(g.dirs) == 0 && !g.rootless {
		return errdef.WithHint(errdef.Errorf(errdef.Unsupported, "cgroup: no hierarchy is mounted, so that devices cannot be denied and nothing can be limited"),
			"mount cgroup2 on /sys/fs/cgroup, or run without cgroups if you can do without limits")
	}
	if d := g.unifiedDir(); d != nil {
		if err := g.makeTolerated(d, settings); err != nil {
			return err
		}
	}
	if err := begin(); err != nil {
		return err
	}
	for _, d := range g.dirs {
		if d.unified() {
			continue
		}
		if err := g.makeTolerated(d, settings); err != nil {
			return err
		}
	}
	return nil
}

// makeTolerated makes a directory, or notes that it cannot be made where that is no error.
func (g *Group) makeTolerated(d *dir, settings []setting) error {
	err := g.makeDir(d, settings)
	if err == nil {
		return nil
	}
	if errno := errnoOf(err); errno == nil || !g.tolerates(errno) {
		if denied(err) && g.rootless {
			err = errdef.WithHint(err, rootlessHint)
		}
		return err
	}
	d.absent = true
	d.close()
	return nil
}

const rootlessHint = "use --systemd-cgroup; without systemd, as root: mkdir and chown a cgroup and its cgroup.procs, cgroup.threads and " +
	"cgroup.subtree_control to the user, and start the runtime in a cgroup below it (docs/cgroups.md); or ask for no limits and no cgroupsPath"

// errnoOf digs the errno out of an error.
func errnoOf(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return nil
}

// makeDir makes the directory and, where they lack, those above it.
func (g *Group) makeDir(d *dir, settings []setting) error {
	if err := d.openRoot(); err != nil {
		return err
	}
	parent, name := d.root, d.path
	if i := strings.LastIndexByte(d.path, '/'); i >= 0 {
		name = d.path[i+1:]
		fd, err := openBelow(d.root, d.path[:i], unix.O_RDONLY|unix.O_DIRECTORY)
		if errors.Is(err, unix.ENOENT) {
			fd, err = d.makeParents(d.path[:i])
		}
		if err != nil {
			return errdef.Errorf(kindOf(err), "cgroup %s/%s: %w", d.mount, d.path[:i], err)
		}
		defer unix.Close(fd)
		parent = fd
	}
	if d.unified() {
		if err := d.enable(parent, settings, g.mode); err != nil {
			return err
		}
	}
	err := unix.Mkdirat(parent, name, 0o755)
	there := errors.Is(err, unix.EEXIST)
	if err != nil && !there {
		return errdef.Errorf(kindOf(err), "cgroup %s: make: %w", d.name(), err)
	}
	if !there {
		d.made++
		d.fresh = true
	}
	fd, err := openFile(parent, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return errdef.Errorf(kindOf(err), "cgroup %s: %w", d.name(), err)
	}
	d.fd = fd
	if there {
		if err := d.checkUnused(g.unit.name != ""); err != nil {
			return err
		}
	}
	if d.unified() && parent != d.root {
		return d.checkType()
	}
	if d.has("cpuset") {
		return d.inheritCpuset(parent)
	}
	return nil
}

// checkType refuses a v2 cgroup that no process can be born in, because one above it is threaded (cgroup-v2.rst, "Threads").
func (d *dir) checkType() error {
	kind, err := readFile(d.fd, "cgroup.type")
	if kind = strings.TrimSpace(kind); err == nil && kind != "domain" && kind != "domain threaded" {
		return errdef.WithHint(errdef.Errorf(errdef.Conflict, "cgroup %s: its type is %q: a cgroup above it is threaded", d.name(), kind),
			"choose another linux.cgroupsPath")
	}
	return nil
}

// makeParents makes the components that lack, and returns a descriptor of the last.
func (d *dir) makeParents(path string) (int, error) {
	cur := d.root
	for _, part := range strings.Split(path, "/") {
		err := unix.Mkdirat(cur, part, 0o755)
		if err == nil {
			d.made++
		}
		var next int
		if err == nil || errors.Is(err, unix.EEXIST) {
			next, err = openFile(cur, part, unix.O_RDONLY|unix.O_DIRECTORY)
		}
		if err == nil && d.has("cpuset") {
			if err = inheritCpuset(cur, next); err != nil {
				unix.Close(next)
			}
		}
		if cur != d.root {
			unix.Close(cur)
		}
		if err != nil {
			return -1, err
		}
		cur = next
	}
	return cur, nil
}

// checkUnused refuses a cgroup that somebody else is in: its limits would become those of strangers, and Kill would kill them. That of
// a systemd unit was made just now and holds our own process.
func (d *dir) checkUnused(ours bool) error {
	if ours {
		return nil
	}
	pids, err := procsOf(d.fd)
	if err != nil {
		return err
	}
	if len(pids) > 0 {
		return errdef.WithHint(errdef.Errorf(errdef.Conflict, "cgroup %s: is not empty: %d processes are in it", d.name(), len(pids)),
			"another container uses this linux.cgroupsPath")
	}
	file, frozen := "freezer.state", "FROZEN"
	if d.unified() {
		file, frozen = "cgroup.freeze", "1"
	}
	if !d.unified() && !d.has("freezer") {
		return nil
	}
	if state, err := readFile(d.fd, file); err == nil && strings.TrimSpace(state) == frozen {
		return errdef.Errorf(errdef.Conflict, "cgroup %s: is frozen: whatever joined it would hang", d.name())
	}
	return nil
}

// undo removes what Create made, innermost first, and leaves what was there before.
func (g *Group) undo() {
	if g.unit.name != "" {
		g.stopUnit()
	}
	for _, d := range g.dirs {
		path := d.path
		for d.root >= 0 && d.made > 0 {
			parent, name := d.root, path
			i := strings.LastIndexByte(path, '/')
			if i >= 0 {
				fd, err := openBelow(d.root, path[:i], unix.O_RDONLY|unix.O_DIRECTORY)
				if err != nil {
					break
				}
				parent, name = fd, path[i+1:]
			}
			err := unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
			if parent != d.root {
				unix.Close(parent)
			}
			if err != nil && !gone(err) || i < 0 {
				break
			}
			path = path[:i]
			d.made--
		}
		d.close()
	}
}

// inheritCpuset fills the cpuset of the group's directory from above, unless the settings will.
func (d *dir) inheritCpuset(parent int) error {
	if err := inheritCpuset(parent, d.fd); err != nil {
		return errdef.Errorf(kindOf(err), "cgroup %s: inherit cpuset: %w", d.name(), err)
	}
	return nil
}

// inheritCpuset copies the CPUs and memory nodes of a v1 parent to its child where that has none, which is how it begins; nothing can
// join before (cgroup-v1/cpusets.rst). A parent made by others may be as empty: then its own parents are filled first.
func inheritCpuset(parent, child int) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		have, err := readFile(child, file)
		if err != nil {
			return err
		}
		if strings.TrimSpace(have) != "" {
			continue
		}
		from, err := readFile(parent, file)
		if err != nil {
			return err
		}
		if strings.TrimSpace(from) == "" {
			up, err := openFile(parent, "..", unix.O_RDONLY|unix.O_DIRECTORY)
			if err != nil {
				return err
			}
			if _, err = readFile(up, file); err == nil { // still a cgroup, not the directory of mount points
				err = inheritCpuset(up, parent)
			}
			unix.Close(up)
			if err != nil {
				return err
			}
			if from, err = readFile(parent, file); err != nil {
				return err
			}
		}
		if err := writeFile(child, file, strings.TrimSpace(from)); err != nil {
			return err
		}
	}
	return nil
}
