package plan

import (
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bulkhead-engine/bulkhead/internal/ocijson"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
)

// reason returns why a step is there: its own reason, or that of the step it belongs to. Steps without one of their own are parts of
// what was begun before them, such as the parameters of a file system.
func reason(o *op.Op, last string) string {
	if o.Why != "" {
		return o.Why
	}
	return last
}

// visible reports whether a step does anything: marks where branches meet do not, and are printed with the step that follows.
func visible(o *op.Op) bool {
	return !(o.NR == op.NRCheck && o.Label != "" && o.Why == "" && o.Args[0].Str == "zero" && o.Args[1].Num == 0)
}

// Text writes the plan as one line for each step: its number, the call, and after # the reason.
func (p *Plan) Text(w io.Writer) error {
	var b []byte
	b = append(b, "clone3 "...)
	b = append(b, op.CloneText(p.CloneFlags)...)
	b = append(b, "  # the container's first process, from a sealed program of its own\n"...)
	for i := range p.Files {
		f := &p.Files[i]
		b = append(b, "open   <"...)
		b = append(b, f.Name...)
		b = append(b, "> "...)
		b = append(b, printable(f.Path)...)
		b = append(b, "  # "...)
		b = append(b, f.Kind.String()...)
		b = append(b, '\n')
	}
	last := ""
	for i := range p.Ops {
		o := &p.Ops[i]
		last = reason(o, last)
		number := strconv.Itoa(i + 1)
		for range 6 - len(number) {
			b = append(b, ' ')
		}
		b = append(b, number...)
		b = append(b, ' ')
		if !visible(o) {
			b = append(append(b, o.Label...), ":\n"...)
			continue
		}
		b = append(b, o.CallText()...)
		b = append(b, "  # "...)
		b = append(b, printable(last)...)
		b = append(b, '\n')
	}
	_, err := w.Write(b)
	return err
}

// printable replaces what could speak to a terminal: paths of a configuration stand in reasons.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}

// JSON writes the plan as one object: clone (flags), files (name, kind, path) and steps (step, call, args, out, on, label, next, why, hint).
func (p *Plan) JSON(w io.Writer) error {
	b := append([]byte(nil), `{"clone":`...)
	b = ocijson.AppendString(b, op.CloneText(p.CloneFlags))
	b = append(b, `,"files":[`...)
	for i := range p.Files {
		f := &p.Files[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"name":`...)
		b = ocijson.AppendString(b, f.Name)
		b = append(b, `,"kind":`...)
		b = ocijson.AppendString(b, f.Kind.String())
		b = append(b, `,"path":`...)
		b = ocijson.AppendString(b, f.Path)
		b = append(b, '}')
	}
	b = append(b, `],"steps":[`...)
	last := ""
	for i := range p.Ops {
		if i > 0 {
			b = append(b, ',')
		}
		last = reason(&p.Ops[i], last)
		b = appendStep(b, i+1, &p.Ops[i], last)
	}
	_, err := w.Write(append(b, "]}\n"...))
	return err
}

func appendStep(b []byte, n int, o *op.Op, why string) []byte {
	b = append(b, `{"step":`...)
	b = strconv.AppendInt(b, int64(n), 10)
	b = append(b, `,"call":`...)
	b = ocijson.AppendString(b, o.Call)
	b = append(b, `,"args":[`...)
	for i := range o.Args {
		if i > 0 {
			b = append(b, ',')
		}
		b = ocijson.AppendString(b, o.Args[i].String())
	}
	b = append(b, ']')
	for _, f := range [...]struct{ key, value string }{
		{"out", string(o.Out)}, {"label", o.Label}, {"next", o.Next}, {"why", why}, {"hint", o.Hint},
	} {
		if f.value != "" {
			b = append(append(append(b, `,"`...), f.key...), `":`...)
			b = ocijson.AppendString(b, f.value)
		}
	}
	if len(o.On) > 0 {
		b = append(b, `,"on":[`...)
		for i, on := range o.On {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, `{"errno":`...)
			b = ocijson.AppendString(b, op.ErrnoText(on.Errno))
			b = append(b, `,"goto":`...)
			b = ocijson.AppendString(b, on.Goto)
			b = append(b, '}')
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

var kindNames = [...]string{
	HostProc: "the host's procfs", Namespace: "a namespace to join", Tree: "a copy of a mount", TreeIDMap: "a copy of a mount with mapped ids",
	CgroupTasks: "the tasks file of a cgroup", StartFIFO: "the pipe that start writes to", ReplyFIFO: "the pipe that start reads from",
	FlagPage: "a page shared with the runtime", HookState: "the state for a hook", InitPidfd: "the container's first process", InitRoot: "the container's root directory",
}

// String returns what the descriptor is, in words.
func (k FileKind) String() string { return kindNames[k] }
