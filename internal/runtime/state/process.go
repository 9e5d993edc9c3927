package state

import (
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/pidfd"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
)

// A Process names a process for good: pids are used again, a pid together with its start time is not.
type Process struct {
	PID       int    `json:"pid,omitempty"`       // as this runtime's pid namespace sees it; 0: none
	StartTime uint64 `json:"startTime,omitempty"` // clock ticks after boot, field 22 of /proc/PID/stat (proc_pid_stat(5))
}

// Identify returns the process that has the pid now. It is the caller's business that the pid is good: that of a child not yet reaped.
func Identify(pid int) (Process, error) {
	st, err := stat(pid)
	return Process{PID: pid, StartTime: st.StartTime}, err
}

// Alive reports whether the process runs. One that has ended and was not reaped yet (a zombie) does not.
func (p Process) Alive() bool {
	if p.PID <= 0 {
		return false
	}
	st, err := stat(p.PID)
	return err == nil && st.StartTime == p.StartTime && !st.Dead()
}

// Open returns a pidfd of the process, the caller's to close. One that has ended, or was never started, is of kind NotFound.
func (p Process) Open() (pidfd.Process, error) {
	if p.PID <= 0 {
		return pidfd.Process{}, errdef.Errorf(errdef.NotFound, "open process: it was never started")
	}
	return pidfd.OpenVerified(p.PID, p.StartTime)
}

func stat(pid int) (procfs.Stat, error) {
	proc, err := procfs.Host()
	if err != nil {
		return procfs.Stat{}, err
	}
	return proc.Stat(pid)
}
