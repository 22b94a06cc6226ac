#include "textflag.h"

// func plainRun(b []byte) int
//
// Sixteen bytes at a time, with SSE2, which every amd64 has. 0x20 > c as signed bytes holds for control
// characters and for every byte above 0x7f alike.
TEXT ·plainRun(SB), NOSPLIT, $0-32
	MOVQ b_base+0(FP), SI
	MOVQ b_len+8(FP), CX
	XORQ AX, AX

	MOVQ       $0x2222222222222222, DX // '"'
	MOVQ       DX, X1
	PUNPCKLQDQ X1, X1
	MOVQ       $0x5c5c5c5c5c5c5c5c, DX // '\\'
	MOVQ       DX, X2
	PUNPCKLQDQ X2, X2
	MOVQ       $0x2020202020202020, DX // the first that is no control character
	MOVQ       DX, X3
	PUNPCKLQDQ X3, X3

	SUBQ $32, CX // the last index at which two blocks fit

two:
	CMPQ     AX, CX
	JGT      one
	MOVOU    (SI)(AX*1), X4
	MOVOU    16(SI)(AX*1), X5
	MOVO     X1, X6
	MOVO     X1, X7
	MOVO     X2, X8
	MOVO     X2, X9
	MOVO     X3, X10
	MOVO     X3, X11
	PCMPEQB  X4, X6
	PCMPEQB  X5, X7
	PCMPEQB  X4, X8
	PCMPEQB  X5, X9
	PCMPGTB  X4, X10
	PCMPGTB  X5, X11
	POR      X8, X6
	POR      X9, X7
	POR      X10, X6
	POR      X11, X7
	PMOVMSKB X6, DX
	PMOVMSKB X7, BX
	SHLQ     $16, BX
	ORQ      BX, DX
	JNZ      hit
	ADDQ     $32, AX
	JMP      two

one:
	ADDQ     $16, CX
	CMPQ     AX, CX
	JGT      done
	MOVOU    (SI)(AX*1), X4
	MOVO     X1, X6
	MOVO     X2, X8
	MOVO     X3, X10
	PCMPEQB  X4, X6
	PCMPEQB  X4, X8
	PCMPGTB  X4, X10
	POR      X8, X6
	POR      X10, X6
	PMOVMSKB X6, DX
	TESTQ    DX, DX
	JNZ      hit
	ADDQ     $16, AX
	JMP      done

hit:
	BSFQ DX, DX
	ADDQ DX, AX

done:
	MOVQ AX, ret+24(FP)
	RET
