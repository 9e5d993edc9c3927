#include "textflag.h"

// func handler()
//
// See handler_amd64.s. The kernel calls it with the signal's number in R0 and the restorer in R30.
TEXT ·handler(SB),NOSPLIT|NOFRAME,$0-0
	SUB	$16, RSP
	MOVW	R0, 8(RSP)
	MOVWU	·pipeEnd(SB), R0
	ADD	$8, RSP, R1
	MOVD	$1, R2
	MOVD	$64, R8	// write
	SVC
	ADD	$16, RSP
	RET

// func restorer()
TEXT ·restorer(SB),NOSPLIT|NOFRAME,$0-0
	MOVD	$139, R8	// rt_sigreturn
	SVC
	BRK

// func handlerAddr() uintptr
TEXT ·handlerAddr(SB),NOSPLIT,$0-8
	MOVD	$·handler(SB), R0
	MOVD	R0, ret+0(FP)
	RET

// func restorerAddr() uintptr
TEXT ·restorerAddr(SB),NOSPLIT,$0-8
	MOVD	$·restorer(SB), R0
	MOVD	R0, ret+0(FP)
	RET
