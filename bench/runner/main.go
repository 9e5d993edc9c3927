//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command runner forks the commands that the benchmark measures, and does nothing else.
//
// It is a program of its own for the sake of the figures: at execve the kernel carries the high-water mark of the forking
// process's memory into ru_maxrss of the new program (exec_mmap in fs/exec.c), so whoever forks must be small; and a collector
// or a timer of a larger program would run beside the command.
//
// Requests come on descriptor 0, one a line: an operation and arguments, separated by tabs. Answers go to descriptor 1.
//
//	run CMDS     one or more commands, separated by the argument "--", as one measurement: each is forked, execve'd and waited
//	             for; the command "--orphan" waits until a process that an earlier one left behind has ended. All orphans
//	             are reaped at the end. The answer is "status wall user+sys maxrss" (nanoseconds, nanoseconds, KiB)
//	v2           enter a mount namespace of one's own whose /sys/fs/cgroup is a cgroup2 tree and nothing else
//
// The clock (CLOCK_MONOTONIC) starts right before clone(CLONE_VM|CLONE_VFORK) and stops when wait4 has returned; what it
// includes beyond the command is one pipe, vfork and dup of three descriptors in syscall.ForkExec, about 50 microseconds, the
// same for every command. The runner is a subreaper (PR_SET_CHILD_SUBREAPER): a container whose runtime has returned becomes its
// child, and its time is added when it is reaped. Work of kernel threads after the end (teardown of a network namespace) is in no figure.
package main

import (
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const prSetChildSubreaper = 36 // linux/prctl.h

type usage struct {
	cpu    int64 // nanoseconds
	maxrss int64 // KiB
	status int
}

func (u *usage) add(ru *syscall.Rusage) {
	u.cpu += ru.Utime.Nano() + ru.Stime.Nano()
	u.maxrss = max(u.maxrss, ru.Maxrss)
}

func main() {
	debug.SetGCPercent(-1) // never beside a command
	runtime.LockOSThread() // the mount namespace of "v2" belongs to a thread
	if _, _, e := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); e != 0 {
		die("prctl PR_SET_CHILD_SUBREAPER: " + e.Error())
	}
	null, err := syscall.Open("/dev/null", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		die("open /dev/null: " + err.Error())
	}
	attr := &syscall.ProcAttr{Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, Files: []uintptr{uintptr(null), uintptr(null), 2}}
	for range 64 {
		line := readLine()
		if line == "" {
			return
		}
		f := strings.Split(line, "\t")
		switch f[0] {
		case "v2":
			reply(enterUnified())
		case "run":
			reply(measure(attr, f[1:]))
		default:
			die("unknown request " + f[0])
		}
	}
	// A fresh start is a small heap again. Namespaces, the subreaper's duty and its children outlive execve.
	die("execve: " + syscall.Exec("/proc/self/exe", []string{"runner"}, attr.Env).Error())
}

// measure runs the commands of words and formats their sum.
func measure(attr *syscall.ProcAttr, words []string) string {
	var u usage
	start := time.Now()
	for len(words) > 0 && u.status == 0 {
		n := 0
		for n < len(words) && words[n] != "--" {
			n++
		}
		if words[0] == "--orphan" {
			u.reap(false)
		} else if err := u.run(attr, words[:n]); err != nil {
			return "error " + err.Error()
		}
		words = words[min(n+1, len(words)):]
	}
	wall := time.Since(start)
	for u.reap(true) {
	}
	return strings.Join([]string{
		strconv.Itoa(u.status), strconv.FormatInt(wall.Nanoseconds(), 10), strconv.FormatInt(u.cpu, 10),
		strconv.FormatInt(u.maxrss, 10),
	}, " ")
}

func (u *usage) run(attr *syscall.ProcAttr, argv []string) error {
	pid, err := syscall.ForkExec(argv[0], argv, attr)
	if err != nil {
		return err
	}
	var ws syscall.WaitStatus
	var ru syscall.Rusage
	for {
		if _, err := syscall.Wait4(pid, &ws, 0, &ru); err != syscall.EINTR {
			break
		}
	}
	u.add(&ru)
	if ws.Exited() {
		u.status = ws.ExitStatus()
	} else {
		u.status = 128 + int(ws.Signal())
	}
	return nil
}

// reap collects one orphan; with now it does not wait for one that still runs (a container kept for exec). It says whether
// there was one.
func (u *usage) reap(now bool) bool {
	var ru syscall.Rusage
	options := 0
	if now {
		options = syscall.WNOHANG
	}
	pid, err := syscall.Wait4(-1, nil, options, &ru)
	if err != nil || pid <= 0 {
		return false
	}
	u.cpu += ru.Utime.Nano() + ru.Stime.Nano()
	return true
}

// enterUnified leaves the host's mount namespace for one that shows a cgroup v2 tree as the only cgroup file system.
func enterUnified() string {
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		return "error unshare: " + err.Error()
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return "error make mounts private: " + err.Error()
	}
	if err := syscall.Unmount("/sys/fs/cgroup", syscall.MNT_DETACH); err != nil {
		return "error unmount /sys/fs/cgroup: " + err.Error()
	}
	if err := syscall.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, ""); err != nil {
		return "error mount cgroup2: " + err.Error()
	}
	return "ok"
}

func readLine() string {
	var line []byte
	var b [512]byte
	for {
		n, err := syscall.Read(0, b[:])
		if n <= 0 || err != nil {
			return ""
		}
		line = append(line, b[:n]...)
		if line[len(line)-1] == '\n' {
			return string(line[:len(line)-1])
		}
	}
}

func reply(s string) {
	if _, err := syscall.Write(1, []byte(s+"\n")); err != nil {
		syscall.Exit(1)
	}
}

func die(s string) {
	_, _ = syscall.Write(2, []byte("runner: "+s+"\n"))
	syscall.Exit(1)
}
