#include "textflag.h"

// The machine: the whole program that runs between clone and execve. It walks a table of 96-byte instructions (see link.go), makes
// each one's system call, and goes on where the instruction says. It keeps all its state in registers, touches no stack, calls nothing
// and is position independent, because it runs in two places: once in the parent's memory (CLONE_VM, on no stack of its own, for the
// few instructions before the sealed program is executed), and then as the only code of that program.
//
// In: BX is the address of the header {table, kind, step, errno, fd}.

// func machine()
TEXT ·machine(SB),NOSPLIT|NOFRAME,$0-0
	MOVQ	0(BX), R12
	MOVQ	R12, R13
	XORL	R14, R14
step:
	MOVL	4(R13), R15
	MOVQ	8(R13), DI
	TESTL	$1, R15
	JEQ	a1
	MOVQ	(DI), DI
a1:
	MOVQ	16(R13), SI
	TESTL	$2, R15
	JEQ	a2
	MOVQ	(SI), SI
a2:
	MOVQ	24(R13), DX
	TESTL	$4, R15
	JEQ	a3
	MOVQ	(DX), DX
a3:
	MOVQ	32(R13), R10
	TESTL	$8, R15
	JEQ	a4
	MOVQ	(R10), R10
a4:
	MOVQ	40(R13), R8
	TESTL	$16, R15
	JEQ	a5
	MOVQ	(R8), R8
a5:
	MOVQ	48(R13), R9
	TESTL	$32, R15
	JEQ	a6
	MOVQ	(R9), R9
a6:
	MOVL	0(R13), AX
	CMPL	AX, $0xfffffffd
	JHS	pseudo
	SYSCALL
	CMPQ	AX, $-4095
	JHS	failed
	MOVQ	56(R13), CX
	TESTQ	CX, CX
	JEQ	next
	MOVQ	AX, (CX)
next:
	MOVL	80(R13), CX
jump:
	XORL	R14, R14
	IMULQ	$96, CX
	LEAQ	(R12)(CX*1), R13
	JMP	step

failed:
	NEGQ	AX
	CMPL	AX, $11	// EAGAIN of openat2(2): a rename or mount anywhere raced with "..": again, 128 times at most
	JNE	decide
	CMPL	0(R13), $437
	JNE	decide
	INCL	R14
	CMPL	R14, $128
	JLO	step
decide:
	MOVL	64(R13), CX
	TESTL	CX, CX
	JEQ	report
	CMPL	CX, AX
	JEQ	takeA
	CMPL	CX, $0xffff
	JEQ	takeA
	MOVL	72(R13), CX
	TESTL	CX, CX
	JEQ	report
	CMPL	CX, AX
	JEQ	takeB
	CMPL	CX, $0xffff
	JEQ	takeB
report:
	MOVL	84(R13), CX
	MOVQ	CX, 16(BX)
	MOVQ	AX, 24(BX)
	MOVQ	32(BX), DI
	LEAQ	8(BX), SI
	MOVQ	$24, DX
	MOVL	$1, AX	// write
	SYSCALL
die:
	MOVQ	$126, DI
	MOVL	$231, AX	// exit_group
	SYSCALL
	JMP	die
takeA:
	MOVL	68(R13), CX
	JMP	jump
takeB:
	MOVL	76(R13), CX
	JMP	jump

pseudo:
	CMPL	AX, $0xfffffffe
	JEQ	copy
	JLO	copy32
	MOVQ	(DI), AX	// check
	ANDQ	88(R13), AX
	CMPQ	AX, SI
	JEQ	next
	MOVQ	DX, AX
	JMP	decide
copy:
	MOVQ	(DI), AX
	MOVQ	AX, (SI)
	JMP	next
copy32:
	MOVL	(DI), AX
	MOVL	AX, (SI)
	JMP	next
	// The end of the code, for machineCode: an undefined instruction and a mark.
	BYTE	$0x0f; BYTE $0x0b
	BYTE	$0x42; BYTE $0x55; BYTE $0x4c; BYTE $0x4b
	BYTE	$0x45; BYTE $0x4e; BYTE $0x44; BYTE $0x21

// func machineText() *[1024]byte
TEXT ·machineText(SB),NOSPLIT,$0-8
	LEAQ	·machine(SB), AX
	MOVQ	AX, ret+0(FP)
	RET

// func rawClone(args *cloneArgs, size uintptr, header uintptr, masks *[2]uint64) (r uintptr)
//
// Blocks all signals, makes the child with clone3, and restores the mask in the parent. The child keeps all signals blocked and
// goes straight into the machine; it never returns here and never touches the parent's stack.
TEXT ·rawClone(SB),NOSPLIT,$0-40
	MOVQ	$2, DI	// SIG_SETMASK
	MOVQ	masks+24(FP), SI
	LEAQ	8(SI), DX
	MOVQ	$8, R10
	MOVL	$14, AX	// rt_sigprocmask
	SYSCALL
	MOVQ	args+0(FP), DI
	MOVQ	size+8(FP), SI
	MOVQ	header+16(FP), BX
	MOVL	$435, AX	// clone3
	SYSCALL
	TESTQ	AX, AX
	JNE	parent
	JMP	·machine(SB)
parent:
	MOVQ	AX, R12
	MOVQ	$2, DI
	MOVQ	masks+24(FP), SI
	ADDQ	$8, SI
	XORQ	DX, DX
	MOVQ	$8, R10
	MOVL	$14, AX
	SYSCALL
	MOVQ	R12, r+32(FP)
	RET
