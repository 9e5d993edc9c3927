package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Project quotas (quotactl_fd(2), since 5.14; ioctl_xfs_fsgetxattr(2)): a directory and all that is made in it count as a project, whose space and number of files have limits. xfs
// has them with the mount option pquota, ext4 with the feature project and prjquota.

const (
	fsGetXattr     = 0x801c581f // FS_IOC_FSGETXATTR, linux/fs.h
	fsSetXattr     = 0x401c5820
	projectInherit = 0x200

	projectType = 2 // PRJQUOTA
	getQuota    = 'X'<<8 + 3
	setLimits   = 'X'<<8 + 4
	getState    = 'X'<<8 + 5

	accounted = 1 << 4 // FS_QUOTA_PDQ_ACCT, linux/dqblk_xfs.h
	enforced  = 1 << 5

	quotaBlock = 512 // bytes
)

type fsxattr struct {
	flags, extentSize, extents, project, cowExtentSize uint32
	_                                                  [8]byte
}

// diskQuota is struct fs_disk_quota.
type diskQuota struct {
	version, kind                            int8
	fields                                   uint16
	id                                       uint32
	blocksHard, blocksSoft, inodesHard, soft uint64
	blocks, inodes                           uint64
	_                                        [8]byte // times
	_                                        [8]byte // warnings, and the high bits of times
	_                                        [24]byte
	_                                        [16]byte
}

// quotaState is struct fs_quota_stat.
type quotaState struct {
	version int8
	flags   uint16
	_       [76]byte
}

func quotactl(fd int, cmd uint32, id uint32, arg unsafe.Pointer) error {
	_, _, e := unix.Syscall6(unix.SYS_QUOTACTL_FD, uintptr(fd), uintptr(cmd<<8|projectType), uintptr(id), uintptr(arg), 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// ProjectQuotas reports whether the file system of an open directory counts projects and holds them to their limits.
func ProjectQuotas(fd int) bool {
	s := quotaState{version: 1}
	return quotactl(fd, getState, 0, unsafe.Pointer(&s)) == nil && s.flags&(accounted|enforced) == accounted|enforced
}

// ProjectUsed returns how many bytes and files a project has, and its limits; all 0 for one that nobody has.
func ProjectUsed(fd int, id uint32) (bytes, files, maxBytes, maxFiles uint64, err error) {
	q := diskQuota{version: 1}
	switch err := quotactl(fd, getQuota, id, unsafe.Pointer(&q)); err {
	case nil, unix.ENOENT, unix.ESRCH:
		return q.blocks * quotaBlock, q.inodes, q.blocksHard * quotaBlock, q.inodesHard, nil
	default:
		return 0, 0, 0, 0, err
	}
}

// LimitProject bounds a project; 0 is no limit.
func LimitProject(fd int, id uint32, bytes, files uint64) error {
	blocks := (bytes + quotaBlock - 1) / quotaBlock
	q := diskQuota{version: 1, kind: projectType, fields: 0xf, id: id, blocksHard: blocks, blocksSoft: blocks, inodesHard: files, soft: files}
	return quotactl(fd, setLimits, id, unsafe.Pointer(&q))
}

// SetProject makes an open directory, and what will be made in it, part of a project.
func SetProject(fd int, id uint32) error {
	var x fsxattr
	if err := ioctl(fd, fsGetXattr, unsafe.Pointer(&x)); err != nil {
		return err
	}
	x.project, x.flags = id, x.flags|projectInherit
	return ioctl(fd, fsSetXattr, unsafe.Pointer(&x))
}

func ioctl(fd int, request uint, arg unsafe.Pointer) error {
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg))
	if e != 0 {
		return e
	}
	return nil
}
