package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// entry32 makes a system call without arguments by the entry of 32-bit programs; -errno is an error.
func entry32(nr uintptr) int32

func int80(nr uintptr) string {
	r := entry32(nr)
	if r < 0 && r > -4096 {
		return unix.ErrnoName(unix.Errno(-r))
	}
	return fmt.Sprint(r)
}
