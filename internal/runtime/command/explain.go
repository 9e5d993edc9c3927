package command

import (
	"context"
	"flag"
	"io"
)

func explainCommand() *command {
	var dir string
	var asJSON, profile bool
	return &command{
		name: "explain", args: "[" + containerArg + "]", summary: "print the system calls that would start a bundle, and why", min: 0, max: 1,
		text: "Nothing is made and nothing is run. Each line is a step: its number as errors have it, the call, and the reason.",
		flags: func(f *flag.FlagSet) {
			f.StringVar(&dir, "bundle", "", "`DIR` with config.json (default: the current directory)")
			alias(f, "b", "bundle")
			f.BoolVar(&asJSON, "json", false, "as JSON: {clone, files, steps}")
			f.BoolVar(&profile, "apparmor", false, "instead, the text of the AppArmor profile that is made for the bundle")
		},
		run: func(_ context.Context, inv *invocation) (int, error) {
			id := "container"
			if len(inv.args) > 0 {
				id = inv.args[0]
			}
			if profile {
				text, err := inv.rt.AppArmorProfile(dir)
				if err != nil {
					return 0, err
				}
				_, err = io.WriteString(inv.out, text)
				return 0, err
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
