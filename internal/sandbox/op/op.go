// Package op is the instruction set of a starting container: the list of system calls that confine it, as data.
//
// An Op is one system call with symbolic arguments, where its result goes, what to do about the errors that are no failure, and why
// the call is made. A sandbox is a []Op: package plan writes it (purely), package forkexec runs it (blindly), and anyone can print it.
//
//	root := op.OpenTree(op.AtCwd, "/bundle/rootfs", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
//	root.Out, root.Why = "root", "the container's file system, resolved once"
//	fmt.Println(root) // open_tree(AT_FDCWD, "/bundle/rootfs", ...) -> $root  # the container's file system, resolved once
//
// Values travel from op to op in slots: 8-byte cells of the child's memory, named. A descriptor that the parent opened is named by
// File; the executor puts its number in when it links the list. There are three pseudo calls that make no system call: check (compare
// a cell and fail or branch), copy (a cell into a structure), and goto by Next. Branches only follow an errno or a failed check: a list
// has no other control flow, so that reading it from top to bottom is reading what happens.
//
// The package makes no system call and has no state. It imports the kernel's numbers and nothing of Bulkhead above it.
package op

import "syscall"

// A Slot names an 8-byte cell that holds a result, mostly a descriptor. The empty slot is none.
type Slot string

// AnyErrno in On.Errno matches every errno.
const AnyErrno = syscall.Errno(0xffff)

// Pseudo call numbers. They are no system call numbers of any architecture.
const (
	NRCheck  = 0xffffffff // compare a cell with a value
	NRCopy   = 0xfffffffe // copy 8 bytes
	NRCopy32 = 0xfffffffd // copy 4 bytes
)

// An Op is one system call of the child.
type Op struct {
	Call  string // name as in syscalls(2), or a pseudo call
	NR    uint32 // number on this architecture
	Args  []Arg  // at most six
	Out   Slot   // where the result goes; "" when nobody needs it
	On    []On   // errors that are no failure, at most two
	Label string // the name of this place, for Goto and Next
	Next  string // the label to go on at after success; "": the op that follows
	Why   string // the reason, in words, for `explain` and for errors
	Hint  string // the way out when this op fails; "" where there is none to give
	Mask  uint64 // check: bits to compare
}

// On says what an errno leads to instead of failure.
type On struct {
	Errno syscall.Errno
	Goto  string // a label; "": the op that follows
}

// Kind is the kind of an Arg.
type Kind uint8

// The kinds of arguments.
const (
	Imm    Kind = iota // Num as it is
	Ref                // the value in slot Str
	File               // the number of the parent's descriptor Str
	String             // address of Str, NUL-terminated
	Bytes              // address of Str as raw bytes
	Memory             // address of the memory Str, plus Num
	List               // address of a NULL-terminated array of addresses of strings
)

// An Arg is one argument of an Op.
type Arg struct {
	Kind Kind
	Show Show   // how Num or Str is printed, when Text is empty
	Num  uint64 // Imm: the value; Memory: bytes to add
	Str  string // the name of a slot, descriptor or memory; the string or the bytes
	List *[]string
	Text string // how to print it; "" for what Show says
}

// A Mem is a named piece of the child's memory, zeroed unless Init says otherwise, and the addresses that stand in it.
type Mem struct {
	Name   string
	Size   int    // bytes
	Init   []byte // first bytes
	Relocs []Reloc
}

// A Reloc puts the address or value of an Arg into a Mem when the list is linked. The Arg may not be a Ref.
type Reloc struct {
	Off int // byte offset, a multiple of 8
	Arg Arg
}

// Num is an immediate argument, printed in decimal.
func Num[T ~int | ~int64 | ~uint64 | ~uint32 | ~uintptr | ~int32](n T) Arg {
	return Arg{Kind: Imm, Num: uint64(n)}
}

// Flag is an immediate argument with a symbolic text.
func Flag[T ~int | ~int64 | ~uint64 | ~uint32 | ~uintptr](n T, text string) Arg {
	return Arg{Kind: Imm, Num: uint64(n), Text: text}
}

// Str is a C string. The caller has made sure that it holds no NUL.
func Str(s string) Arg { return Arg{Kind: String, Str: s} }

// Data is the address of constant bytes, printed as text.
func Data(b, text string) Arg { return Arg{Kind: Bytes, Str: b, Text: text} }

// At is the value of a slot.
func At(s Slot) Arg { return Arg{Kind: Ref, Str: string(s)} }

// Fd is a descriptor that the parent opened and handed to the executor under a name.
func Fd(name string) Arg { return Arg{Kind: File, Str: name} }

// Addr is the address of a slot or memory, plus off bytes.
func Addr(name string, off int) Arg { return Arg{Kind: Memory, Str: name, Num: uint64(off)} }

// Strs is an array of C strings, ended by NULL: argv or envp.
func Strs(list []string) Arg { return Arg{Kind: List, List: &list} }

// AtCwd is AT_FDCWD.
var AtCwd = Arg{Kind: Imm, Num: ^uint64(99), Text: "AT_FDCWD"}

// Because sets the reason and returns the op.
func (o Op) Because(why string) Op { o.Why = why; return o }

// To sets the slot of the result and returns the op.
func (o Op) To(s Slot) Op { o.Out = s; return o }

// Else goes on at label when the call fails with errno. An empty label is the op that follows.
func (o Op) Else(errno syscall.Errno, label string) Op {
	o.On = append(o.On[:len(o.On):len(o.On)], On{errno, label})
	return o
}

// Then goes on at label after success.
func (o Op) Then(label string) Op { o.Next = label; return o }

// Named labels the op.
func (o Op) Named(label string) Op { o.Label = label; return o }

// Hinted sets the way out for a failure.
func (o Op) Hinted(hint string) Op { o.Hint = hint; return o }
