package extract

import (
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

const (
	whiteoutPrefix = ".wh."
	metaPrefix     = ".wh..wh."
	opaqueName     = ".wh..wh..opq"
	maxName        = 255 // NAME_MAX
	maxLinks       = 40  // path_resolution(7)
	maxOpen        = 64  // directories kept open from one entry to the next
	maxAliases     = 256 // paths through links that are remembered
)

// clean turns a name of the archive into a path without a slash at its ends, "" for the root.
func (t *Tree) clean(name string) (string, error) {
	if name == "" {
		return "", errdef.Errorf(errdef.Invalid, "it has no name")
	}
	if len(name) > t.limits.Path {
		return "", errdef.Errorf(errdef.Invalid, "its name has %d bytes; the bound is %d", len(name), t.limits.Path)
	}
	if strings.IndexByte(name, 0) >= 0 {
		return "", errdef.Errorf(errdef.Invalid, "its name holds a NUL byte")
	}
	parts := strings.Split(name, "/")
	kept := parts[:0]
	for _, p := range parts {
		switch {
		case p == "" || p == ".":
			continue
		case p == "..":
			return "", errdef.Errorf(errdef.Invalid, `its name has the part ".."`)
		case len(p) > maxName:
			return "", errdef.Errorf(errdef.Invalid, "its name has a part of %d bytes; the bound is %d", len(p), maxName)
		}
		kept = append(kept, p)
	}
	if len(kept) > t.limits.Depth {
		return "", errdef.Errorf(errdef.Invalid, "its name has %d directories; the bound is %d", len(kept)-1, t.limits.Depth)
	}
	return strings.Join(kept, "/"), nil
}

func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// A place is where an entry goes: a name in an open directory, and the path of both without links.
type place struct {
	dir  int
	path string
	name string
}

// place resolves the directory of a clean path; with create it makes what is missing. Without, its errors are the bare ones of the kernel.
func (t *Tree) place(path string, create bool) (place, error) {
	dir, name := split(path)
	if p, ok := t.aliases[dir]; ok {
		dir = p
	}
	fd, err := t.dir(dir)
	if err == unix.ELOOP {
		real, err := t.canonical(dir)
		if err != nil {
			return place{}, err
		}
		if len(t.aliases) >= maxAliases {
			clear(t.aliases)
		}
		t.aliases[dir] = real
		if fd, err = t.dir(real); err == unix.ELOOP {
			err = unix.EAGAIN // nobody else works in this directory
		}
		return t.found(place{fd, join(real, name), name}, err, create)
	}
	return t.found(place{fd, join(dir, name), name}, err, create)
}

// found completes place.
func (t *Tree) found(at place, err error, create bool) (place, error) {
	if err == nil || !create {
		return at, err
	}
	if err != unix.ENOENT && err != unix.ENOTDIR {
		return at, failed("open its directory", err)
	}
	dir, _ := split(at.path)
	at.dir, err = t.makeDirs(dir)
	return at, err
}

// dir opens a directory whose path has no links. Its errors are the bare ones of the kernel.
func (t *Tree) dir(path string) (int, error) {
	if path == "" {
		return t.root, nil
	}
	if fd, ok := t.open[path]; ok {
		return fd, nil
	}
	fd, err := openBeneath(t.root, path, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	t.keep(path, fd)
	return fd, nil
}

func (t *Tree) keep(path string, fd int) {
	t.open[path] = fd
}

// limit closes directories when many are open. Nobody may hold a place.
func (t *Tree) limit() {
	if len(t.open) >= maxOpen {
		t.flush()
	}
}

// flush forgets open directories: after one was removed or renamed a path may mean another.
func (t *Tree) flush() {
	for path, fd := range t.open {
		unix.Close(fd)
		delete(t.open, path)
	}
	clear(t.aliases)
}

func openBeneath(dir int, path string, flags int) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags) | unix.O_CLOEXEC | unix.O_NOFOLLOW,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	if flags&unix.O_PATH != 0 {
		how.Flags &^= unix.O_NOFOLLOW // else a link at the end is opened itself
	}
	for {
		fd, err := unix.Openat2(dir, path, &how)
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		return fd, err
	}
}

// makeDirs makes the directories of a path that are missing. A whiteout in the way was of a lower layer's directory: what the layer puts in its
// place hides that.
func (t *Tree) makeDirs(path string) (int, error) {
	done, fd := "", t.root
	for part := range strings.SplitSeq(path, "/") {
		next := join(done, part)
		sub, err := t.dir(next)
		switch err {
		case nil:
		case unix.ENOENT, unix.ENOTDIR:
			if sub, err = t.implied(place{fd, next, part}); err != nil {
				return -1, err
			}
		default:
			return -1, failed("open its directory "+quote(next), err)
		}
		done, fd = next, sub
	}
	return fd, nil
}

func (t *Tree) implied(at place) (int, error) {
	err := unix.Mkdirat(at.dir, at.name, 0o755)
	if err == unix.EEXIST {
		if !t.isWhiteout(at) {
			return -1, errdef.Errorf(errdef.Invalid, "its directory %.200q is no directory", at.path)
		}
		if err = t.unwhiteout(at, 0o755); err != nil {
			return -1, err
		}
	}
	if err != nil {
		return -1, failed("make its directory "+quote(at.path), err)
	}
	t.impliedDirs[at.path] = struct{}{}
	fd, err := t.dir(at.path)
	if err != nil {
		return -1, failed("open its directory "+quote(at.path), err)
	}
	return fd, nil
}

// canonical resolves the links of a directory's path as if the root were "/". What does not exist is taken as it stands.
func (t *Tree) canonical(path string) (string, error) {
	todo := strings.Split(path, "/")
	done, links := "", 0
	missing := false
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			done, _ = split(done)
			continue
		}
		next := join(done, part)
		target := ""
		if !missing {
			var err error
			if target, err = t.readlink(done, part); err != nil {
				missing = true
			}
		}
		if target == "" {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", errdef.Errorf(errdef.Invalid, "its directory leads through more than %d links", maxLinks)
		}
		if target[0] == '/' {
			done = ""
		}
		todo = append(strings.Split(target, "/"), todo...)
		if len(todo) > 2*t.limits.Path {
			return "", errdef.Errorf(errdef.Invalid, "its directory leads through links to a name of more than %d bytes", t.limits.Path)
		}
	}
	if len(done) > t.limits.Path || strings.Count(done, "/") >= t.limits.Depth {
		return "", errdef.Errorf(errdef.Invalid, "its directory leads through links to a name of %d bytes and %d directories; the bounds are %d and %d",
			len(done), strings.Count(done, "/")+1, t.limits.Path, t.limits.Depth)
	}
	return done, nil
}

// readlink returns the target of a link, "" if it is none, and an error if it is nothing. It keeps nothing open: a chain of links passes
// thousands of directories.
func (t *Tree) readlink(dir, name string) (string, error) {
	fd, err := openBeneath(t.root, "./"+dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var buf [unix.PathMax]byte
	n, err := unix.Readlinkat(fd, name, buf[:])
	if err == unix.EINVAL {
		return "", nil
	}
	return string(buf[:max(n, 0)]), err
}
