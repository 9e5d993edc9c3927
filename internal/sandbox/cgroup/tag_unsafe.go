package cgroup

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// compareProgram says in what the device programs of a v2 cgroup differ from the one of the filter, "" in nothing. The kernel gives each program a tag, a digest
// of its instructions: the one that ought to be there is loaded, and not attached, to be compared.
func compareProgram(cgroup int, f *filter) (differs string, err error) {
	own, err := ownPrograms(cgroup)
	if err != nil {
		return "", err
	}
	defer closeAll(own)
	if len(own) == 0 {
		return "no program is attached", nil
	}
	fd, err := loadProgram(f.program())
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	want, err := tagOf(fd)
	if err != nil {
		return "", err
	}
	for _, p := range own {
		if have, err := tagOf(p); err == nil && have == want {
			return "", nil
		}
	}
	return "the program of other rules", nil
}

func tagOf(fd int) ([8]byte, error) {
	var info progInfo
	attr := attrInfo{fd: uint32(fd), infoLen: uint32(unsafe.Sizeof(info)), info: uint64(uintptr(unsafe.Pointer(&info)))}
	_, err := bpf(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return info.tag, err
}
