#include "textflag.h"

// The program for arm64; see code_amd64.s for what it is. The stack:
//	0 all signals, 8 the old mask, 16 a number, 24 a siginfo_t, 256 a path of 8 KiB; R25 is its lower end
// R19 is where the kernel has put argc, R20 the child, R21 the program's arguments, R22 its environment, R23 its name, R24 an error.

// func program()
TEXT ·program(SB),NOSPLIT|NOFRAME,$0-0
	MOVD	RSP, R19
	SUB	$8192, R19, R25	// RSP itself stays: no signal has a handler that would use what is below it
	SUB	$512, R25, R25
	MOVD	$-1, R0
	MOVD	R0, 0(R25)
	MOVD	0(R19), R1
	CMP	$3, R1
	BLT	usage
	MOVD	$2, R0	// SIG_SETMASK
	MOVD	R25, R1
	ADD	$8, R25, R2
	MOVD	$8, R3
	MOVD	$135, R8	// rt_sigprocmask
	SVC
	MOVD	$36, R0	// PR_SET_CHILD_SUBREAPER
	MOVD	$1, R1
	MOVD	$0, R2
	MOVD	$0, R3
	MOVD	$0, R4
	MOVD	$167, R8	// prctl
	SVC
	MOVD	$17, R0	// SIGCHLD
	MOVD	$0, R1
	MOVD	$0, R2
	MOVD	$0, R3
	MOVD	$0, R4
	MOVD	$220, R8	// clone
	SVC
	CBZ	R0, child
	CMP	$0, R0
	BLT	usage
	MOVD	R0, R20
wait:
	MOVD	R25, R0
	ADD	$24, R25, R1
	MOVD	$0, R2
	MOVD	$8, R3
	MOVD	$137, R8	// rt_sigtimedwait
	SVC
	CMP	$0, R0
	BLE	wait
	CMP	$17, R0
	BEQ	reap
	MOVD	R0, R1
	MOVD	R20, R0
	MOVD	$129, R8	// kill
	SVC
	B	wait
reap:
	MOVD	$-1, R0
	ADD	$16, R25, R1
	MOVD	$1, R2	// WNOHANG
	MOVD	$0, R3
	MOVD	$260, R8	// wait4
	SVC
	CMP	$0, R0
	BLE	wait
	CMP	R20, R0
	BNE	reap
	MOVWU	16(R25), R0
	AND	$0x7f, R0, R1
	CBNZ	R1, signaled
	LSR	$8, R0, R0
	AND	$0xff, R0, R0
	B	exit
signaled:
	ADD	$128, R1, R0
	B	exit
usage:
	MOVD	$125, R0
exit:
	MOVD	$94, R8	// exit_group
	SVC
	B	exit

child:
	MOVD	$0, R0
	MOVD	$0, R1
	MOVD	$154, R8	// setpgid
	SVC
	MOVD	$172, R8	// getpid
	SVC
	MOVD	R0, 16(R25)
	MOVD	$0, R0
	MOVD	$0x5410, R1	// TIOCSPGRP, if there is a terminal; SIGTTOU is blocked still
	ADD	$16, R25, R2
	MOVD	$29, R8	// ioctl
	SVC
	MOVD	$2, R0
	ADD	$8, R25, R1
	MOVD	$0, R2
	MOVD	$8, R3
	MOVD	$135, R8	// rt_sigprocmask
	SVC
	MOVD	0(R19), R1
	LSL	$3, R1, R1
	ADD	R1, R19, R22
	ADD	$16, R22, R22
	ADD	$24, R19, R21	// behind INIT and --
	MOVD	0(R21), R23
	MOVD	R23, R9
slash:
	MOVBU	0(R9), R10
	CBZ	R10, search
	ADD	$1, R9, R9
	CMP	$0x2f, R10
	BNE	slash
	MOVD	R23, R0
	MOVD	R21, R1
	MOVD	R22, R2
	MOVD	$221, R8	// execve
	SVC
	B	failed

search:
	MOVD	$-2, R24	// ENOENT
	MOVD	R22, R11
	MOVD	$0x48544150, R13	// PATH
variable:
	MOVD	0(R11), R9
	CBZ	R9, nowhere
	ADD	$8, R11, R11
	MOVWU	0(R9), R10
	CMP	R13, R10
	BNE	variable
	MOVBU	4(R9), R10
	CMP	$0x3d, R10
	BNE	variable
	ADD	$5, R9, R9
place:
	ADD	$256, R25, R12
	ADD	$4096, R12, R14
letter:
	MOVBU	0(R9), R10
	CBZ	R10, name
	CMP	$0x3a, R10
	BEQ	name
	ADD	$1, R9, R9
	CMP	R14, R12
	BHS	letter	// longer than a path can be: the kernel says so
	MOVB	R10, 0(R12)
	ADD	$1, R12, R12
	B	letter
name:
	MOVD	$0x2f, R10
	MOVB	R10, 0(R12)
	ADD	$1, R12, R12
	MOVD	R23, R11
	ADD	$4096, R14, R14
nameletter:
	MOVBU	0(R11), R10
	MOVB	R10, 0(R12)
	ADD	$1, R12, R12
	ADD	$1, R11, R11
	CMP	R14, R12
	BHS	nextplace
	CBNZ	R10, nameletter
	ADD	$256, R25, R0
	MOVD	R21, R1
	MOVD	R22, R2
	MOVD	$221, R8	// execve
	SVC
	CMN	$2, R0
	BEQ	nextplace
	CMN	$20, R0	// ENOTDIR
	BEQ	nextplace
	MOVD	R0, R24
nextplace:
	MOVBU	0(R9), R10
	CBZ	R10, nowhere
	ADD	$1, R9, R9
	B	place
nowhere:
	MOVD	R24, R0

failed:
	MOVD	$126, R20
	CMN	$2, R0
	BEQ	absent
	CMN	$20, R0
	BNE	tell
absent:
	MOVD	$127, R20
tell:
	MOVD	$0x6520746f6e6e6163, R10	// "cannot execute: "
	MOVD	R10, 256(R25)
	MOVD	$0x203a657475636578, R10
	MOVD	R10, 264(R25)
	ADD	$272, R25, R12
	ADD	$4096, R12, R14
tellletter:
	MOVBU	0(R23), R10
	CBZ	R10, told
	MOVB	R10, 0(R12)
	ADD	$1, R12, R12
	ADD	$1, R23, R23
	CMP	R14, R12
	BLO	tellletter
told:
	MOVD	$0x0a, R10
	MOVB	R10, 0(R12)
	ADD	$1, R12, R12
	ADD	$256, R25, R1
	SUB	R1, R12, R2
	MOVD	$2, R0
	MOVD	$64, R8	// write
	SVC
	MOVD	R20, R0
	B	exit
	// The end of the code: an undefined instruction and the mark.
	WORD	$0x00000000
	WORD	$0x4b4c5542
	WORD	$0x21444e45

// func text() *[1024]byte
TEXT ·text(SB),NOSPLIT,$0-8
	MOVD	$·program(SB), R0
	MOVD	R0, ret+0(FP)
	RET
