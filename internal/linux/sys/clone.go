package sys

// CloneArgs is struct clone_args of clone3(2) as of kernel 5.7 (88 bytes, CLONE_ARGS_SIZE_VER2).
type CloneArgs struct {
	Flags      uint64 // CLONE_*
	PidFD      uint64 // address of an int
	ChildTID   uint64 // address of a pid_t in the child
	ParentTID  uint64 // address of a pid_t in the parent
	ExitSignal uint64
	Stack      uint64 // lowest address
	StackSize  uint64 // bytes
	TLS        uint64
	SetTID     uint64 // address of an array of pid_t (kernel 5.5)
	SetTIDSize uint64 // elements
	Cgroup     uint64 // descriptor of a cgroup v2 directory, with CLONE_INTO_CGROUP (kernel 5.7)
}
