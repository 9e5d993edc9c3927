package seccomp

import (
	"fmt"
	"strings"
)

// Disassemble returns a program as text, one instruction a line: its index, what it does, and for a test the indexes it goes to.
func Disassemble(program []Insn) string {
	var b strings.Builder
	for at, i := range program {
		fmt.Fprintf(&b, "%4d  %s\n", at, i.text(at))
	}
	return b.String()
}

// comparison returns the operator of a test, "" for another instruction.
func (i Insn) comparison() string {
	switch i.Code {
	case codeEqual:
		return "=="
	case codeAbove:
		return ">"
	case codeFrom:
		return ">="
	case codeBits:
		return "&"
	}
	return ""
}

func (i Insn) text(at int) string {
	switch i.Code {
	case codeLoad:
		return "load " + fieldName(i.K)
	case codeAnd:
		return fmt.Sprintf("and  %#x", i.K)
	case codeJump:
		return fmt.Sprintf("goto %d", at+1+int(i.K))
	case codeRet:
		return "ret  " + ActionName(i.K)
	}
	if op := i.comparison(); op != "" {
		return fmt.Sprintf("if   %s %#x goto %d else %d", op, i.K, at+1+int(i.Jt), at+1+int(i.Jf))
	}
	return fmt.Sprintf("code %#x jt %d jf %d k %#x", i.Code, i.Jt, i.Jf, i.K)
}

func fieldName(offset uint32) string {
	switch word := offset / 4; {
	case offset%4 != 0 || offset >= dataSize:
		return fmt.Sprintf("[%d]", offset)
	case word == wordNR:
		return "nr"
	case word == wordArch:
		return "arch"
	case word < wordArgs:
		return fmt.Sprintf("ip.%d", word%2)
	default:
		return fmt.Sprintf("arg%d.%d", (word-wordArgs)/2, word%2)
	}
}

// ActionName returns what a filter returned in words: "allow", "errno 1", "kill thread" and so on.
func ActionName(ret uint32) string {
	data := ret & 0xffff
	switch ret & retActionMask {
	case retAllow:
		return "allow"
	case retErrno:
		return fmt.Sprintf("errno %d", data)
	case retTrace:
		return fmt.Sprintf("trace %d", data)
	case retTrap:
		return "trap"
	case retLog:
		return "log"
	case retNotify:
		return "notify"
	case retKillProcess:
		return "kill process"
	case retKillThread:
		return "kill thread"
	}
	return fmt.Sprintf("%#x", ret)
}
