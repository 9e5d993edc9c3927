#include "textflag.h"

// func handler()
//
// The kernel calls it with the signal's number in DI, on the thread's signal stack, and the restorer as the return address. It writes the
// number, one byte, to the pipe. All registers are restored by rt_sigreturn.
TEXT ·handler(SB),NOSPLIT|NOFRAME,$0-0
	SUBQ	$16, SP
	MOVL	DI, 8(SP)
	MOVL	·pipeEnd(SB), DI
	LEAQ	8(SP), SI
	MOVL	$1, DX
	MOVL	$1, AX	// write
	SYSCALL
	ADDQ	$16, SP
	RET

// func restorer()
TEXT ·restorer(SB),NOSPLIT|NOFRAME,$0-0
	MOVL	$15, AX	// rt_sigreturn
	SYSCALL
	INT	$3

// func handlerAddr() uintptr
TEXT ·handlerAddr(SB),NOSPLIT,$0-8
	LEAQ	·handler(SB), AX
	MOVQ	AX, ret+0(FP)
	RET

// func restorerAddr() uintptr
TEXT ·restorerAddr(SB),NOSPLIT,$0-8
	LEAQ	·restorer(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
