package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// killKeyctl loads a filter into all threads of the process under which keyctl kills it, or only the calling thread.
func killKeyctl(thread bool) {
	kill := uint32(0x80000000) // SECCOMP_RET_KILL_PROCESS
	if thread {
		kill = 0 // SECCOMP_RET_KILL_THREAD
	}
	const tsync = 1 // SECCOMP_FILTER_FLAG_TSYNC
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: unix.SYS_KEYCTL},
		{Code: unix.BPF_RET | unix.BPF_K, K: kill},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000}, // SECCOMP_RET_ALLOW
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, 1, tsync, uintptr(unsafe.Pointer(&fprog))); errno != 0 {
		panic(errno)
	}
}
