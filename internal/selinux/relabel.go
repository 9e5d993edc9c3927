package selinux

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"github.com/bulkhead-engine/bulkhead/internal/selinux/category"
	"golang.org/x/sys/unix"
)

// A Volume says how a tree is to be labelled.
type Volume struct {
	Label  string   // Labels.Mount of the container; "" does nothing, for without SELinux there is nothing to do
	Shared bool     // :z, the level s0, which all containers may use; else :Z, the container's own
	Guard  []string // absolute paths, besides those of the host, that must keep their labels with all below, such as the engine's own root
}

// Done is what Relabel did, also when it returns an error.
type Done struct {
	Seen    int      // files, directories and links
	Written int      // those of them whose label was another
	Devices int      // device files, which keep theirs: a volume gives no device to a container
	Mounts  []string // mounts below the root, which are left as they are, relative to it; the first 16
	// Unsupported: the file system keeps no labels (vfat, NFS before 4.2, a mount with context=), so nothing was written. Its files have one
	// label for all, and whether containers may use them is up to that.
	Unsupported bool
}

const (
	attribute = "security.selinux"
	// maxDepth bounds the directories open at once, one per level. Path names of 4096 bytes reach some 2000 levels down.
	maxDepth  = 512
	maxMounts = 16
	maxLabel  = 4096
)

// Relabel gives a file, or a directory and all below, the label of a volume: what :z and :Z behind -v do. A symbolic link at the end of the path is
// followed, for it is the user's own; RelabelAt takes what is open already.
//
// Errors: Denied for a place that the host needs, by whatever name, and for what the caller or SELinux may not do; Invalid for a label
// that the policy does not have, for a private label without categories, for a tree of more than 512 levels; Timeout when ctx ends; NotFound.
// What was written before an error stays and is counted in Done; to try again is safe, what is right is not written again. Two that relabel one tree at once
// leave a mixture: the caller keeps that from happening.
func Relabel(ctx context.Context, path string, v Volume) (Done, error) {
	fd := -1
	err := sys.Retry(func() (err error) { fd, err = unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0); return err })
	if err != nil {
		return Done{}, errdef.Errorf(kindOf(err), "relabel %q: %w", path, err)
	}
	defer unix.Close(fd)
	return RelabelAt(ctx, fd, path, v)
}

// RelabelAt is Relabel for a descriptor, O_PATH or not, so that what is labelled is what will be mounted. The name is for messages.
func RelabelAt(ctx context.Context, fd int, name string, v Volume) (Done, error) {
	if v.Label == "" {
		return Done{}, nil
	}
	label, err := v.label()
	if err != nil {
		return Done{}, err
	}
	if err := Check(label); err != nil {
		return Done{}, err
	}
	r := relabeller{name: name, label: label, attribute: attribute, extra: v.Guard}
	return r.run(ctx, fd)
}

// label is the one that the volume's files get.
func (v *Volume) label() (string, error) {
	c, err := parseLabel(v.Label)
	if err != nil {
		return "", err
	}
	if v.Shared {
		if c.level != "" {
			c.level = "s0"
		}
		return c.String(), nil
	}
	set, err := category.ParseLevel(c.level)
	if err != nil || len(set) == 0 {
		err := errdef.Errorf(errdef.Invalid, "relabel for one container: label %q has no categories, so every container could use the volume", v.Label)
		return "", errdef.WithHint(err, ":z shares a volume; label=level: with categories makes it private")
	}
	return v.Label, nil
}

// A relabeller does one tree.
type relabeller struct {
	name      string
	label     string
	attribute string // security.selinux but in tests of machines without SELinux
	extra     []string
	owner     *Owner // instead of a label
	guard     *guard
	done      Done
	stack     []directory
	old       [maxLabel]byte
}

// A directory that the walk is in: how far it has been read.
type directory struct {
	fd    int
	name  string
	names []string
	buf   []byte
}

func (r *relabeller) run(ctx context.Context, fd int) (Done, error) {
	var err error
	if r.guard, err = newGuard(r.extra); err != nil {
		return Done{}, errdef.Errorf(errdef.KindOf(err), "relabel %q: %w", r.name, err)
	}
	if r.owner != nil {
		r.guard.verb, r.guard.hint = "chown", "mount it without :U: the container sees the files with its own ids anyway; or keep what containers use in a directory of its own"
	}
	if err := r.guard.check(fd, r.name); err != nil {
		return Done{}, err
	}
	if err := sameBehind(fd); err != nil {
		return Done{}, errdef.Errorf(errdef.Internal, "relabel %q: %w", r.name, err)
	}
	err = r.walk(ctx, fd)
	for _, d := range r.stack {
		unix.Close(d.fd)
	}
	if errors.Is(err, unix.EOPNOTSUPP) && r.done.Written == 0 {
		r.done.Unsupported, err = true, nil
	}
	if err != nil {
		err = errdef.Errorf(errdef.KindOf(err), "%w (after %d of %d files seen were changed)", err, r.done.Written, r.done.Seen)
	}
	return r.done, err
}

// walk goes through the tree in depth, without recursion; a directory is labelled after what is in it, so the root is last.
func (r *relabeller) walk(ctx context.Context, root int) error {
	if err := r.enter(root, ""); err != nil {
		return err
	}
	for len(r.stack) > 0 {
		if err := ctx.Err(); err != nil {
			return errdef.Errorf(errdef.Timeout, "relabel %q: %w", r.name, err)
		}
		d := &r.stack[len(r.stack)-1]
		name, err := d.next()
		switch {
		case err != nil:
			return r.failed("read the directory", "", err)
		case name == "":
			if err := r.set(d.fd); err != nil {
				return r.failed("set the label", "", err)
			}
			unix.Close(d.fd)
			r.stack = r.stack[:len(r.stack)-1]
		default:
			if err := r.child(d.fd, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// child opens a name in a directory, whatever is there now, and nothing that is mounted there.
func (r *relabeller) child(dir int, name string) error {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	}
	fd, err := openat2(dir, name, &how)
	switch err {
	case nil:
	case unix.ENOENT: // removed since the directory was read
		return nil
	case unix.EXDEV:
		if len(r.done.Mounts) < maxMounts {
			r.done.Mounts = append(r.done.Mounts, r.path(name))
		}
		return nil
	default:
		return r.failed("open", name, err)
	}
	defer unix.Close(fd)
	return r.enter(fd, name)
}

// enter labels what is no directory, and puts a directory on the stack.
func (r *relabeller) enter(fd int, name string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return r.failed("look at", name, err)
	}
	if place := r.guard.names[identity{st.Dev, st.Ino}]; place != "" { // a hard link, or moved here
		return errdef.Errorf(errdef.Denied, "%s %q: %q is %s, which the host needs as it is", r.guard.verb, r.name, r.path(name), place)
	}
	r.done.Seen++
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFBLK, unix.S_IFCHR:
		r.done.Devices++
		return nil
	case unix.S_IFDIR:
	default:
		if err := r.set(fd); err != nil {
			return r.failed("set the label", name, err)
		}
		return nil
	}
	if len(r.stack) == maxDepth {
		return errdef.Errorf(errdef.Invalid, "relabel %q: more than %d levels of directories", r.name, maxDepth)
	}
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV}
	opened, err := openat2(fd, ".", &how)
	if err != nil {
		return r.failed("open", name, err)
	}
	r.stack = append(r.stack, directory{fd: opened, name: name})
	return nil
}

// next returns the next name, "" at the end.
func (d *directory) next() (string, error) {
	for len(d.names) == 0 {
		if d.buf == nil {
			d.buf = make([]byte, 8<<10)
		}
		n := 0
		err := sys.Retry(func() (err error) { n, err = unix.ReadDirent(d.fd, d.buf); return err })
		if err == unix.ENOENT { // the directory itself was removed
			n, err = 0, nil
		}
		if n == 0 || err != nil {
			return "", err
		}
		_, _, d.names = unix.ParseDirent(d.buf[:n], -1, d.names[:0])
	}
	name := d.names[0]
	d.names = d.names[1:]
	return name, nil
}

// set writes the label of what a descriptor names, if it has another. Fsetxattr(2) does not take O_PATH, and to open a FIFO or a socket
// is no way; the link in /proc names the same object, and a link that it names is not followed.
func (r *relabeller) set(fd int) error {
	if r.owner != nil {
		return r.give(fd)
	}
	path := fdPath(fd)
	n, err := unix.Getxattr(path, r.attribute, r.old[:])
	if err == nil && strings.TrimRight(string(r.old[:n]), "\x00") == r.label {
		return nil
	}
	err = sys.Retry(func() error { return unix.Setxattr(path, r.attribute, []byte(r.label), 0) })
	switch err {
	case nil:
		r.done.Written++
	case unix.ENOENT, unix.ESTALE: // removed since it was opened
		err = nil
	}
	return err
}

// path is the way from the root to a name in the directory that the walk is in, for messages.
func (r *relabeller) path(name string) string {
	var parts []string
	for _, d := range r.stack {
		if d.name != "" {
			parts = append(parts, d.name)
		}
	}
	if name != "" {
		parts = append(parts, name)
	}
	if len(parts) == 0 {
		return "."
	}
	return strings.Join(parts, "/")
}

func (r *relabeller) failed(step, name string, err error) error {
	wrapped := errdef.Errorf(kindOf(err), "%s %q: %s of %q: %w", r.guard.verb, r.name, step, r.path(name), err)
	if r.owner == nil && errdef.Is(wrapped, errdef.Denied) {
		return errdef.WithHint(wrapped, "relabelling needs the owner or CAP_FOWNER, a writable mount, and relabelfrom and relabelto of the policy")
	}
	return wrapped
}

// openat2 opens and retries what openat2(2) says may be retried.
func openat2(dir int, name string, how *unix.OpenHow) (fd int, err error) {
	for range 128 {
		if fd, err = unix.Openat2(dir, name, how); err != unix.EAGAIN && err != unix.EINTR {
			break
		}
	}
	return fd, err
}

func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// sameBehind checks that /proc/self/fd leads to what a descriptor holds, and no mount over it elsewhere (CVE-2025-52881).
func sameBehind(fd int) error {
	var st, link unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if err := unix.Stat(fdPath(fd), &link); err != nil {
		return err
	}
	if st.Dev != link.Dev || st.Ino != link.Ino {
		return errors.New("/proc/self/fd of this process is not the kernel's")
	}
	return nil
}

func kindOf(err error) errdef.Kind {
	switch err {
	case unix.ENOENT, unix.ENOTDIR:
		return errdef.NotFound
	case unix.EACCES, unix.EPERM, unix.EROFS, unix.ELOOP:
		return errdef.Denied
	case unix.EINVAL:
		return errdef.Invalid
	case unix.EOPNOTSUPP, unix.ENOSYS:
		return errdef.Unsupported
	}
	return errdef.Internal
}
