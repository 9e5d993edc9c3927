#include "textflag.h"

// The machine for arm64; see machine_amd64.s for what it is. In: R19 is the address of the header.

// func machine()
TEXT ·machine(SB),NOSPLIT|NOFRAME,$0-0
	MOVD	0(R19), R20
	MOVD	R20, R21
	MOVD	$0, R23
step:
	MOVWU	4(R21), R22
	MOVD	8(R21), R0
	TBZ	$0, R22, a1
	MOVD	(R0), R0
a1:
	MOVD	16(R21), R1
	TBZ	$1, R22, a2
	MOVD	(R1), R1
a2:
	MOVD	24(R21), R2
	TBZ	$2, R22, a3
	MOVD	(R2), R2
a3:
	MOVD	32(R21), R3
	TBZ	$3, R22, a4
	MOVD	(R3), R3
a4:
	MOVD	40(R21), R4
	TBZ	$4, R22, a5
	MOVD	(R4), R4
a5:
	MOVD	48(R21), R5
	TBZ	$5, R22, a6
	MOVD	(R5), R5
a6:
	MOVWU	0(R21), R8
	MOVD	$0xfffffffd, R9
	CMP	R9, R8
	BHS	pseudo
	SVC
	MOVD	$-4095, R9
	CMP	R9, R0
	BHS	failed
	MOVD	56(R21), R9
	CBZ	R9, next
	MOVD	R0, (R9)
next:
	MOVWU	80(R21), R9
jump:
	MOVD	$0, R23
	MOVD	$96, R10
	MUL	R10, R9, R9
	ADD	R20, R9, R21
	B	step

failed:
	NEG	R0, R0
	CMP	$11, R0	// EAGAIN of openat2(2): see machine_amd64.s
	BNE	decide
	MOVD	$437, R9
	CMP	R9, R8
	BNE	decide
	ADD	$1, R23, R23
	CMP	$128, R23
	BLO	step
decide:
	MOVD	$0xffff, R10
	MOVWU	64(R21), R9
	CBZ	R9, report
	CMP	R0, R9
	BEQ	takeA
	CMP	R10, R9
	BEQ	takeA
	MOVWU	72(R21), R9
	CBZ	R9, report
	CMP	R0, R9
	BEQ	takeB
	CMP	R10, R9
	BEQ	takeB
report:
	MOVWU	84(R21), R9
	MOVD	R9, 16(R19)
	MOVD	R0, 24(R19)
	MOVD	32(R19), R0
	ADD	$8, R19, R1
	MOVD	$24, R2
	MOVD	$64, R8	// write
	SVC
die:
	MOVD	$126, R0
	MOVD	$94, R8	// exit_group
	SVC
	B	die
takeA:
	MOVWU	68(R21), R9
	B	jump
takeB:
	MOVWU	76(R21), R9
	B	jump

pseudo:
	MOVD	$0xfffffffe, R9
	CMP	R9, R8
	BEQ	copy
	BLO	copy32
	MOVD	(R0), R0	// check
	MOVD	88(R21), R9
	AND	R9, R0, R0
	CMP	R1, R0
	BEQ	next
	MOVD	R2, R0
	B	decide
copy:
	MOVD	(R0), R2
	MOVD	R2, (R1)
	B	next
copy32:
	MOVWU	(R0), R2
	MOVW	R2, (R1)
	B	next
	WORD	$0x00000000	// udf #0
	WORD	$0x4b4c5542
	WORD	$0x21444e45

// func machineText() *[1024]byte
TEXT ·machineText(SB),NOSPLIT,$0-8
	MOVD	$·machine(SB), R0
	MOVD	R0, ret+0(FP)
	RET

// func rawClone(args *cloneArgs, size uintptr, header uintptr, masks *[2]uint64) (r uintptr)
TEXT ·rawClone(SB),NOSPLIT,$0-40
	MOVD	$2, R0	// SIG_SETMASK
	MOVD	masks+24(FP), R1
	ADD	$8, R1, R2
	MOVD	$8, R3
	MOVD	$135, R8	// rt_sigprocmask
	SVC
	MOVD	args+0(FP), R0
	MOVD	size+8(FP), R1
	MOVD	header+16(FP), R19
	MOVD	$435, R8	// clone3
	SVC
	CBNZ	R0, parent
	B	·machine(SB)
parent:
	MOVD	R0, R9
	MOVD	$2, R0
	MOVD	masks+24(FP), R1
	ADD	$8, R1, R1
	MOVD	$0, R2
	MOVD	$8, R3
	MOVD	$135, R8
	SVC
	MOVD	R9, r+32(FP)
	RET
