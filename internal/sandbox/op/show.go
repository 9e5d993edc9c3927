package op

import (
	"encoding/binary"
	"strconv"
	"syscall"

	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// Show says how an argument is printed. Text is only made when somebody reads it: starting a container prints nothing.
type Show uint8

// The forms.
const (
	Decimal   Show = iota
	Hex            // 0x1f
	Errno          // ENOENT
	Octal          // 0755
	FileMode       // S_IFCHR|0666
	Device         // 1:3
	CloneSet       // CLONE_NEWPID|CLONE_NEWNET
	OpenSet        // O_PATH|O_CLOEXEC
	TreeSet        // OPEN_TREE_CLONE|AT_RECURSIVE
	AttrSet        // MOUNT_ATTR_RDONLY
	MountSet       // MS_SLAVE|MS_REC
	OpenHow        // bytes of struct open_how
	MountAttr      // bytes of struct mount_attr
)

func showNumber(show Show, n uint64) string {
	switch show {
	case Hex:
		return "0x" + strconv.FormatUint(n, 16)
	case Errno:
		return ErrnoText(syscall.Errno(n))
	case Octal:
		return "0" + strconv.FormatUint(n, 8)
	case FileMode:
		return fileType(n) + "0" + strconv.FormatUint(n&^unix.S_IFMT, 8)
	case Device:
		return strconv.Itoa(int(unix.Major(n))) + ":" + strconv.Itoa(int(unix.Minor(n)))
	case CloneSet:
		return sys.CloneFlagString(n)
	case OpenSet:
		return sys.OpenFlagString(n)
	case TreeSet:
		return sys.AtFlagString(n)
	case AttrSet:
		return sys.MountAttrString(n)
	case MountSet:
		return sys.MountFlagString(n)
	}
	if int64(n) < 0 {
		return strconv.FormatInt(int64(n), 10)
	}
	return strconv.FormatUint(n, 10)
}

func fileType(mode uint64) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFCHR:
		return "S_IFCHR|"
	case unix.S_IFBLK:
		return "S_IFBLK|"
	case unix.S_IFIFO:
		return "S_IFIFO|"
	case unix.S_IFREG:
		return "S_IFREG|"
	}
	return ""
}

// showBytes prints a structure; "" when its form is not known.
func showBytes(show Show, b string) string {
	word := func(i int) uint64 { return binary.LittleEndian.Uint64([]byte(b[8*i : 8*i+8])) }
	switch {
	case show == OpenHow && len(b) == 24:
		return "{" + sys.OpenFlagString(word(0)) + ", " + sys.ResolveString(word(2)) + "}"
	case show == MountAttr && len(b) == 32:
		text := "{set " + sys.MountAttrString(word(0)) + ", clear " + sys.MountAttrString(word(1))
		if word(2) != 0 {
			text += ", propagation " + sys.MountFlagString(word(2))
		}
		return text + "}"
	}
	return ""
}

func shown[T ~uint64 | ~uint32 | ~int](n T, show Show) Arg {
	return Arg{Kind: Imm, Num: uint64(n), Show: show}
}

// CloneText returns CLONE_* flags by name.
func CloneText(flags uint64) string { return sys.CloneFlagString(flags) }
