package cgroup

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// programName marks the device programs that are ours, among those of systemd or an outer runtime.
const programName = "bulkhead_dev"

// Attributes of bpf(2), the parts of union bpf_attr (include/uapi/linux/bpf.h) that are used here.
type (
	attrLoad struct {
		progType, insnCount        uint32
		insns, license             uint64
		logLevel, logSize          uint32
		logBuf                     uint64
		kernVersion, progFlags     uint32
		name                       [16]byte
		ifindex, expectedAttachTyp uint32
	}
	attrAttach struct{ target, program, attachType, flags, replace uint32 }
	attrQuery  struct {
		target, attachType, queryFlags, attachFlags uint32
		ids                                         uint64
		count, _                                    uint32
	}
	attrByID struct{ id, next, flags uint32 }
	attrInfo struct {
		fd, infoLen uint32
		info        uint64
	}
	// progInfo is struct bpf_prog_info up to the name.
	progInfo struct {
		kind, id         uint32
		tag              [8]byte
		jitedLen, xlated uint32
		jited, insns     uint64
		loadTime         uint64
		uid, mapCount    uint32
		maps             uint64
		name             [16]byte
	}
)

func bpf(cmd int, attr unsafe.Pointer, size uintptr) (int, error) {
	for {
		r, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(attr), size)
		switch errno {
		case 0:
			return int(r), nil
		case unix.EINTR, unix.EAGAIN: // the verifier gives up at a pending signal: bpf_prog_load in libbpf tries again, too
			continue
		}
		return -1, errno
	}
}

// loadProgram loads a device program and returns its descriptor, which is close-on-exec.
func loadProgram(p []insn) (int, error) {
	code := encode(p)
	license := []byte("Apache-2.0\x00") // no helper is called, so that it need not be one that the kernel takes for GPL
	attr := attrLoad{
		progType: unix.BPF_PROG_TYPE_CGROUP_DEVICE, insnCount: uint32(len(p)),
		insns: uint64(uintptr(unsafe.Pointer(&code[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0]))),
	}
	copy(attr.name[:], programName)
	fd, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	return fd, err
}

// attachProgram attaches the program to the cgroup beside those that are there: all have to allow. With replace, that program's place is
// taken in one step, so that there is no moment without a filter and none with both (Linux 5.6).
func attachProgram(cgroup, program, replace int) error {
	attr := attrAttach{target: uint32(cgroup), program: uint32(program), attachType: unix.BPF_CGROUP_DEVICE, flags: unix.BPF_F_ALLOW_MULTI}
	if replace >= 0 {
		attr.flags |= unix.BPF_F_REPLACE
		attr.replace = uint32(replace)
	}
	_, err := bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

func detachProgram(cgroup, program int) error {
	attr := attrAttach{target: uint32(cgroup), program: uint32(program), attachType: unix.BPF_CGROUP_DEVICE}
	_, err := bpf(unix.BPF_PROG_DETACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

// ownPrograms returns descriptors of the programs of ours that are attached to the cgroup itself (not to those above it).
func ownPrograms(cgroup int) ([]int, error) {
	ids := make([]uint32, 64) // BPF_CGROUP_MAX_PROGS
	query := attrQuery{target: uint32(cgroup), attachType: unix.BPF_CGROUP_DEVICE, ids: uint64(uintptr(unsafe.Pointer(&ids[0]))), count: uint32(len(ids))}
	if _, err := bpf(unix.BPF_PROG_QUERY, unsafe.Pointer(&query), unsafe.Sizeof(query)); err != nil {
		return nil, err
	}
	var out []int
	for _, id := range ids[:min(int(query.count), len(ids))] {
		attr := attrByID{id: id}
		fd, err := bpf(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
		if err != nil {
			if errors.Is(err, unix.ENOENT) {
				continue
			}
			closeAll(out)
			return nil, err
		}
		if name, err := nameOfProgram(fd); err != nil || name != programName {
			unix.Close(fd)
			continue
		}
		out = append(out, fd)
	}
	runtime.KeepAlive(ids)
	return out, nil
}

func nameOfProgram(fd int) (string, error) {
	var info progInfo
	attr := attrInfo{fd: uint32(fd), infoLen: uint32(unsafe.Sizeof(info)), info: uint64(uintptr(unsafe.Pointer(&info)))}
	if _, err := bpf(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
		return "", err
	}
	return unix.ByteSliceToString(info.name[:]), nil
}

// setFilter puts the filter on a v2 cgroup, in place of an earlier one of ours.
func setFilter(cgroup int, f *filter) error {
	program, err := loadProgram(f.program())
	if err != nil {
		return errdef.Errorf(errdef.Unsupported, "linux.resources.devices: device program (BPF_PROG_TYPE_CGROUP_DEVICE, Linux 4.15): load: %w", err)
	}
	defer unix.Close(program)
	old, err := ownPrograms(cgroup)
	if err != nil {
		return errdef.Errorf(kindOf(err), "linux.resources.devices: device programs of the cgroup: %w", err)
	}
	defer closeAll(old)
	replace := -1
	if len(old) > 0 {
		replace = old[0]
	}
	err = attachProgram(cgroup, program, replace)
	if errors.Is(err, unix.EINVAL) && replace >= 0 { // before Linux 5.6: both for a moment, which is the stricter way round
		if err = attachProgram(cgroup, program, -1); err == nil {
			err = detachProgram(cgroup, replace)
		}
	}
	if err != nil {
		return errdef.Errorf(kindOf(err), "linux.resources.devices: device program: attach: %w", err)
	}
	for _, fd := range old[min(1, len(old)):] {
		if err := detachProgram(cgroup, fd); err != nil {
			return errdef.Errorf(kindOf(err), "linux.resources.devices: device program: detach an earlier one: %w", err)
		}
	}
	return nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
