// Package mount answers questions about mounts of the runtime's own mount namespace: which mount a descriptor is on, how it
// propagates, which of its flags a user namespace locks. It mounts nothing; that is the plan's work.
//
//	info, err := mount.Of(rootfd)
//	if info.Shared() { ... } // pivot_root(2) refuses a root whose parent mount is shared
//
// Mounts are identified through descriptors, not by comparing paths, so that an answer is about what the descriptor holds even when
// something is mounted over the path. statmount(2) (kernel 6.8) answers in microseconds; older kernels have mountinfo read.
package mount

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// Info is what is asked of a mount.
type Info struct {
	ID, Parent  uint64 // unique ids if Unique, else those of mountinfo
	Unique      bool
	Attr        uint64 // MOUNT_ATTR_*
	Propagation uint64 // MS_SHARED, MS_SLAVE, both, MS_UNBINDABLE, or MS_PRIVATE
}

// Locked are the attributes that a less privileged user namespace cannot take away from a mount it inherited (mount_setattr(2), EPERM).
const Locked = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR__ATIME |
	unix.MOUNT_ATTR_NODIRATIME

// Shared reports whether the mount sends mounts to its peers.
func (i Info) Shared() bool { return i.Propagation&unix.MS_SHARED != 0 }

// Slave reports whether the mount receives mounts from a master.
func (i Info) Slave() bool { return i.Propagation&unix.MS_SLAVE != 0 }

// Of returns the mount that fd is on. A mount of another namespace, or one that is not attached, is of kind NotFound.
func Of(fd int) (Info, error) {
	id, unique, err := sys.MountID(fd)
	if err == nil && unique {
		info, err := statmount(id)
		if !errdef.Is(err, errdef.Unsupported) {
			return info, err
		}
	}
	old, err := oldID(fd)
	if err != nil {
		return Info{}, err
	}
	return fromMountinfo(old)
}

// ParentOf returns the mount that the mount of i is mounted on. The root of the namespace is its own parent.
func ParentOf(i Info) (Info, error) {
	if i.Unique {
		return statmount(i.Parent)
	}
	return fromMountinfo(int(i.Parent))
}

func statmount(id uint64) (Info, error) {
	st, err := sys.StatMount(id, sys.StatmountMntBasic)
	switch err {
	case nil:
		return Info{ID: st.ID, Parent: st.ParentID, Unique: true, Attr: st.Attr, Propagation: st.Propagation}, nil
	case unix.ENOENT:
		return Info{}, errdef.Errorf(errdef.NotFound, "mount %d: not in this mount namespace", id)
	case unix.ENOSYS, unix.EPERM: // a seccomp filter of an outer container may answer either
		return Info{}, errdef.Errorf(errdef.Unsupported, "mount %d: statmount: %w", id, err)
	}
	return Info{}, errdef.Errorf(errdef.Internal, "mount %d: statmount: %w", id, err)
}

// oldID returns the id that mountinfo uses: from statx(2) (kernel 5.8), before that from fdinfo (kernel 3.15).
func oldID(fd int) (int, error) {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st)
	if err == nil && st.Mask&unix.STATX_MNT_ID != 0 {
		return int(st.Mnt_id), nil
	}
	proc, err := procfs.Host()
	if err != nil {
		return 0, err
	}
	b, err := proc.Read("self/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte("mnt_id:")); ok {
			return strconv.Atoi(string(bytes.TrimSpace(v)))
		}
	}
	return 0, errdef.Errorf(errdef.Unsupported, "descriptor %d: the kernel does not say its mount", fd)
}

func fromMountinfo(id int) (Info, error) {
	proc, err := procfs.Host()
	if err != nil {
		return Info{}, err
	}
	// The thread's view: a thread that has its own mount namespace asks about that.
	b, err := proc.Read("thread-self/mountinfo")
	if err != nil {
		return Info{}, err
	}
	mounts, err := procfs.ParseMountinfo(b)
	if err != nil {
		return Info{}, err
	}
	for i := range mounts {
		if mounts[i].ID == id {
			return infoOf(&mounts[i]), nil
		}
	}
	return Info{}, errdef.Errorf(errdef.NotFound, "mount %d: not in this mount namespace", id)
}

func infoOf(m *procfs.Mount) Info {
	i := Info{ID: uint64(m.ID), Parent: uint64(m.Parent), Attr: attrs(m.Options)}
	if m.Shared != 0 {
		i.Propagation |= unix.MS_SHARED
	}
	if m.Master != 0 {
		i.Propagation |= unix.MS_SLAVE
	}
	if m.Unbindable {
		i.Propagation |= unix.MS_UNBINDABLE
	}
	if i.Propagation == 0 {
		i.Propagation = unix.MS_PRIVATE
	}
	return i
}

// attrs reads the options of a line of mountinfo. A mount that is neither noatime nor relatime is strictatime.
func attrs(options string) uint64 {
	set, relatime := uint64(0), false
	for o := range strings.SplitSeq(options, ",") {
		switch o {
		case "ro":
			set |= unix.MOUNT_ATTR_RDONLY
		case "nosuid":
			set |= unix.MOUNT_ATTR_NOSUID
		case "nodev":
			set |= unix.MOUNT_ATTR_NODEV
		case "noexec":
			set |= unix.MOUNT_ATTR_NOEXEC
		case "noatime":
			set |= unix.MOUNT_ATTR_NOATIME
		case "nodiratime":
			set |= unix.MOUNT_ATTR_NODIRATIME
		case "nosymfollow":
			set |= unix.MOUNT_ATTR_NOSYMFOLLOW
		case "idmapped":
			set |= unix.MOUNT_ATTR_IDMAP
		case "relatime":
			relatime = true
		}
	}
	if !relatime && set&unix.MOUNT_ATTR_NOATIME == 0 {
		set |= unix.MOUNT_ATTR_STRICTATIME
	}
	return set
}
