package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Bits of the mask of statmount(2): linux/mount.h.
const (
	StatmountSBBasic  = 1
	StatmountMntBasic = 2
)

// Statmount is the fixed beginning of struct statmount of linux/mount.h, as of kernel 6.8.
type Statmount struct {
	Size              uint32
	MntOpts           uint32
	Mask              uint64
	DevMajor          uint32
	DevMinor          uint32
	Magic             uint64
	SBFlags           uint32
	FSType            uint32
	ID, ParentID      uint64 // unique ids
	IDOld, ParentOld  uint32 // those of mountinfo
	Attr              uint64 // MOUNT_ATTR_*
	Propagation       uint64 // MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE
	PeerGroup, Master uint64
	_                 [416]byte
}

// StatMount asks statmount(2) (kernel 6.8) about the mount with a unique id in the mount namespace of this process.
func StatMount(id uint64, mask uint64) (*Statmount, error) {
	req := struct {
		size, _   uint32
		id, param uint64
	}{size: 24, id: id, param: mask} // MNT_ID_REQ_SIZE_VER0
	var st Statmount
	err := Retry(func() error {
		_, _, e := unix.Syscall6(unix.SYS_STATMOUNT, uintptr(unsafe.Pointer(&req)), uintptr(unsafe.Pointer(&st)), unsafe.Sizeof(st), 0, 0, 0)
		if e != 0 {
			return e
		}
		return nil
	})
	return &st, err
}
