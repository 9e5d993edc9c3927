package forkexec

import (
	"bytes"
	"syscall"
	"unsafe"
)

// machine is the interpreter; it is never called from Go.
func machine()

// machineText returns the address of the machine in the text segment, which is longer than what is read here.
func machineText() *[1024]byte

//go:noescape
func rawClone(args *cloneArgs, size uintptr, header uintptr, masks *[2]uint64) (r uintptr)

// machineEnd marks the end of the machine's code; the same bytes stand in machine_*.s.
var machineEnd = []byte("BULKEND!")

// machineCode returns the bytes of the machine, as they stand in the text segment.
func machineCode() []byte {
	text := machineText()[:]
	n := bytes.Index(text, machineEnd)
	if n < 0 {
		panic("forkexec: the machine's end mark is missing")
	}
	return text[:n]
}

// addressOf returns where a block of the heap stands; Go's heap does not move, and the caller keeps the block alive.
func addressOf(block []byte) uintptr { return uintptr(unsafe.Pointer(&block[0])) }

// cloneArgs is struct clone_args of linux/sched.h, version 2 (kernel 5.7).
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// clone makes the child, which runs the machine on header. It returns the pid and a pidfd.
func clone(flags uint64, cgroup int, header uintptr, stack []byte) (pid, pidfd int, errno syscall.Errno) {
	var fd int32
	args := cloneArgs{flags: flags, pidfd: uint64(uintptr(unsafe.Pointer(&fd))), exitSignal: 17, stack: uint64(addressOf(stack)), stackSize: uint64(len(stack))}
	size := unsafe.Sizeof(args)
	if cgroup >= 0 {
		args.flags |= cloneIntoCgroup
		args.cgroup = uint64(cgroup)
	} else {
		size -= 8 // version 1, kernel 5.5
	}
	masks := [2]uint64{^uint64(0), 0}
	r := rawClone(&args, size, header, &masks)
	if r > ^uintptr(4095) {
		return 0, -1, syscall.Errno(-r)
	}
	return int(r), int(fd), 0
}
