package snapshot

import (
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// adopt gives directories of a new layer, which its archive does not describe, what the layers below say of them. dirs are these, the uppermost first.
// Without the right to give a file away the owner stays, which is root's in the user's own namespace.
func adopt(tree string, dirs, implied []string) error {
	var layers []int
	defer func() {
		for _, fd := range layers {
			unix.Close(fd)
		}
	}()
	for _, dir := range append([]string{tree}, dirs...) {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return errdef.Errorf(errdef.Internal, "open %s: %w", dir, err)
		}
		layers = append(layers, fd)
	}
	for _, path := range implied {
		st, ok := lookup(layers[1:], path)
		if !ok {
			continue
		}
		fd, err := beneath(layers[0], path)
		if err != nil {
			return errdef.Errorf(errdef.Internal, "open directory %.200q of the layer: %w", path, err)
		}
		err = unix.Fchown(fd, int(st.Uid), int(st.Gid))
		if err == nil {
			err = unix.Fchmod(fd, st.Mode&0o7777)
		}
		if err == nil {
			err = unix.UtimesNanoAt(fd, ".", []unix.Timespec{st.Mtim, st.Mtim}, 0)
		}
		unix.Close(fd)
		if err != nil && err != unix.EPERM {
			return errdef.Errorf(errdef.Internal, "set up directory %.200q of the layer: %w", path, err)
		}
	}
	return nil
}

// beneath opens a directory below another, through no link.
func beneath(dir int, path string) (int, error) {
	if path == "" {
		path = "."
	}
	return unix.Openat2(dir, path, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	})
}

// lookup finds the directory that an overlay of the layers would show.
func lookup(layers []int, path string) (st unix.Stat_t, ok bool) {
	for _, layer := range layers {
		st, found, stop := lookIn(layer, path)
		if found || stop {
			return st, found
		}
	}
	return st, false
}

// lookIn looks in one layer; stop says that nothing below it shows.
func lookIn(layer int, path string) (st unix.Stat_t, found, stop bool) {
	cur, err := beneath(layer, "")
	if err != nil {
		return st, false, true
	}
	defer func() { unix.Close(cur) }()
	for part := range strings.SplitSeq(path, "/") {
		if part == "" {
			break
		}
		if err := unix.Fstatat(cur, part, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return st, false, stop || err != unix.ENOENT
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return st, false, true // a whiteout, or a file in the way
		}
		next, err := beneath(cur, part)
		if err != nil {
			return st, false, true
		}
		unix.Close(cur)
		cur = next
		stop = stop || opaque(cur)
	}
	return st, unix.Fstat(cur, &st) == nil, stop
}

func opaque(fd int) bool {
	var value [1]byte
	for _, name := range []string{"trusted.overlay.opaque", "user.overlay.opaque"} {
		if n, err := unix.Fgetxattr(fd, name, value[:]); err == nil && n == 1 && value[0] == 'y' {
			return true
		}
	}
	return false
}
