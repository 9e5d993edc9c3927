package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// report prints what the process is. The same is asked from outside where that is possible.
func report() {
	groups, _ := os.Getgroups()
	fmt.Println("uid", os.Getuid(), os.Geteuid())
	fmt.Println("gid", os.Getgid(), os.Getegid())
	fmt.Println("groups", groups)
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		fmt.Println("status."+name, strings.TrimSpace(value))
	}
	cwd, err := os.Getwd()
	fmt.Println("cwd", cwd, outcome(err))
	fmt.Printf("args %q\n", os.Args)
	for _, e := range os.Environ() {
		name, value, _ := strings.Cut(e, "=")
		fmt.Println("env."+name, value)
	}
	var uts unix.Utsname
	_ = unix.Uname(&uts)
	fmt.Println("hostname", unix.ByteSliceToString(uts.Nodename[:]))
	fmt.Println("domainname", unix.ByteSliceToString(uts.Domainname[:]))
	fmt.Println("machine", unix.ByteSliceToString(uts.Machine[:]))
	scheduling()
	clocks()
	if ws, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
		fmt.Println("winsize", ws.Row, ws.Col)
	}
	for _, ns := range strings.Fields("cgroup ipc mnt net pid time user uts") {
		link, err := os.Readlink("/proc/self/ns/" + ns)
		fmt.Println("ns."+ns, link, outcome(err))
	}
}

func clocks() {
	for name, id := range map[string]int32{"monotonic": unix.CLOCK_MONOTONIC, "boottime": unix.CLOCK_BOOTTIME} {
		var ts unix.Timespec
		_ = unix.ClockGettime(id, &ts)
		fmt.Println("clock."+name, time.Duration(ts.Nano()).Milliseconds())
	}
}

// execute runs a program; that it cannot be run is the error.
func execute(path string) error {
	cmd := exec.Command(path)
	cmd.Args = []string{"true"}
	return cmd.Run()
}
