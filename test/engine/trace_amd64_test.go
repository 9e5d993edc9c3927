package engine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A murder starts a command and kills a process at its n-th system call that changes something, before that is carried out: the command itself, or the monitor that it starts. Whatever is left
// is what a machine would have at that step.
type murder struct {
	cmd     *exec.Cmd
	monitor bool // it is the monitor that is killed
	n       int

	victim int          // the process that is counted; 0: not there yet
	leader map[int]int  // of each thread its process
	inside map[int]bool // threads that are in a system call
	steps  int
	at     string // what it was killed at, "": it was not
	atRest bool
	last   time.Time // when it has made a step
	hung   atomic.Bool
}

// A deed is how a murder went.
type deed struct {
	result
	at    string // the system call at which the victim was killed; "": it has made fewer
	steps int
	last  bool // it was killed when it had nothing more to do, or ended by itself
	hung  bool // the command did not end
	stays bool // its container does not remove itself
}

const (
	murderTime = 45 * time.Second // for a command that hangs
	rest       = time.Second      // without a step: the monitor of a container that runs has nothing more to do
)

// commit carries it out. Tracing is a matter of one thread, which is thrown away.
func (m *murder) commit() (deed, error) {
	type answer struct {
		d   deed
		err error
	}
	done := make(chan answer, 1)
	go func() {
		runtime.LockOSThread()
		var out, problems bytes.Buffer
		d, err := m.trace(&out, &problems)
		d.out, d.problems = out.String(), problems.String()
		done <- answer{d, err}
	}()
	a := <-done
	return a.d, a.err
}

func (m *murder) trace(out, problems *bytes.Buffer) (deed, error) {
	var files [2]*os.File
	for i := range files { // not a pipe: a monitor that lives has none of it, and nobody waits for its end
		f, err := os.CreateTemp(filepath.Dir(m.cmd.Path), "said-")
		if err != nil {
			return deed{}, err
		}
		defer os.Remove(f.Name())
		defer f.Close()
		files[i] = f
	}
	m.cmd.Stdout, m.cmd.Stderr = files[0], files[1]
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := m.cmd.Start(); err != nil {
		return deed{}, err
	}
	pid := m.cmd.Process.Pid
	m.leader, m.inside = map[int]int{pid: pid}, map[int]bool{}
	if !m.monitor {
		m.victim = pid
	}
	code, err := m.watch(pid)
	for i, b := range []*bytes.Buffer{out, problems} {
		data, rerr := os.ReadFile(files[i].Name())
		if err == nil {
			err = rerr
		}
		b.Write(data)
	}
	return deed{result: result{code: code}, at: m.at, steps: m.steps, last: m.at == "" || m.atRest, hung: m.hung.Load()}, err
}

// watch goes from stop to stop until the command has ended, and the victim, if it was to be killed.
func (m *murder) watch(command int) (code int, err error) {
	timer := time.AfterFunc(murderTime, func() { m.hung.Store(true); _ = syscall.Kill(command, syscall.SIGKILL) })
	defer timer.Stop()
	code = -1
	ended := false
	for {
		var st syscall.WaitStatus
		how := unix.WALL | unix.WNOTHREAD
		if ended {
			how |= unix.WNOHANG
		}
		pid, err := syscall.Wait4(-1, &st, how, nil)
		switch {
		case pid == 0 && err == nil:
			if time.Since(m.last) > rest && m.victim > 0 && !m.atRest {
				m.atRest = true
				if m.at == "" {
					m.at = "rest"
				}
				_ = syscall.Kill(m.victim, syscall.SIGKILL)
			}
			time.Sleep(time.Millisecond)
			continue
		case err == syscall.EINTR:
			continue
		case err == syscall.ECHILD && ended:
			return code, nil
		case err != nil:
			return code, fmt.Errorf("wait: %w", err)
		}
		if st.Exited() || st.Signaled() {
			delete(m.leader, pid)
			if pid == command {
				m.last = time.Now()
				if code, ended = st.ExitStatus(), true; st.Signaled() {
					code = 128 + int(st.Signal())
				}
			}
			if pid == m.victim && m.at == "" {
				m.victim = -1
			}
			continue
		}
		if err := m.stopped(pid, st, command); err != nil && !errors.Is(err, syscall.ESRCH) {
			_ = syscall.Kill(command, syscall.SIGKILL)
			return code, err
		}
	}
}

// stopped looks at a thread that has stopped, and lets it go on.
func (m *murder) stopped(pid int, st syscall.WaitStatus, command int) error {
	if _, known := m.leader[pid]; !known {
		m.leader[pid] = processOf(pid)
	}
	signal := st.StopSignal()
	switch {
	case signal == syscall.SIGTRAP|0x80:
		m.inside[pid] = !m.inside[pid]
		if m.inside[pid] && m.leader[pid] == m.victim && m.at == "" {
			if what := deedOf(pid); what != "" {
				m.last = time.Now()
				if m.steps++; m.steps == m.n {
					m.at = what
					return syscall.Kill(m.victim, syscall.SIGKILL)
				}
			}
		}
		signal = 0
	case signal == syscall.SIGTRAP && st>>16 != 0:
		if int(st>>16) == unix.PTRACE_EVENT_EXEC {
			m.inside[pid] = true // until it has returned
			if exe, _ := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe"); m.monitor && m.victim == 0 && filepath.Base(exe) == "bulkhead-monitor" {
				m.victim = pid
			}
		}
		signal = 0
	case signal == syscall.SIGTRAP: // of the first execve
		if err := syscall.PtraceSetOptions(pid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_TRACEFORK|unix.PTRACE_O_TRACEVFORK|unix.PTRACE_O_TRACEEXEC); err != nil {
			return err
		}
		signal = 0
	case signal == syscall.SIGSTOP: // of a thread or a process that is new
		if of := m.leader[pid]; of != m.victim && of != command && (!m.monitor || m.victim != 0) {
			delete(m.leader, pid)
			return syscall.PtraceDetach(pid) // a container, or a monitor that is not meant
		}
		signal = 0
	}
	if m.leader[pid] != m.victim {
		return syscall.PtraceCont(pid, int(signal))
	}
	return syscall.PtraceSyscall(pid, int(signal))
}

// processOf is the process of a thread.
func processOf(pid int) int {
	data, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, "Tgid:"); ok {
			if n, err := strconv.Atoi(strings.TrimSpace(text)); err == nil {
				return n
			}
		}
	}
	return pid
}

// changing are the system calls that leave something behind when their process is killed, or undo it.
var changing = map[uint64]string{
	unix.SYS_CREAT: "creat", unix.SYS_MKDIR: "mkdir", unix.SYS_MKDIRAT: "mkdirat", unix.SYS_UNLINK: "unlink", unix.SYS_UNLINKAT: "unlinkat", unix.SYS_RMDIR: "rmdir",
	unix.SYS_RENAME: "rename", unix.SYS_RENAMEAT: "renameat", unix.SYS_RENAMEAT2: "renameat2", unix.SYS_LINK: "link", unix.SYS_LINKAT: "linkat", unix.SYS_SYMLINK: "symlink",
	unix.SYS_SYMLINKAT: "symlinkat", unix.SYS_MKNOD: "mknod", unix.SYS_MKNODAT: "mknodat", unix.SYS_CHMOD: "chmod", unix.SYS_FCHMOD: "fchmod", unix.SYS_FCHMODAT: "fchmodat",
	unix.SYS_CHOWN: "chown", unix.SYS_FCHOWN: "fchown", unix.SYS_LCHOWN: "lchown", unix.SYS_FCHOWNAT: "fchownat", unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_MOUNT: "mount",
	unix.SYS_UMOUNT2: "umount2", unix.SYS_MOVE_MOUNT: "move_mount", unix.SYS_FORK: "fork", unix.SYS_VFORK: "vfork", unix.SYS_CLONE3: "clone3", unix.SYS_EXECVE: "execve", unix.SYS_KILL: "kill",
	unix.SYS_PIDFD_SEND_SIGNAL: "pidfd_send_signal", unix.SYS_BIND: "bind", unix.SYS_CONNECT: "connect", unix.SYS_SETXATTR: "setxattr", unix.SYS_FSETXATTR: "fsetxattr", unix.SYS_SETNS: "setns",
	unix.SYS_UNSHARE: "unshare", unix.SYS_EXIT_GROUP: "exit_group", unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "pwrite64", unix.SYS_OPENAT: "openat", unix.SYS_CLONE: "clone",
	unix.SYS_FLOCK: "flock",
}

// deedOf is the system call that a thread is about to make, with its file, if it changes something that outlives the process.
func deedOf(pid int) string {
	var regs syscall.PtraceRegs
	if err := syscall.PtraceGetRegs(pid, &regs); err != nil {
		return ""
	}
	name := changing[regs.Orig_rax]
	switch regs.Orig_rax {
	case unix.SYS_WRITE, unix.SYS_PWRITE64:
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, regs.Rdi))
		if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "/memfd:") { // what goes to pipes and sockets of the process itself ends with it
			return ""
		}
		return name + " " + to
	case unix.SYS_OPENAT:
		if regs.Rdx&unix.O_CREAT == 0 {
			return ""
		}
	case unix.SYS_CLONE:
		if regs.Rdi&unix.CLONE_THREAD != 0 {
			return ""
		}
	}
	return name
}
