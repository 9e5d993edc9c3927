package defaults

// capabilities are what root inside may do to what belongs to the container's own user namespace, capabilities(7). The inheritable and
// ambient sets are empty at every level: they survive an execve (CVE-2022-24769, CVE-2022-29162).
var capabilities = []grant{
	{"CAP_CHOWN", Hardened, "database images start as root, give their data directory to their own user, then step down"},
	{"CAP_DAC_OVERRIDE", Hardened, "the same images write into directories of that user before they step down; only files of mapped ids"},
	{"CAP_FOWNER", Hardened, "chmod of what is not one's own, by the same images and by package managers"},
	{"CAP_FSETID", Hardened, "keeps set-group-id bits on directories that package managers write"},
	{"CAP_KILL", Hardened, "a supervisor that runs as root stops its services that run as others"},
	{"CAP_SETGID", Hardened, "stepping down from root"},
	{"CAP_SETUID", Hardened, "stepping down from root"},
	{"CAP_NET_BIND_SERVICE", Hardened, "ports below 1024, in a network namespace of the container's own"},
	{"CAP_AUDIT_WRITE", Compat, "sshd and sudo log to the kernel's audit; writes into the host's log, so not by default"},
	{"CAP_MKNOD", Compat, "device nodes, which the device filter still keeps closed; part of Docker's set"},
	{"CAP_NET_RAW", Compat, "raw sockets: forged packets on the container's network; ping works without by ping_group_range"},
	{"CAP_SETFCAP", Compat, "file capabilities, which an image should carry already"},
	{"CAP_SETPCAP", Compat, "moves capabilities between sets; only init systems ask for it"},
	{"CAP_SYS_CHROOT", Compat, "chroot, with which a process that holds a directory outside of its root gets there"},
}

// namespaces are what a container has of its own, namespaces(7). All levels have all of them but for those that Docker shares.
var namespaces = []wall{
	{"user", Hardened, "root inside is nobody outside, and two containers are strangers to each other"},
	{"pid", Compat, "sees and signals its own processes only, and all of them die with the first"},
	{"network", Compat, "own interfaces, ports and abstract sockets (CVE-2020-15257)"},
	{"mount", Compat, "own tree of files"},
	{"uts", Compat, "own host name"},
	{"ipc", Compat, "own System V objects and message queues"},
	{"cgroup", Compat, "does not see where in the host's tree it is, and cannot name anything above it"},
	{"time", Hardened, "own boot clock: uptime does not tell when the host was started"},
}
