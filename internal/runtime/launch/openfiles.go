package launch

import (
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// enoughFiles is a soft limit of open files that is enough to make any container.
const enoughFiles = 1024

// openFiles gives the soft limit of open files back the value from before this program started, and returns that and the hard one. Go's
// syscall package raises the soft limit at start and undoes that only for an execve; this is one, of nothing, which fails as it must. A
// child has the limit of the moment it is made, so this comes before any. If the limit is too low to make a container it is raised again,
// as far as it may be: raised says so, and the child lowers it at its end.
var openFiles = sync.OnceValue(func() (l fileLimit) {
	_ = syscall.Exec("", nil, nil)
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l.Rlimit); err != nil {
		return l
	}
	if l.Cur < enoughFiles && l.Cur < l.Max {
		up := unix.Rlimit{Cur: min(enoughFiles, l.Max), Max: l.Max}
		l.raised = unix.Setrlimit(unix.RLIMIT_NOFILE, &up) == nil
	}
	return l
})

type fileLimit struct {
	unix.Rlimit
	raised bool
}
