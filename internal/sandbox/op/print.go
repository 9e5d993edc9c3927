package op

import (
	"strconv"
	"strings"
)

// String returns the argument as `explain` prints it.
func (a Arg) String() string {
	if a.Text != "" {
		return a.Text
	}
	switch a.Kind {
	case Ref:
		return "$" + a.Str
	case File:
		return "<" + a.Str + ">"
	case String:
		return quote(a.Str)
	case Bytes:
		if text := showBytes(a.Show, a.Str); text != "" {
			return text
		}
		return strconv.Itoa(len(a.Str)) + " bytes"
	case Memory:
		if a.Num != 0 {
			return "&" + a.Str + "+" + strconv.FormatUint(a.Num, 10)
		}
		return "&" + a.Str
	case List:
		parts := make([]string, len(*a.List))
		for i, s := range *a.List {
			parts[i] = quote(s)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return showNumber(a.Show, a.Num)
}

// quote is strconv.Quote with a bound, so that a megabyte of environment does not drown the plan.
func quote(s string) string {
	const most = 256
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "..."
	}
	return strconv.QuoteToASCII(s)
}

// CallText returns the call with its arguments, its result and its branches, on one line, without the reason.
func (o Op) CallText() string {
	var b strings.Builder
	if o.Label != "" {
		b.WriteString(o.Label)
		b.WriteString(": ")
	}
	b.WriteString(o.Call)
	b.WriteByte('(')
	for i, a := range o.Args {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.String())
		if i == 0 && o.NR == NRCheck && o.Mask != ^uint64(0) {
			b.WriteString(" & 0x" + strconv.FormatUint(o.Mask, 16))
		}
	}
	b.WriteByte(')')
	if o.Out != "" {
		b.WriteString(" -> $")
		b.WriteString(string(o.Out))
	}
	for _, on := range o.On {
		b.WriteString(" [")
		b.WriteString(on.text())
		b.WriteByte(']')
	}
	if o.Next != "" {
		b.WriteString(" goto ")
		b.WriteString(o.Next)
	}
	return b.String()
}

func (on On) text() string {
	what := ErrnoText(on.Errno)
	if on.Goto == "" {
		return what + ": go on"
	}
	return what + ": goto " + on.Goto
}

// String returns the op as a line of the plan: the call and, after a hash, the reason.
func (o Op) String() string {
	if o.Why == "" {
		return o.CallText()
	}
	return o.CallText() + "  # " + o.Why
}
