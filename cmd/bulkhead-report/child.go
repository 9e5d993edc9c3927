package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// childArg is the first argument of the child that makes the calls. A filter may kill whoever makes a denied call, and the report is to
// go on then.
const childArg = "--bulkhead-report-probes"

// self is this program, whatever the container calls it.
const self = "/proc/self/exe"

// runProbes makes the calls in a child process, one after the other; where the child dies of one, a new child goes on behind it. Where
// no child can be started the calls are made here.
func runProbes(list []probe) []item {
	var items []item
	for len(items) < len(list) {
		got, err := childProbes(list[len(items):], len(items))
		items = append(items, got...)
		if len(items) == len(list) {
			break
		}
		var exit *exec.ExitError
		switch p := list[len(items)]; {
		case !errors.As(err, &exit): // not started, or its output was cut
			items = append(items, p.result())
		default:
			items = append(items, item{p.name, "the caller is killed: " + exit.String(), holds})
		}
	}
	return items
}

// childProbes runs a child from the given probe on and returns the items that it printed before it ended.
func childProbes(list []probe, from int) ([]item, error) {
	cmd := exec.Command(self, childArg, strconv.Itoa(from))
	out, err := cmd.Output()
	var items []item
	for _, line := range strings.Split(string(out), "\n") {
		f := strings.SplitN(line, "\t", 3)
		if len(f) != 3 || len(items) == len(list) || f[0] != list[len(items)].name {
			break
		}
		items = append(items, item{f[0], f[2], f[1]})
	}
	return items, err
}

// probeChild is the child: it prints a line per probe, from the one whose number is its argument; without one it does nothing.
func probeChild(args []string, stdout io.Writer) int {
	if len(args) == 0 {
		return 0
	}
	list := probes()
	from, err := strconv.Atoi(args[0])
	if err != nil || from < 0 || from > len(list) {
		return 2
	}
	out := bufio.NewWriter(stdout)
	for _, p := range list[from:] {
		i := p.result()
		fmt.Fprintf(out, "%s\t%s\t%s\n", i.Name, i.Verdict, i.Value)
		if out.Flush() != nil {
			return 1
		}
	}
	return 0
}

// answerTime is how long a call may take. None of them waits for anything.
const answerTime = 10 * time.Second

// result makes the call on a thread of its own and judges what came back. A filter may kill the calling thread alone
// (SECCOMP_RET_KILL_THREAD, what runtimes do with foreign calls); then the thread is gone and no answer comes.
func (p probe) result() item {
	var tid atomic.Int64
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		tid.Store(int64(unix.Gettid()))
		done <- p.call()
	}()
	var err error
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(answerTime)
wait:
	for {
		select {
		case err = <-done:
			break wait
		case <-timeout:
			return item{p.name, "no answer", fact}
		case <-tick.C:
			if id := tid.Load(); id != 0 && dead(id) && len(done) == 0 {
				return item{p.name, "the calling thread is killed", holds}
			}
		}
	}
	var errno syscall.Errno
	switch {
	case err == nil:
		return item{p.name, "succeeded", open}
	case !errors.As(err, &errno):
		return item{p.name, err.Error(), fact}
	case slices.Contains(p.reached, errno):
		return item{p.name, "let through (" + errnoName(errno) + " for its arguments)", open}
	default:
		return item{p.name, errnoName(errno), holds}
	}
}

// dead reports whether a thread of this process is gone, or a zombie as a leader stays until the last thread ends, proc_pid_stat(5).
func dead(tid int64) bool {
	stat, err := os.ReadFile("/proc/self/task/" + strconv.FormatInt(tid, 10) + "/stat")
	if err != nil {
		return os.IsNotExist(err)
	}
	_, state, _ := strings.Cut(string(stat), ") ") // our own name has no parenthesis
	return strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X")
}

func errnoName(errno syscall.Errno) string {
	if name := unix.ErrnoName(errno); name != "" {
		return name
	}
	return fmt.Sprintf("errno %d", int(errno))
}

// reason is the errno's name where there is one, the error's text otherwise.
func reason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errnoName(errno)
	}
	if errors.Is(err, os.ErrNotExist) {
		return "does not exist"
	}
	return err.Error()
}
