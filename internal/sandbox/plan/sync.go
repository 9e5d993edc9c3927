package plan

import (
	"encoding/binary"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	"golang.org/x/sys/unix"
)

// sync is the socket to the parent.
var sync = op.Fd(op.SyncFile)

// barrier stops the child until the parent lets it go on. If the parent is dead, the read gives 0 bytes and the list fails.
func (b *builder) barrier(n int, why string) {
	b.scratch("go", 8)
	w := op.Write(sync, string(op.Message(op.MsgBarrier, uint64(n)))).Because(why)
	w.Args[1].Text = "barrier " + strconv.Itoa(n)
	b.add(w,
		op.Read(sync, "go", 1).To("got").Because("wait for the runtime"),
		op.Check("got", 0, ^uint64(0), 1, unix.ECONNRESET).Because("the runtime is still there"),
	)
}

// fork makes the process that becomes the container's, as a sibling, and ends the first one; the runtime learns the new pid.
func (b *builder) fork(why string) {
	b.forked = true
	child := b.name("container")
	pid := b.slot("pid")
	msg := b.mem(op.Mem{Name: b.name("msg"), Size: op.MsgSize, Init: op.Message(op.MsgForked, 0)})
	b.add(
		op.Fork(unix.CLONE_PARENT).To(pid).Because(why),
		op.Check(string(pid), 0, ^uint64(0), 0, 0).Else(op.AnyErrno, child+"_parent").Then(child).Because("which of the two am I"),
		op.Copy(pid, msg, 8).Named(child+"_parent"),
		op.WriteMem(sync, msg, op.MsgSize).Because("tell the runtime the container's pid"),
		op.Exit(0).Because("the first process has done its part"),
	)
	b.here(child)
	b.scratch("go", 8)
	b.add(
		op.Read(sync, "go", 1).To("got").Because("wait until the runtime knows this process"),
		op.Check("got", 0, ^uint64(0), 1, unix.ECONNRESET).Because("the runtime is still there"),
	)
}

// sendFD passes a descriptor to the parent: sendmsg(2) with SCM_RIGHTS.
func (b *builder) sendFD(n int, fd op.Slot, why string) {
	payload := b.mem(op.Mem{Name: b.name("payload"), Size: op.MsgSize, Init: op.Message(op.MsgFD, uint64(n))})
	iov := b.mem(op.Mem{Name: b.name("iov"), Size: 16, Init: words(0, op.MsgSize), Relocs: []op.Reloc{{Off: 0, Arg: op.Addr(payload, 0)}}})
	// struct cmsghdr: len (8), level (4), type (4), then the descriptor (4) and padding.
	control := append(words(20), 0, 0, 0, 0, 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(control[8:], unix.SOL_SOCKET)
	binary.LittleEndian.PutUint32(control[12:], unix.SCM_RIGHTS)
	cmsg := b.mem(op.Mem{Name: b.name("cmsg"), Size: 24, Init: control})
	// struct msghdr: name, namelen, iov, iovlen, control, controllen, flags.
	msg := b.mem(op.Mem{Name: b.name("msghdr"), Size: 56, Init: words(0, 0, 0, 1, 0, 24, 0), Relocs: []op.Reloc{
		{Off: 16, Arg: op.Addr(iov, 0)}, {Off: 32, Arg: op.Addr(cmsg, 0)},
	}})
	b.add(
		op.Copy32(fd, cmsg, 16),
		op.Raw("sendmsg", unix.SYS_SENDMSG, sync, op.Arg{Kind: op.Memory, Str: msg, Text: "SCM_RIGHTS $" + string(fd)}, op.Num(0)).Because(why),
	)
}

func words(v ...uint64) []byte {
	var out []byte
	for _, n := range v {
		out = binary.LittleEndian.AppendUint64(out, n)
	}
	return out
}
