#include "textflag.h"

// The whole program; doc.go says what it does. It is position independent, calls nothing, and has no data but its stack:
//	0 all signals, 8 the old mask, 16 a number, 24 a siginfo_t, 256 a path of 8 KiB
// BX is where the kernel has put argc, R12 the child, R13 the program's arguments, R15 its environment, R8 its name.

// func program()
TEXT ·program(SB),NOSPLIT|NOFRAME,$0-0
	MOVQ	SP, BX
	SUBQ	$8704, SP
	MOVQ	$-1, AX
	MOVQ	AX, 0(SP)
	CMPQ	0(BX), $3
	JLT	usage
	MOVL	$2, DI	// SIG_SETMASK
	LEAQ	0(SP), SI
	LEAQ	8(SP), DX
	MOVL	$8, R10
	MOVL	$14, AX	// rt_sigprocmask
	SYSCALL
	MOVL	$36, DI	// PR_SET_CHILD_SUBREAPER, for a container with another's pid namespace
	MOVL	$1, SI
	XORL	DX, DX
	XORL	R10, R10
	XORL	R8, R8
	MOVL	$157, AX	// prctl
	SYSCALL
	MOVL	$17, DI	// SIGCHLD
	XORL	SI, SI
	XORL	DX, DX
	XORL	R10, R10
	XORL	R8, R8
	MOVL	$56, AX	// clone
	SYSCALL
	TESTQ	AX, AX
	JEQ	child
	JLT	usage
	MOVQ	AX, R12
wait:
	LEAQ	0(SP), DI
	LEAQ	24(SP), SI
	XORL	DX, DX
	MOVL	$8, R10
	MOVL	$128, AX	// rt_sigtimedwait
	SYSCALL
	TESTQ	AX, AX
	JLE	wait
	CMPQ	AX, $17
	JEQ	reap
	MOVQ	R12, DI
	MOVQ	AX, SI
	MOVL	$62, AX	// kill
	SYSCALL
	JMP	wait
reap:
	MOVQ	$-1, DI
	LEAQ	16(SP), SI
	MOVL	$1, DX	// WNOHANG
	XORL	R10, R10
	MOVL	$61, AX	// wait4
	SYSCALL
	TESTQ	AX, AX
	JLE	wait
	CMPQ	AX, R12
	JNE	reap
	MOVL	16(SP), DI
	MOVL	DI, AX
	ANDL	$0x7f, AX
	JNE	signaled
	SHRL	$8, DI
	ANDL	$0xff, DI
	JMP	exit
signaled:
	LEAL	128(AX), DI
	JMP	exit
usage:
	MOVL	$125, DI
exit:
	MOVL	$231, AX	// exit_group
	SYSCALL
	JMP	exit

child:
	XORL	DI, DI
	XORL	SI, SI
	MOVL	$109, AX	// setpgid
	SYSCALL
	MOVL	$39, AX	// getpid
	SYSCALL
	MOVQ	AX, 16(SP)
	XORL	DI, DI
	MOVL	$0x5410, SI	// TIOCSPGRP, if there is a terminal; SIGTTOU is blocked still
	LEAQ	16(SP), DX
	MOVL	$16, AX	// ioctl
	SYSCALL
	MOVL	$2, DI
	LEAQ	8(SP), SI
	XORL	DX, DX
	MOVL	$8, R10
	MOVL	$14, AX	// rt_sigprocmask
	SYSCALL
	MOVQ	0(BX), CX
	LEAQ	16(BX)(CX*8), R15
	LEAQ	24(BX), R13	// behind INIT and --
	MOVQ	0(R13), R8
	MOVQ	R8, SI
slash:
	MOVB	0(SI), AX
	TESTB	AX, AX
	JEQ	search
	INCQ	SI
	CMPB	AX, $0x2f
	JNE	slash
	MOVQ	R8, DI
	MOVQ	R13, SI
	MOVQ	R15, DX
	MOVL	$59, AX	// execve
	SYSCALL
	JMP	failed

search:
	MOVQ	$-2, R14	// ENOENT
	MOVQ	R15, R9
variable:
	MOVQ	0(R9), SI
	TESTQ	SI, SI
	JEQ	nowhere
	ADDQ	$8, R9
	CMPL	0(SI), $0x48544150	// PATH
	JNE	variable
	CMPB	4(SI), $0x3d
	JNE	variable
	ADDQ	$5, SI
place:
	LEAQ	256(SP), DI
	LEAQ	4352(SP), DX
letter:
	MOVB	0(SI), AX
	TESTB	AX, AX
	JEQ	name
	CMPB	AX, $0x3a
	JEQ	name
	INCQ	SI
	CMPQ	DI, DX
	JHS	letter	// longer than a path can be: the kernel says so
	MOVB	AX, 0(DI)
	INCQ	DI
	JMP	letter
name:
	MOVB	$0x2f, 0(DI)
	INCQ	DI
	MOVQ	R8, R9
	LEAQ	8448(SP), DX
nameletter:
	MOVB	0(R9), AX
	MOVB	AX, 0(DI)
	INCQ	DI
	INCQ	R9
	CMPQ	DI, DX
	JHS	nextplace
	TESTB	AX, AX
	JNE	nameletter
	MOVQ	SI, R9
	LEAQ	256(SP), DI
	MOVQ	R13, SI
	MOVQ	R15, DX
	MOVL	$59, AX	// execve
	SYSCALL
	MOVQ	R9, SI
	CMPQ	AX, $-2
	JEQ	nextplace
	CMPQ	AX, $-20	// ENOTDIR
	JEQ	nextplace
	MOVQ	AX, R14
nextplace:
	CMPB	0(SI), $0
	JEQ	nowhere
	INCQ	SI
	JMP	place
nowhere:
	MOVQ	R14, AX

failed:
	MOVL	$126, R12
	CMPQ	AX, $-2
	JEQ	absent
	CMPQ	AX, $-20
	JNE	tell
absent:
	MOVL	$127, R12
tell:
	MOVQ	$0x6520746f6e6e6163, AX	// "cannot execute: "
	MOVQ	AX, 256(SP)
	MOVQ	$0x203a657475636578, AX
	MOVQ	AX, 264(SP)
	LEAQ	272(SP), DI
	LEAQ	4096(SP), DX
tellletter:
	MOVB	0(R8), AX
	TESTB	AX, AX
	JEQ	told
	MOVB	AX, 0(DI)
	INCQ	DI
	INCQ	R8
	CMPQ	DI, DX
	JLO	tellletter
told:
	MOVB	$0x0a, 0(DI)
	INCQ	DI
	LEAQ	256(SP), SI
	MOVQ	DI, DX
	SUBQ	SI, DX
	MOVL	$2, DI
	MOVL	$1, AX	// write
	SYSCALL
	MOVQ	R12, DI
	JMP	exit
	// The end of the code: an undefined instruction and a mark.
	BYTE	$0x0f; BYTE $0x0b
	BYTE	$0x42; BYTE $0x55; BYTE $0x4c; BYTE $0x4b
	BYTE	$0x45; BYTE $0x4e; BYTE $0x44; BYTE $0x21

// func text() *[1024]byte
TEXT ·text(SB),NOSPLIT,$0-8
	LEAQ	·program(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
