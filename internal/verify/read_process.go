package verify

import (
	"encoding/binary"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	"golang.org/x/sys/unix"
)

const (
	maxProcesses = 4096 // of a container, that are looked at
	maxThreads   = 256  // of a process
	maxFDs       = 1024 // of a process
	maxNodes     = 4096 // of /dev
)

// linkText reads a link without following it.
func linkText(dir int, at string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, at, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// namespaces reads the links of /proc/PID/ns, which names them without opening any.
func (r *reader) namespaces(pid int) (Namespaces, bool) {
	out := Namespaces{}
	for _, k := range kinds {
		text, err := linkText(r.proc.FD(), procfs.Path(pid, "ns/"+k.file))
		if err != nil {
			continue // ended, or a kernel without
		}
		_, rest, _ := strings.Cut(text, "[")
		if n, err := strconv.ParseUint(strings.TrimSuffix(rest, "]"), 10, 64); err == nil {
			out[k.file] = n
		}
	}
	return out, len(out) > 0
}

// processes finds all that are in the container in some respect: by its cgroup, or by a namespace that is its own.
func (r *reader) processes() error {
	first, ok := r.process(r.d.PID)
	if !ok {
		return errdef.Errorf(errdef.Conflict, "verify container %s: container not running", r.d.Name)
	}
	r.f.Processes = append(r.f.Processes, first)
	pids, err := r.pids()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if pid == r.d.PID || !r.member(pid, first.NS) {
			continue
		}
		if len(r.f.Processes) >= maxProcesses {
			r.f.More++
			continue
		}
		if p, ok := r.process(pid); ok {
			r.f.Processes = append(r.f.Processes, p)
		}
	}
	return nil
}

// pids lists all processes that this procfs shows.
func (r *reader) pids() ([]int, error) {
	fd, err := r.proc.Open(".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var out []int
	for _, name := range names(fd, 1<<22) {
		if pid, err := strconv.Atoi(name); err == nil {
			out = append(out, pid)
		}
	}
	slices.Sort(out)
	return out, nil
}

// names lists an open directory.
func names(fd, most int) []string {
	var out []string
	buf := make([]byte, 1<<16)
	for len(out) < most {
		n, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			break
		}
		for rest := buf[:n]; len(rest) > 19; { // struct linux_dirent64, getdents64(2)
			size := int(binary.NativeEndian.Uint16(rest[16:]))
			if size < 20 || size > len(rest) {
				return out
			}
			if name := unix.ByteSliceToString(rest[19:size]); name != "." && name != ".." {
				out = append(out, name)
			}
			rest = rest[size:]
		}
	}
	return out
}

// member reports whether a process is the container's, and of no other container that joined a namespace of it.
func (r *reader) member(pid int, own Namespaces) bool {
	groups := r.cgroups(pid)
	if r.inGroups(r.d.Cgroup, groups) {
		return true
	}
	ns, ok := r.namespaces(pid)
	if !ok {
		return false
	}
	c := &comparison{d: r.d, f: r.f}
	shared := false
	for _, k := range kinds {
		host := slices.ContainsFunc(r.f.Host, func(h Namespaces) bool { return h[k.file] == own[k.file] })
		shared = shared || c.own(k.kind) && own[k.file] != 0 && ns[k.file] == own[k.file] && !host
	}
	if !shared {
		return false
	}
	for i := range r.d.Others {
		if o := &r.d.Others[i]; len(o.Joins) > 0 && r.inGroups(o.Cgroup, groups) && slices.ContainsFunc(kinds, func(k kind) bool { return c.joins(o, k.file) }) {
			return false
		}
	}
	return true
}

// inGroups reports whether some cgroup of a process is one of those, or below.
func (r *reader) inGroups(rec *cgroup.Record, groups map[string]string) bool {
	if rec == nil {
		return false
	}
	return slices.ContainsFunc(rec.Dirs, func(d cgroup.RecordDir) bool { return below(groups[key(d)], "/"+d.Path) })
}

func (r *reader) cgroups(pid int) map[string]string {
	list, err := r.proc.Cgroups(pid)
	if err != nil {
		return nil
	}
	out := map[string]string{}
	for _, g := range list {
		if len(g.Controllers) == 0 {
			out[""] = g.Path
		}
		for _, name := range g.Controllers {
			out[name] = g.Path
		}
	}
	return out
}

// process reads all of one; false for one that has ended.
func (r *reader) process(pid int) (p Process, ok bool) {
	st, err := r.proc.Stat(pid)
	if err != nil || st.Dead() {
		return p, false
	}
	p = Process{PID: pid, Comm: st.Comm, StartTime: st.StartTime, Cgroups: r.cgroups(pid), Nested: map[string]bool{}}
	if p.NS, ok = r.namespaces(pid); !ok {
		return p, false
	}
	status, err := r.proc.Status(pid)
	if err != nil {
		return p, false
	}
	p.Threads = append([]procfs.Status{status}, r.threads(pid)...)
	p.Tracer = status.TracerPID
	if text, err := r.proc.Read(procfs.Path(pid, "limits")); err == nil {
		p.Rlimits = parseLimits(string(text))
	}
	if text, err := r.proc.Read(procfs.Path(pid, "oom_score_adj")); err == nil {
		p.OOMScore, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	p.AppArmor, p.SELinux = r.label(pid, "attr/apparmor/current", "attr/current"), r.label(pid, "attr/current")
	if len(r.f.Processes) > 0 {
		r.nested(&p)
	}
	r.outside(&p)
	return p, true
}

// label reads the first of the files that there is.
func (r *reader) label(pid int, files ...string) string {
	for _, f := range files {
		if text, err := r.proc.Read(procfs.Path(pid, f)); err == nil {
			return strings.TrimRight(string(text), "\n\x00")
		}
	}
	return ""
}

// threads reads the other threads: each has credentials and filters of its own.
func (r *reader) threads(pid int) []procfs.Status {
	fd, err := r.proc.Open(procfs.Path(pid, "task"), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	var out []procfs.Status
	for _, tid := range names(fd, maxThreads) {
		if tid == strconv.Itoa(pid) {
			continue
		}
		if text, err := r.proc.Read(procfs.Path(pid, "task/"+tid+"/status")); err == nil {
			if s, err := procfs.ParseStatus(text); err == nil {
				out = append(out, s)
			}
		}
	}
	return out
}

// nested says which namespaces of a process that are not the container's belong to a user namespace below the container's (ioctl_ns(2)).
func (r *reader) nested(p *Process) {
	own := r.f.Processes[0].NS
	for _, k := range kinds {
		if p.NS[k.file] == own[k.file] {
			continue
		}
		fd, err := r.proc.OpenLink(p.PID, "ns/"+k.file, unix.O_RDONLY)
		if err != nil {
			continue
		}
		if k.file != "user" {
			fd = step(fd, unix.NS_GET_USERNS)
		}
		for range 33 { // as deep as user namespaces can be
			if fd < 0 {
				break
			}
			var st unix.Stat_t
			if unix.Fstat(fd, &st) == nil && st.Ino == own["user"] {
				p.Nested[k.file] = true
				break
			}
			fd = step(fd, unix.NS_GET_PARENT)
		}
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// step goes from one namespace to another, and closes the first.
func step(fd int, request uint) int {
	next, err := unix.IoctlRetInt(fd, request)
	_ = unix.Close(fd)
	if err != nil {
		return -1
	}
	return next
}

// outside finds directories and disks that a process holds and that lie on none of the container's mounts. fdinfo says on which mount a descriptor is, without
// a look at the file, which might be on a file system that does not answer.
func (r *reader) outside(p *Process) {
	table, err := r.proc.Mountinfo(p.PID)
	if err != nil {
		return
	}
	known := map[int]bool{}
	for i := range table {
		known[table[i].ID] = true
	}
	fd, err := r.proc.Open(procfs.Path(p.PID, "fdinfo"), unix.O_RDONLY|unix.O_DIRECTORY)
	if err == nil {
		list := names(fd, maxFDs)
		_ = unix.Close(fd)
		for _, n := range list {
			info, err := r.proc.Read(procfs.Path(p.PID, "fdinfo/"+n))
			if id := mountID(string(info)); err == nil && id >= 0 && !known[id] {
				r.look(p, "fd/"+n)
			}
		}
	}
	for _, link := range []string{"cwd", "root"} {
		if fd, err := r.proc.OpenLink(p.PID, link, unix.O_PATH); err == nil {
			var st unix.Statx_t
			if unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &st) == nil && !known[int(st.Mnt_id)] {
				r.look(p, link)
			}
			_ = unix.Close(fd)
		}
	}
}

// look notes what is a directory or a disk. Files are passed over: standard input and output are what the caller gave.
func (r *reader) look(p *Process, link string) {
	text, err := linkText(r.proc.FD(), procfs.Path(p.PID, link))
	if err != nil || !strings.HasPrefix(text, "/") {
		return
	}
	fd, err := r.proc.OpenLink(p.PID, link, unix.O_PATH)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var st unix.Statx_t
	if unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st) != nil {
		return
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		p.Outside = append(p.Outside, link+": the directory "+text)
	case unix.S_IFBLK:
		p.Outside = append(p.Outside, link+": the disk "+text)
	}
}

// mountID reads the line mnt_id of fdinfo; -1 if there is none.
func mountID(info string) int {
	_, rest, ok := strings.Cut(info, "mnt_id:")
	line, _, _ := strings.Cut(rest, "\n")
	id, err := strconv.Atoi(strings.TrimSpace(line))
	if !ok || err != nil {
		return -1
	}
	return id
}

// nodes finds device nodes in /dev, on the mount of /dev itself.
func (r *reader) nodes() {
	p, fd := resolve(r.root, "/dev")
	if fd < 0 {
		return
	}
	defer unix.Close(fd)
	r.nodesIn(fd, "/dev", p.Mount, 4)
}

func (r *reader) nodesIn(dir int, at string, mount, depth int) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	for _, name := range names(fd, maxNodes) {
		f, sub := resolveHere(fd, name)
		here := path.Join(at, name)
		if f.Mount == mount && (f.Char || f.Block) && len(r.f.Nodes) < maxNodes {
			r.f.Nodes = append(r.f.Nodes, Node{here, f.Block, f.Major, f.Minor})
		}
		if f.Mount == mount && f.Dir && depth > 0 {
			r.nodesIn(sub, here, mount, depth-1)
		}
		if sub >= 0 {
			_ = unix.Close(sub)
		}
	}
}
