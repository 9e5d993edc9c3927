package cgroup

import (
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// swap is swapon(2) or swapoff(2).
func swap(call uintptr, path string) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(call, uintptr(unsafe.Pointer(p)), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// programsOf lists the device programs on a cgroup that bear our name (bpf(2), BPF_PROG_QUERY and BPF_OBJ_GET_INFO_BY_FD).
func programsOf(t *testing.T, dir string) (ids []uint32) {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list := make([]uint32, 64)
	query := struct {
		target, attach, flags, attachFlags uint32
		ids                                uint64
		count, _                           uint32
	}{target: uint32(f.Fd()), attach: unix.BPF_CGROUP_DEVICE, ids: uint64(uintptr(unsafe.Pointer(&list[0]))), count: uint32(len(list))}
	call := func(cmd, attr, size uintptr) uintptr {
		r, _, errno := unix.Syscall(unix.SYS_BPF, cmd, attr, size)
		if errno != 0 {
			t.Fatalf("bpf %d: %v", cmd, errno)
		}
		return r
	}
	call(unix.BPF_PROG_QUERY, uintptr(unsafe.Pointer(&query)), unsafe.Sizeof(query))
	for _, id := range list[:query.count] {
		byID := struct{ id, next, flags uint32 }{id: id}
		fd := call(unix.BPF_PROG_GET_FD_BY_ID, uintptr(unsafe.Pointer(&byID)), unsafe.Sizeof(byID))
		info := make([]byte, 80) // struct bpf_prog_info up to the end of the name, at 64
		get := struct {
			fd, size uint32
			info     uint64
		}{uint32(fd), uint32(len(info)), uint64(uintptr(unsafe.Pointer(&info[0])))}
		call(unix.BPF_OBJ_GET_INFO_BY_FD, uintptr(unsafe.Pointer(&get)), unsafe.Sizeof(get))
		unix.Close(int(fd))
		if unix.ByteSliceToString(info[64:]) == "bulkhead_dev" {
			ids = append(ids, id)
		}
	}
	return ids
}
