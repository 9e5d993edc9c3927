package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/vm/wire"
)

const (
	userID     = 1000 // of the image's ordinary user, and of the user's group
	runtimeDir = "/run/user/1000"
	path       = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// patience is how long a job that has ended may leave its output open, and how long one that was killed may take.
	patience = 3 * time.Second
)

// runner runs jobs.
type runner struct {
	port *port
	plan *wire.Plan
	top  string // group below which jobs get theirs
}

// prepare makes the groups in which jobs run. As in any group of version 2, processes stand in the leaves.
func (r *runner) prepare() error {
	r.top = "/sys/fs/cgroup/lab.slice"
	if r.plan.Init == "systemd" {
		data, err := os.ReadFile("/proc/self/cgroup")
		if err != nil {
			return err
		}
		r.top = filepath.Join("/sys/fs/cgroup", strings.TrimPrefix(strings.TrimSpace(string(data)), "0::"))
	}
	if err := enter(filepath.Join(r.top, "guest"), os.Getpid()); err != nil {
		return err
	}
	if err := handDown(r.top); err != nil {
		return err
	}
	if r.plan.Init == "systemd" {
		if !r.hasUser() {
			return nil
		}
		out, err := exec.Command("systemctl", "start", "user@1000.service").CombinedOutput()
		if err != nil {
			return fmt.Errorf("start the user's manager: %w: %s", err, out)
		}
		return nil
	}
	return delegate(filepath.Join(r.top, "user"))
}

func (r *runner) hasUser() bool {
	for _, j := range r.plan.Jobs {
		if j.User == "user" {
			return true
		}
	}
	return false
}

// enter makes a group and moves a process there.
func enter(dir string, pid int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(fmt.Sprint(pid)), 0)
}

// handDown enables all controllers of a group in its children.
func handDown(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, c := range strings.Fields(string(data)) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0); err != nil {
			return fmt.Errorf("enable controller %s below %s: %w", c, dir, err)
		}
	}
	return nil
}

// delegate makes a group over to the user, as cgroups(7) says: the directory and three of its files.
func delegate(dir string) error {
	leaf := filepath.Join(dir, "shell")
	if err := os.MkdirAll(leaf, 0o755); err != nil {
		return err
	}
	for _, d := range []string{dir, leaf} {
		for _, name := range []string{"", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
			if err := os.Chown(filepath.Join(d, name), userID, userID); err != nil {
				return err
			}
		}
	}
	return nil
}

// job runs one job and reports it.
func (r *runner) job(n uint32) {
	r.port.send(wire.Frame{Kind: wire.Start, Job: n})
	start := time.Now()
	code, err := r.run(n)
	ended := wire.Ended{Code: code, Elapsed: time.Since(start)}
	if err != nil {
		ended.Reason = err.Error()
	}
	data, err := json.Marshal(ended)
	if err != nil {
		data = []byte("{}")
	}
	r.port.send(wire.Frame{Kind: wire.Exit, Job: n, Data: data})
}

func (r *runner) run(n uint32) (code int, err error) {
	job := &r.plan.Jobs[n]
	cmd, group := r.command(n, job)
	read, write, err := os.Pipe()
	if err != nil {
		return -1, err
	}
	defer read.Close()
	cmd.Stdout, cmd.Stderr = write, write
	dir, err := os.Open(group)
	if err != nil {
		return -1, err
	}
	defer dir.Close()
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	if err := cmd.Start(); err != nil {
		return -1, err
	}
	_ = write.Close()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		r.copy(n, read)
	}()
	killed := time.AfterFunc(job.Timeout, func() { stop(cmd, group) })
	err = cmd.Wait()
	inTime := killed.Stop()
	if job.User != "user" { // nothing outlives its job; the user's group is that of all
		_ = os.WriteFile(filepath.Join(group, "cgroup.kill"), []byte("1"), 0)
	}
	select {
	case <-copied:
	case <-time.After(patience): // something still has the output open
		_ = read.SetReadDeadline(time.Now())
		<-copied
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return -1, err
	}
	if !inTime {
		return -1, fmt.Errorf("killed after %v", job.Timeout)
	}
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal()), fmt.Errorf("killed by signal: %v", ws.Signal())
	}
	return cmd.ProcessState.ExitCode(), nil
}

// command makes the command of a job, and the group that it starts in.
func (r *runner) command(n uint32, job *wire.Job) (*exec.Cmd, string) {
	env := append([]string{path, "LANG=C.UTF-8", "BULKHEAD_TEST_RESULTS=" + results}, job.Env...)
	attr := &syscall.SysProcAttr{Setsid: true}
	argv, group := job.Argv, filepath.Join(r.top, fmt.Sprintf("job-%d", n))
	switch {
	case job.User != "user":
		env = append(env, "HOME=/root", "USER=root", "LOGNAME=root")
	default:
		env = append(env, "HOME=/home/user", "USER=user", "LOGNAME=user", "XDG_RUNTIME_DIR="+runtimeDir)
		attr.Credential = &syscall.Credential{Uid: userID, Gid: userID}
		if r.plan.Init == "systemd" {
			env = append(env, "DBUS_SESSION_BUS_ADDRESS=unix:path="+runtimeDir+"/bus")
			argv = []string{"systemd-run", "--user", "--quiet", "--wait", "--pipe", "--collect", "-p", "Delegate=yes", "-p", "WorkingDirectory=" + job.Dir}
			for _, e := range env {
				argv = append(argv, "-E", e)
			}
			argv = append(append(argv, "--"), job.Argv...)
		} else {
			group = filepath.Join(r.top, "user", "shell")
		}
	}
	_ = os.MkdirAll(group, 0o755) // Open says what is wrong
	cmd := exec.Command(argv[0], argv[1:]...)
	if found, err := exec.LookPath(argv[0]); err == nil {
		cmd.Path, cmd.Err = found, nil
	}
	cmd.Dir, cmd.Env, cmd.SysProcAttr = job.Dir, env, attr
	return cmd, group
}

// copy sends what a job prints, as it comes.
func (r *runner) copy(n uint32, from *os.File) {
	buf := make([]byte, wire.MaxData)
	for {
		k, err := from.Read(buf)
		if k > 0 {
			r.port.send(wire.Frame{Kind: wire.Output, Job: n, Data: buf[:k]})
		}
		if err != nil {
			return
		}
	}
}

// stop kills a job with all that is in its group. First SIGQUIT, at which a Go program says where it was.
func stop(cmd *exec.Cmd, group string) {
	_ = cmd.Process.Signal(syscall.SIGQUIT)
	time.Sleep(patience)
	_ = os.WriteFile(filepath.Join(group, "cgroup.kill"), []byte("1"), 0)
	_ = cmd.Process.Kill()
}
