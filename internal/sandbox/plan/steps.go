package plan

import "github.com/bulkhead-engine/bulkhead/internal/sandbox/op"

// A Step is one line of a plan, for who shows it otherwise than Text and JSON do.
type Step struct {
	Number int    // 0: made by the parent, before the list
	Call   string // with its arguments
	Why    string // its reason, or that of the step that it belongs to
	Hint   string // what it means when it fails, "": nothing in particular
}

// Steps returns the system calls in order: the clone, the descriptors that the parent opens, and the list. Marks where branches meet are left out.
func (p *Plan) Steps() []Step {
	out := []Step{{Call: "clone3(" + op.CloneText(p.CloneFlags) + ")", Why: "the container's first process, from a sealed program of its own"}}
	for i := range p.Files {
		f := &p.Files[i]
		out = append(out, Step{Call: "open <" + f.Name + "> " + printable(f.Path), Why: f.Kind.String()})
	}
	last := ""
	for i := range p.Ops {
		o := &p.Ops[i]
		last = reason(o, last)
		if visible(o) {
			out = append(out, Step{Number: i + 1, Call: o.CallText(), Why: printable(last), Hint: o.Hint})
		}
	}
	return out
}
