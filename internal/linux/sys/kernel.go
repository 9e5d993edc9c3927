package sys

import (
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// A Version is a kernel version, as far as features go.
type Version struct{ Major, Minor int }

// String returns "6.18".
func (v Version) String() string { return strconv.Itoa(v.Major) + "." + strconv.Itoa(v.Minor) }

// AtLeast reports whether v is other or newer.
func (v Version) AtLeast(other Version) bool {
	return v.Major > other.Major || v.Major == other.Major && v.Minor >= other.Minor
}

// KernelVersion returns what uname(2) says, the zero Version if that is not understood. It is a hint for texts: distributions backport,
// and personality(2) with UNAME26 lies. Whether the kernel can do something is asked with package feature.
var KernelVersion = sync.OnceValue(func() Version {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Version{}
	}
	return parseVersion(unix.ByteSliceToString(u.Release[:]))
})

func parseVersion(release string) Version {
	var v Version
	var ok bool
	if v.Major, release, ok = leadingInt(release); !ok || release == "" || release[0] != '.' {
		return Version{}
	}
	if v.Minor, _, ok = leadingInt(release[1:]); !ok {
		return Version{}
	}
	return v
}

func leadingInt(s string) (n int, rest string, ok bool) {
	i := 0
	for i < len(s) && i < 6 && s[i] >= '0' && s[i] <= '9' {
		n = n*10 + int(s[i]-'0')
		i++
	}
	return n, s[i:], i > 0
}

// LastCapability returns the highest capability that the kernel knows, asked with prctl(PR_CAPBSET_READ), which needs no procfs.
var LastCapability = sync.OnceValue(func() int {
	last, unknown := 0, 64 // between the two lies the answer; capabilities are numbered without gaps
	for unknown-last > 1 {
		c := (last + unknown) / 2
		if _, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0); err != nil {
			unknown = c
		} else {
			last = c
		}
	}
	return last
})

// LandlockABI returns the version of the Landlock interface (landlock_create_ruleset(2)), 0 if the kernel has none or it is off.
var LandlockABI = sync.OnceValue(func() int {
	n, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 {
		return 0
	}
	return int(n)
})

// MountID returns the id of the mount that fd is on. unique says that the id is never used again (STATX_MNT_ID_UNIQUE, kernel 6.8);
// else it is the reusable id of mountinfo (STATX_MNT_ID, kernel 5.8). Errors: ENOSYS on older kernels; those of statx(2).
func MountID(fd int) (id uint64, unique bool, err error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID_UNIQUE|unix.STATX_MNT_ID, &st); err != nil {
		return 0, false, err
	}
	switch {
	case st.Mask&unix.STATX_MNT_ID_UNIQUE != 0:
		return st.Mnt_id, true, nil
	case st.Mask&unix.STATX_MNT_ID != 0:
		return st.Mnt_id, false, nil
	}
	return 0, false, unix.ENOSYS
}

// IsMountRoot reports whether fd is the root of a mount (statx(2), STATX_ATTR_MOUNT_ROOT, kernel 5.8; ENOSYS before).
func IsMountRoot(fd int) (bool, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_TYPE, &st); err != nil {
		return false, err
	}
	if st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return false, unix.ENOSYS
	}
	return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// FSType returns the magic number of the file system behind fd (statfs(2)).
func FSType(fd int) (int64, error) {
	var st unix.Statfs_t
	err := Retry(func() error { return unix.Fstatfs(fd, &st) })
	return int64(st.Type), err
}

// Retry calls f until it does not return EINTR.
func Retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// ReadAll reads fd to its end, at most limit bytes; one byte more is EFBIG. It serves files of the kernel, which are short.
func ReadAll(fd, limit int) ([]byte, error) {
	buf := make([]byte, 0, 1024)
	for {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), 4*cap(buf))
			copy(grown, buf)
			buf = grown
		}
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, err
		case n == 0:
			return buf, nil
		}
		buf = buf[:len(buf)+n]
		if len(buf) > limit {
			return nil, unix.EFBIG
		}
	}
}

// ReadFileAt opens name under dirfd for reading, never following a link at its end, and reads at most limit bytes.
func ReadFileAt(dirfd int, name string, limit int) ([]byte, error) {
	fd := -1
	err := Retry(func() (err error) {
		fd, err = unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NOCTTY, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return ReadAll(fd, limit)
}

// WriteFileAt opens name under dirfd for writing, never following a link at its end and never creating it, and writes data with one
// write(2), as the files of procfs and cgroupfs demand. A short write is EIO.
func WriteFileAt(dirfd int, name string, data []byte) error {
	fd := -1
	err := Retry(func() (err error) {
		fd, err = unix.Openat(dirfd, name, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NOCTTY, 0)
		return err
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	n := 0
	err = Retry(func() (err error) { n, err = unix.Write(fd, data); return err })
	if err == nil && n < len(data) {
		return unix.EIO
	}
	return err
}
