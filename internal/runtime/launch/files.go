package launch

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/plan"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// files are the descriptors that a plan asks for, handed to the child over the socket.
type files struct {
	spec      *specs.Spec
	dir       string
	group     *cgroup.Group
	initPidfd int // exec: the container's
	initPID   int
	stdio     *[3]int // exec: the caller's

	numbers map[string]int
	spaces  map[string]int // user namespaces by their mapping
	hooks   []int
	flag    int // the page that a child under notifications waits for
}

// open opens everything that list asks for.
func (f *files) open(list []plan.FileWant) error {
	if f.group != nil && !f.group.JoinsByParent() {
		fds, err := f.group.ProcsFDs()
		if err != nil {
			return err
		}
		for i, fd := range fds {
			f.numbers["cgroup."+strconv.Itoa(i)] = fd
		}
	}
	for i := range list {
		w := &list[i]
		if _, have := f.numbers[w.Name]; have {
			continue
		}
		fd, err := f.openOne(w)
		if err != nil {
			return err
		}
		f.numbers[w.Name] = fd
		if w.Kind == plan.HookState {
			f.hooks = append(f.hooks, fd)
		}
	}
	return nil
}

func (f *files) openOne(w *plan.FileWant) (int, error) {
	switch w.Kind {
	case plan.HostProc:
		return openProc(w.Path)
	case plan.Namespace:
		return openNamespace(w)
	case plan.Tree, plan.TreeIDMap:
		return f.openTree(w)
	case plan.StartFIFO, plan.ReplyFIFO:
		return openFile(filepath.Join(f.dir, w.Name), unix.O_RDWR)
	case plan.HookState:
		fd, err := unix.MemfdCreate("bulkhead-state", unix.MFD_CLOEXEC)
		return fd, wrap("memfd_create for a hook's input", err)
	case plan.FlagPage:
		fd, err := unix.MemfdCreate("bulkhead-flag", unix.MFD_CLOEXEC)
		if err == nil {
			err = unix.Ftruncate(fd, plan.FlagSize)
		}
		f.flag = fd
		return fd, wrap("memfd_create for a flag", err)
	case plan.Stdio:
		fd, _ := strconv.Atoi(strings.TrimPrefix(w.Name, "stdio."))
		return dup(f.stdio[fd])
	case plan.InitPidfd:
		return dup(f.initPidfd)
	case plan.InitRoot:
		proc, err := procfs.Host()
		if err != nil {
			return -1, err
		}
		return proc.OpenLink(f.initPID, "root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC)
	}
	return -1, errdef.Errorf(errdef.Internal, "plan: descriptor %q of kind %d", w.Name, w.Kind)
}

func openProc(path string) (int, error) {
	p, err := procfs.Open(path)
	if err != nil {
		return -1, err
	}
	return p.FD(), nil // kept open by number; p has nothing else
}

// openNamespace opens a namespace file and makes sure that it is one: a setns on something else fails later with less to say.
func openNamespace(w *plan.FileWant) (int, error) {
	fd, err := openFile(w.Path, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return -1, errdef.WithHint(errdef.WithKind(errdef.Invalid, err), "linux.namespaces: the path must be a namespace file such as /proc/PID/ns/net")
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil || fs.Type != unix.NSFS_MAGIC {
		unix.Close(fd)
		return -1, errdef.WithHint(errdef.Errorf(errdef.Invalid, "linux.namespaces: %q is not a namespace", w.Path), "the path must be a namespace file such as /proc/PID/ns/net")
	}
	var st, own unix.Stat_t
	if unix.Fstat(fd, &st) == nil && unix.Stat("/proc/self/ns/mnt", &own) == nil && st.Dev == own.Dev && st.Ino == own.Ino {
		unix.Close(fd)
		return -1, errdef.WithHint(errdef.Errorf(errdef.Invalid, "linux.namespaces: %q is the mount namespace of the runtime", w.Path),
			"a container moves the root of its mount namespace and unmounts what was there: that would be the host's")
	}
	return fd, nil
}

// openTree makes a detached copy of a mount: open_tree(2), and for an idmapped one mount_setattr(2) with a user namespace that has the mapping.
func (f *files) openTree(w *plan.FileWant) (int, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_NO_AUTOMOUNT)
	if w.Recursive {
		flags |= unix.AT_RECURSIVE
	}
	if w.NoFollow {
		flags |= unix.AT_SYMLINK_NOFOLLOW
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, w.Path, flags)
	if err != nil {
		return -1, wrap("open_tree "+w.Path, err)
	}
	if w.Kind == plan.Tree {
		return fd, nil
	}
	ns, err := f.userNS(idmap.FromSpec(w.UIDs, w.GIDs))
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns)}
	set := uint(unix.AT_EMPTY_PATH)
	if w.MapRec {
		set |= unix.AT_RECURSIVE
	}
	if err := unix.MountSetattr(fd, "", set, &attr); err != nil {
		unix.Close(fd)
		return -1, errdef.WithHint(errdef.Errorf(errdef.Unsupported, "mount_setattr %s with an id mapping: %w", w.Path, err),
			"this file system cannot be mounted with mapped ids on this kernel")
	}
	return fd, nil
}

// userNS returns a user namespace with the mapping. Mounts of one container mostly have the same, and a namespace costs a process.
func (f *files) userNS(m idmap.Mapping) (int, error) {
	key := idmap.Text(m.UIDs) + "," + idmap.Text(m.GIDs)
	if ns, ok := f.spaces[key]; ok {
		return ns, nil
	}
	ns, err := idmap.UserNS(m)
	if err != nil {
		return -1, err
	}
	if f.spaces == nil {
		f.spaces = map[string]int{}
	}
	f.spaces[key] = ns
	return ns, nil
}

// fillHooks writes the container's state where the startContainer hooks read it. pwrite leaves the shared offset at the start.
func (f *files) fillHooks(state []byte) error {
	for _, fd := range f.hooks {
		if _, err := unix.Pwrite(fd, state, 0); err != nil {
			return wrap("write a hook's input", err)
		}
	}
	return nil
}

func (f *files) close() {
	for _, fds := range []map[string]int{f.numbers, f.spaces} {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
}

func openFile(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		}
		return fd, nil
	}
}

func dup(fd int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	return n, wrap("duplicate a descriptor", err)
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return errdef.Errorf(errdef.Internal, "%s: %w", what, err)
}
