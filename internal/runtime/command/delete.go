package command

import (
	"context"
	"flag"
)

func deleteCommand() *command {
	var force bool
	return &command{
		name: "delete", args: containerArg, summary: "remove a container that has stopped, or was never started", min: 1, max: 1,
		flags: func(f *flag.FlagSet) {
			f.BoolVar(&force, "force", false, "kill it first; no error if it does not exist")
			alias(f, "f", "force")
		},
		run: func(ctx context.Context, inv *invocation) (int, error) {
			return 0, inv.rt.Delete(ctx, inv.args[0], force)
		},
	}
}
