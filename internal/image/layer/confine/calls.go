package confine

import (
	"runtime"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Calls are the system calls of the worker, each group with its reason. Everything else is answered with EPERM, but clone3 with ENOSYS, so that
// a newer Go falls back to clone.
var Calls = []struct {
	Names  []string
	Reason string
}{
	{[]string{"openat", "openat2", "close", "fstat", "newfstatat", "lseek", "read", "pread64", "write", "pwrite64", "ftruncate", "getdents64"}, "files, by descriptor"},
	{[]string{"mkdirat", "symlinkat", "linkat", "unlinkat", "mknodat", "renameat2", "readlinkat"}, "names in the target directory; mknodat makes FIFOs and whiteouts, no device in a user namespace"},
	{[]string{"fchown", "fchownat", "fchmod", "fchmodat", "utimensat", "fsetxattr", "fgetxattr", "flistxattr"}, "owners, modes, times, attributes"},
	{[]string{"sendmsg", "recvmsg"}, "the socket to the engine, which is the only one there is"},
	{[]string{"poll", "ppoll", "eventfd2"}, "waiting for a stream"},
	{[]string{"umask", "getrusage"}, "once at the start; the peak of memory for the report"},
	{[]string{"mmap", "munmap", "madvise", "futex", "nanosleep", "clock_gettime", "clock_nanosleep", "sched_yield", "sched_getaffinity", "getrandom", "uname"}, "Go's runtime: memory, locks, clocks"},
	{[]string{"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "gettid", "getpid", "tgkill", "prlimit64", "restart_syscall"}, "Go's runtime: signals and threads"},
	{[]string{"epoll_create1", "epoll_ctl", "epoll_pwait", "fcntl"}, "Go's runtime: the network poller, which timers use"},
	{[]string{"execve"}, "the filter is loaded before the program is executed; its only file to execute is itself"},
	{[]string{"exit", "exit_group"}, "the end"},
}

// threadFlags are those that Go's runtime gives to clone for a thread (runtime/os_linux.go, cloneFlags; on amd64 sys_linux_amd64.s adds CLONE_SETTLS,
// so that bit is not judged).
const threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD

// Profile returns the filter of the worker.
func Profile() *specs.LinuxSeccomp {
	eperm, enosys := uint(unix.EPERM), uint(unix.ENOSYS)
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, DefaultErrnoRet: &eperm, Architectures: []specs.Arch{specs.ArchX86_64}}
	if runtime.GOARCH == "arm64" {
		p.Architectures = []specs.Arch{specs.ArchAARCH64}
	}
	var names []string
	for _, c := range Calls {
		names = append(names, c.Names...)
	}
	const judged = 0xffffffff &^ unix.CLONE_SETTLS
	p.Syscalls = []specs.LinuxSyscall{
		{Names: names, Action: specs.ActAllow},
		{Names: []string{"clone"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: judged, ValueTwo: threadFlags, Op: specs.OpMaskedEqual}}},
		{Names: []string{"clone3"}, Action: specs.ActErrno, ErrnoRet: &enosys},
	}
	if runtime.GOARCH == "amd64" {
		const setFS = 0x1002 // ARCH_SET_FS, the thread's own pointer
		p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{
			Names: []string{"arch_prctl"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: setFS, Op: specs.OpEqualTo}},
		})
	}
	return p
}
