package main

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// scheduling prints what x/sys has no safe wrapper for.
func scheduling() {
	if attr, err := unix.SchedGetAttr(0, 0); err == nil {
		fmt.Println("sched", attr.Policy, attr.Nice, attr.Priority, attr.Flags)
	}
	const who = 1 // IOPRIO_WHO_PROCESS
	io, _, _ := unix.Syscall(unix.SYS_IOPRIO_GET, who, 0, 0)
	fmt.Println("ioprio", io>>13, io&7)
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) == nil {
		var cpus []int
		for cpu := range 64 {
			if set.IsSet(cpu) {
				cpus = append(cpus, cpu)
			}
		}
		fmt.Println("cpus", cpus)
	}
	var mode int32
	var nodes [16]uint64 // 1024 bits
	_, _, errno := unix.Syscall6(unix.SYS_GET_MEMPOLICY, uintptr(unsafe.Pointer(&mode)), uintptr(unsafe.Pointer(&nodes)), 1024, 0, 0, 0)
	if errno == 0 {
		fmt.Println("mempolicy", mode, nodes[0])
	}
	persona, _, _ := unix.Syscall(unix.SYS_PERSONALITY, 0xffffffff, 0, 0)
	fmt.Println("personality", persona)
}
