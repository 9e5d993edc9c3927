package lsm

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// execMemfd executes a copy of a program, as busybox echo.
func execMemfd(program string) error {
	data, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	w, err := unix.MemfdCreate("copy", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	if _, err := unix.Write(w, data); err != nil {
		return err
	}
	path := fmt.Sprintf("/proc/self/fd/%d", w)
	r, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	_ = unix.Close(w) // a file that somebody may write is not executed
	return unix.Exec(fmt.Sprintf("/proc/self/fd/%d", r), []string{"busybox", "echo", "executed"}, nil)
}

// inside is this program inside a container: what a shell cannot do. It prints "done", or the error.
func inside(args []string) int {
	if err := tryInside(args); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("done")
	return 0
}

func tryInside(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: inside WHAT ARGUMENT")
	}
	n, _ := strconv.Atoi(args[1])
	switch args[0] {
	case "keyring", "keyring-of", "label", "terminal":
		return insideSELinux(args[0], args[1])
	case "signal":
		return unix.Kill(n, 0)
	case "trace":
		return unix.PtraceSeize(n) // and let go of by ending
	case "detached": // open a file of a procfs that is mounted nowhere, for writing
		fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
		if err != nil {
			return err
		}
		if err := unix.FsconfigCreate(fs); err != nil {
			return err
		}
		dir, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
		if err != nil {
			return err
		}
		_, err = unix.Openat(dir, args[1], unix.O_WRONLY, 0)
		return err
	case "memfd": // execute a program that no directory has
		return execMemfd(args[1])
	case "abstract": // connect to an abstract unix socket
		c, err := net.DialTimeout("unix", "@"+args[1], 30*time.Second)
		if err == nil {
			err = c.Close()
		}
		return err
	case "mptcp", "sctp", "smc": // make such a socket and bind it to a port, if the kernel knows it
		kind := map[string][3]int{"mptcp": {unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}, "sctp": {unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP}, "smc": {43, unix.SOCK_STREAM, 0}}[args[0]]
		fd, err := unix.Socket(kind[0], kind[1], kind[2])
		if err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrInet4{Port: n})
	case "bind":
		l, err := net.Listen("tcp", "127.0.0.1:"+args[1])
		if err == nil {
			err = l.Close()
		}
		return err
	case "connect": // refused by nobody listening is as good as connected
		c, err := net.DialTimeout("tcp", "127.0.0.1:"+args[1], 30*time.Second)
		if err == nil {
			return c.Close()
		}
		if opErr, ok := err.(*net.OpError); ok {
			if sysErr, ok := opErr.Err.(*os.SyscallError); ok && sysErr.Err == unix.ECONNREFUSED {
				return nil
			}
		}
		return err
	}
	return fmt.Errorf("inside %s: no such thing", args[0])
}
