package defaults

// A callGroup is a set of system calls that are granted together, syscalls(2). At most MaxCalls of x86_64's 362 are granted at Hardened.
type callGroup struct {
	grant        // value: the names, separated by spaces
	guard *guard // nil: whatever the arguments are
}

// MaxCalls bounds the hardened allow-list.
const MaxCalls = 240

var calls = []callGroup{
	{grant{"read write readv writev pread64 pwrite64 preadv pwritev lseek close close_range dup dup2 dup3 fcntl flock", Untrusted, "work on descriptors that are open"}, nil},
	{grant{"open openat openat2 creat", Untrusted, "open files of the container's own tree"}, nil},
	{grant{"sendfile splice copy_file_range", Untrusted, "copy between descriptors"}, nil},
	{grant{"fsync fdatasync sync_file_range fallocate ftruncate truncate fadvise64", Untrusted, "durability and size of files"}, nil},
	{grant{"stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2 getdents getdents64 readlink readlinkat", Untrusted, "look at files"}, nil},
	{grant{"getcwd chdir fchdir mkdir mkdirat rmdir rename renameat renameat2 link linkat unlink unlinkat symlink symlinkat umask", Untrusted, "change the container's own tree"}, nil},
	{grant{"chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes utimensat", Untrusted, "attributes of files, within the mapped ids"}, nil},
	{grant{"mknod mknodat", Hardened, "fifos and sockets; devices need CAP_MKNOD, which is not granted"}, nil},
	{grant{"setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr", Untrusted, "extended attributes; security.* needs capabilities"}, nil},
	{grant{"inotify_init1 inotify_add_watch inotify_rm_watch", Untrusted, "watch files change"}, nil},
	{grant{"mmap munmap mremap mprotect brk madvise msync membarrier", Untrusted, "the process's own memory"}, nil},
	{grant{"mlock munlock mlockall munlockall", Untrusted, "keep keys out of swap, within RLIMIT_MEMLOCK"}, nil},
	{grant{"memfd_create", Untrusted, "anonymous files: JIT compilers and language runtimes"}, nil},
	{grant{"clone", Untrusted, "threads and processes, without any new namespace (CVE-2022-0185 began with one)"}, noNewNamespace},
	{grant{"fork vfork execve execveat exit exit_group wait4 waitid set_tid_address set_robust_list rseq restart_syscall", Untrusted, "processes and threads"}, nil},
	{grant{"arch_prctl prctl seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self", Untrusted, "the process's own settings; a process may always confine itself further"}, nil},
	{grant{"personality", Untrusted, "Linux, with or without 32-bit uname; not the bits that switch address randomisation off"}, plainPersonality},
	{grant{"getpid getppid gettid getpgid setpgid getpgrp setsid getsid kill tkill tgkill pidfd_open pidfd_send_signal", Untrusted, "processes of the container's own pid namespace"}, nil},
	{grant{"getuid geteuid getgid getegid getresuid getresgid getgroups capget", Untrusted, "ask who one is"}, nil},
	{grant{"setuid setgid setreuid setregid setresuid setresgid setgroups capset", Untrusted, "give up rights; no_new_privs and the bounding set keep more from coming"}, nil},
	{grant{"rt_sigaction rt_sigprocmask rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend rt_sigreturn sigaltstack pause alarm signalfd4", Untrusted, "send and handle signals"}, nil},
	{grant{"nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times getitimer setitimer", Untrusted, "read clocks and sleep"}, nil},
	{grant{"timer_create timer_settime timer_gettime timer_getoverrun timer_delete timerfd_create timerfd_settime", Untrusted, "timers of the process"}, nil},
	{grant{"poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd2", Untrusted, "wait for descriptors"}, nil},
	{grant{"futex pipe pipe2", Untrusted, "locks and pipes"}, nil},
	{grant{"sched_yield sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min sched_getaffinity getpriority ioprio_get", Untrusted, "ask the scheduler"}, nil},
	{grant{"sched_setscheduler sched_setaffinity setpriority ioprio_set", Hardened, "tell the scheduler; raising needs CAP_SYS_NICE, which is not granted"}, nil},
	{grant{"getrlimit setrlimit prlimit64 getrusage sysinfo uname getrandom", Untrusted, "limits, usage, names, random bytes"}, nil},
	{grant{"socket", Untrusted, "local sockets"}, localSockets},
	{grant{"socket", Untrusted, "sockets of IPv4"}, family(afInet)},
	{grant{"socket", Untrusted, "sockets of IPv6"}, family(afInet6)},
	{grant{"socket", Hardened, "netlink of the routes: name resolution and interface lists ask it"}, routeNetlink},
	{grant{"socketpair", Untrusted, "local sockets; the kernel makes pairs of no other family"}, nil},
	{grant{"bind listen accept accept4 connect getsockname getpeername sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg shutdown setsockopt getsockopt", Untrusted, "work on sockets of the families above"}, nil},
	{grant{"ioctl", Untrusted, "devices that are open; not the two requests that type into a terminal (CVE-2017-5226, CVE-2023-28100)"}, noTerminalInput},
	{grant{"shmget shmat shmdt shmctl semget semop semctl semtimedop", Hardened, "System V shared memory and semaphores, of the container's own ipc namespace: PostgreSQL"}, nil},
	{grant{"io_setup io_submit io_getevents io_destroy", Hardened, "the old asynchronous I/O: MySQL and nginx"}, nil},
	{grant{"msgget msgsnd msgrcv msgctl mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr", Compat, "message queues, which hardly anything uses and several exploits did (CVE-2021-22555)"}, nil},
	{grant{"chroot", Compat, "with CAP_SYS_CHROOT"}, nil},
	{grant{"ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd process_madvise process_mrelease", Compat, "debuggers, of the container's own processes"}, nil},
	{grant{"name_to_handle_at memfd_secret remap_file_pages adjtimex io_pgetevents cachestat futex_wake futex_wait futex_requeue modify_ldt", Compat, "rarely used; in Docker's list"}, nil},
	{grant{"tee vmsplice mincore readahead sync syncfs", Compat, "pages shared with pipes, what others have in the page cache, and flushes of the whole host's disks"}, nil},
	{grant{"sched_setattr sched_getattr sched_rr_get_interval sched_setparam mlock2 pkey_alloc pkey_free pkey_mprotect mseal map_shadow_stack get_robust_list", Compat, "rarely used; programs do without when they are missing"}, nil},
	{grant{"preadv2 pwritev2 futimesat eventfd signalfd inotify_init futex_waitv epoll_pwait2 getcpu rt_tgsigqueueinfo io_cancel setfsuid setfsgid timerfd_gettime", Compat, "newer or older twins of calls that are granted; the C libraries use those"}, nil},
}

// compatSocket stands in for the groups of socket at Compat.
var compatSocket = callGroup{grant{"socket", Compat, "all families but AF_ALG and AF_VSOCK, which reach the host from any namespace"}, exceptAlgVsock}

// refused are calls that a program may expect to exist, so they fail with EPERM as they do without the right; whatever is in neither
// table is unknown and fails with ENOSYS, as on an older kernel, so that programs fall back to what they did there.
var refused = []wall{
	{"mount umount2 pivot_root", Compat, "changes of the mount tree"},
	{"open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr", Compat, "the same through descriptors (CVE-2022-0185)"},
	{"unshare setns", Compat, "new namespaces give root over kernel code that is not ready for it"},
	{"bpf perf_event_open", Compat, "programs and counters inside the kernel (CVE-2023-2163, CVE-2013-2094)"},
	{"io_uring_setup io_uring_enter io_uring_register", Compat, "does file and socket work that no filter sees; 60 % of the kernel exploits that Google paid for in 2022 went through it"},
	{"userfaultfd", Compat, "stops the kernel in the middle of a copy, which makes races easy to win"},
	{"add_key request_key keyctl", Compat, "keyrings are not namespaced (CVE-2016-0728)"},
	{"init_module finit_module delete_module", Compat, "kernel modules"},
	{"kexec_load kexec_file_load reboot", Compat, "another kernel, or none"},
	{"open_by_handle_at", Compat, "opens any file of the host's file system by number (shocker)"},
	{"fanotify_init fanotify_mark", Compat, "watches the whole file system"},
	{"swapon swapoff acct quotactl quotactl_fd nfsservctl lookup_dcookie", Compat, "administration of the host"},
	{"settimeofday clock_settime clock_adjtime", Compat, "the host's clock"},
	{"syslog", Compat, "the kernel log: addresses, and other containers' faults"},
	{"iopl ioperm", Compat, "the machine's ports"},
	{"sethostname setdomainname vhangup", Compat, "need CAP_SYS_ADMIN, which is not granted"},
	{"get_mempolicy set_mempolicy mbind migrate_pages move_pages set_mempolicy_home_node", Compat, "memory placement: moves pages of the kernel's choice, and shapes its heap"},
	{"ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd", Hardened, "looks into other processes; around seccomp before kernel 4.8"},
	{"chroot", Hardened, "needs CAP_SYS_CHROOT, which is not granted"},
	{"name_to_handle_at adjtimex modify_ldt", Hardened, "tells about the host, or changes how the process enters the kernel"},
	{"msgget msgsnd msgrcv msgctl mq_open", Hardened, "message queues, see the compat level"},
	{"mknod mknodat", Untrusted, "nothing is to be made but files and directories"},
	{"shmget semget io_setup", Untrusted, "see the hardened level"},
}
