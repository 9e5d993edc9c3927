package command

import (
	"context"
	"flag"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/ocijson"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
)

func explainCommand() *command {
	var dir string
	var asJSON bool
	return &command{
		name: "explain", args: "[" + containerArg + "]", summary: "print the system calls that would start a bundle, and why", min: 0, max: 1,
		text: "Nothing is made and nothing is run.",
		flags: func(f *flag.FlagSet) {
			f.StringVar(&dir, "bundle", "", "`DIR` with config.json (default: the current directory)")
			alias(f, "b", "bundle")
			f.BoolVar(&asJSON, "json", false, "as a JSON array")
		},
		run: func(_ context.Context, inv *invocation) (int, error) {
			id := "container"
			if len(inv.args) > 0 {
				id = inv.args[0]
			}
			p, err := inv.rt.Explain(id, dir)
			if err != nil {
				return 0, err
			}
			if asJSON {
				return 0, inv.printJSON(appendOps(p.Ops), "  ")
			}
			return 0, inv.print([]byte(opsText(p.Ops)))
		},
	}
}

// opsText numbers the steps as errors do, and puts the reason under each.
func opsText(ops []op.Op) string {
	var b strings.Builder
	width := len(strconv.Itoa(len(ops)))
	for i := range ops {
		n := strconv.Itoa(i + 1)
		b.WriteString(strings.Repeat(" ", width-len(n)) + n + "  " + ops[i].CallText() + "\n")
		if ops[i].Why != "" {
			b.WriteString(strings.Repeat(" ", width+4) + "# " + printable(ops[i].Why) + "\n")
		}
	}
	return b.String()
}

// appendOps makes a JSON array of the steps.
func appendOps(ops []op.Op) []byte {
	out := []byte{'['}
	for i := range ops {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, `{"step":`...)
		out = strconv.AppendInt(out, int64(i+1), 10)
		out = ocijson.AppendString(append(out, `,"call":`...), ops[i].Call)
		out = ocijson.AppendString(append(out, `,"text":`...), ops[i].CallText())
		out = ocijson.AppendString(append(out, `,"why":`...), ops[i].Why)
		out = append(out, '}')
	}
	return append(out, ']')
}
