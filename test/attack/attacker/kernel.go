package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// refused are the answers of a filter. Callers give bogus arguments and hold all capabilities, so that a call that the filter
// lets through says something else.
func refused(err error) bool { return errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) }

// nested tries what a container without privileges would need for most kernel exploits: a user namespace and a mount in it.
func nested([]string) {
	if err := unix.Unshare(unix.CLONE_NEWUSER | unix.CLONE_NEWNS); err == nil {
		hit("unshare of user and mount namespaces")
	} else {
		say("unshare: %v", err)
	}
	for _, kind := range []string{"tmpfs", "cgroup", "cgroup2", "proc", "overlay"} {
		if err := unix.Mount("none", "/tmp", kind, 0, ""); err == nil {
			hit("mount of %s", kind)
			_ = unix.Unmount("/tmp", unix.MNT_DETACH)
		} else {
			say("mount %s: %v", kind, err)
		}
	}
	if fd, err := unix.Fsopen("tmpfs", 0); err == nil {
		hit("fsopen")
		_ = unix.Close(fd)
	}
}

// keyring looks for a key of the caller (args[0] is its description) from the session keyring.
func keyring(args []string) {
	id, err := unix.KeyctlSearch(unix.KEY_SPEC_SESSION_KEYRING, "user", args[0], 0)
	if err != nil {
		say("search: %v", err)
		return
	}
	buf := make([]byte, 64)
	n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, id, buf, 0)
	if err != nil {
		say("read: %v", err)
		return
	}
	hit("key of the caller: %q", buf[:min(n, len(buf))])
}

// abstractSocket connects to a listener of the host (args[0] is its abstract name), as CVE-2020-15257 did.
func abstractSocket(args []string) {
	c, err := net.Dial("unix", "@"+args[0])
	if err != nil {
		say("connect: %v", err)
		return
	}
	hit("connected to the host's abstract socket")
	_ = c.Close()
}

// sharedMemory attaches to a System V segment of the host (args[0] is its key).
func sharedMemory(args []string) {
	key, err := strconv.Atoi(args[0])
	if err != nil {
		say("%v", err)
		return
	}
	if id, err := unix.SysvShmGet(key, 0, 0); err == nil {
		hit("the host's shared memory segment %d", id)
	} else {
		say("shmget: %v", err)
	}
}

// limits tries to lift what the configuration set. args[0] is the declared hard limit of open files, args[1] the oom score.
func limits(args []string) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		say("getrlimit: %v", err)
		return
	}
	say("nofile %d %d", l.Cur, l.Max)
	if strconv.FormatUint(l.Max, 10) != args[0] {
		hit("hard limit of open files is %d, declared %s", l.Max, args[0])
	}
	l.Cur, l.Max = l.Max+1, l.Max+1
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err == nil {
		hit("raised the hard limit of open files")
	}
	score, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		say("oom_score_adj: %v", err)
		return
	}
	if strings.TrimSpace(string(score)) != args[1] {
		hit("oom_score_adj is %s, declared %s", strings.TrimSpace(string(score)), args[1])
	}
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0); err == nil {
		hit("lowered oom_score_adj")
	}
}

// identity says who this process is, and takes every capability set and group as a possible gain.
func identity([]string) {
	groups, _ := os.Getgroups()
	say("uid %d euid %d gid %d egid %d groups %v", os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid(), groups)
	for _, f := range []string{"CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"} {
		v, _ := capabilitySet("/proc/self/status", f)
		say("%s %016x", f, v)
	}
}

// controllingTerminal opens /dev/tty, which only works for a process that has one.
func controllingTerminal([]string) {
	if fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC, 0); err == nil {
		hit("the caller's terminal is the container's controlling terminal")
		_ = unix.Close(fd)
	} else {
		say("open /dev/tty: %v", err)
	}
}

// spawn starts args[0] processes that stay, and says how many it got before it exceeds args[1].
func spawn(args []string) {
	want, err1 := strconv.Atoi(args[0])
	limit, err2 := strconv.Atoi(args[1])
	if err1 != nil || err2 != nil {
		say("%v %v", err1, err2)
		return
	}
	got := 0
	for range want {
		if err := exec.Command("/bin/sleep", "1000").Start(); err != nil {
			say("after %d processes: %v", got, err)
			break
		}
		got++
	}
	if got > limit {
		hit("%d processes, the limit is %d", got, limit)
	}
	say("done")
	time.Sleep(time.Hour) // until it is killed: with nothing to wait for the Go runtime would end it, as a deadlock
}
