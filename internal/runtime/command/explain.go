package command

import (
	"context"
	"flag"
)

func explainCommand() *command {
	var dir string
	var asJSON bool
	return &command{
		name: "explain", args: "[" + containerArg + "]", summary: "print the system calls that would start a bundle, and why", min: 0, max: 1,
		text: "Nothing is made and nothing is run. Each line is a step: its number as errors have it, the call, and the reason.",
		flags: func(f *flag.FlagSet) {
			f.StringVar(&dir, "bundle", "", "`DIR` with config.json (default: the current directory)")
			alias(f, "b", "bundle")
			f.BoolVar(&asJSON, "json", false, "as JSON: {clone, files, steps}")
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
				return 0, p.JSON(inv.out)
			}
			return 0, p.Text(inv.out)
		},
	}
}
