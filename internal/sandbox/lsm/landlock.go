package lsm

import (
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// LandlockABI returns the version of the Landlock interface (landlock(7)), 0 if the kernel has none or it is turned off.
func LandlockABI() int { return sys.LandlockABI() }

// Rights are what a ruleset may handle: the fields of struct landlock_ruleset_attr.
type Rights struct{ FS, Net, Scoped uint64 }

// LandlockRights returns all rights that an ABI version knows; a newer version than 6 has the rights of 6 here.
func LandlockRights(abi int) Rights {
	var r Rights
	if abi >= 1 { // kernel 5.13
		r.FS = unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1
	}
	if abi >= 2 { // 5.19
		r.FS |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 { // 6.2
		r.FS |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 4 { // 6.7
		r.Net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if abi >= 5 { // 6.10
		r.FS |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 6 { // 6.12
		r.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	return r
}
