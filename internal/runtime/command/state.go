package command

import (
	"context"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/ocijson"
	"github.com/bulkhead-engine/bulkhead/internal/runtime"
)

func stateCommand() *command {
	return &command{
		name: "state", args: containerArg, summary: "print the state of a container as JSON", min: 1, max: 1,
		run: func(_ context.Context, inv *invocation) (int, error) {
			s, err := inv.rt.State(inv.args[0])
			if err != nil {
				return 0, err
			}
			return 0, inv.printJSON(runtime.AppendState(nil, s), "  ")
		},
	}
}

// print writes a command's result. That it did not arrive is an error: a caller may have acted upon half of it.
func (inv *invocation) print(data []byte) error {
	if _, err := inv.out.Write(data); err != nil {
		return errdef.Errorf(errdef.Unavailable, "write the result: %w", err)
	}
	return nil
}

// printJSON prints a document, indented unless indent is "".
func (inv *invocation) printJSON(doc []byte, indent string) error {
	if indent != "" {
		doc = ocijson.AppendIndent(nil, doc, indent)
	}
	return inv.print(append(doc, '\n'))
}
