package command

import (
	"context"
	"flag"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/runtime"
)

func killCommand() *command {
	var all bool
	return &command{
		name: "kill", args: containerArg + " [SIGNAL]", summary: "send a signal to a container's first process (default TERM)", min: 1, max: 2,
		text: "SIGNAL is a number or a name, with or without SIG. KILL ends all processes of the container.",
		flags: func(f *flag.FlagSet) {
			f.BoolVar(&all, "all", false, "no error if the container does not run (obsolete)")
			alias(f, "a", "all")
		},
		run: func(ctx context.Context, inv *invocation) (int, error) {
			text := "TERM"
			if len(inv.args) > 1 {
				text = inv.args[1]
			}
			sig, err := runtime.ParseSignal(text)
			if err != nil {
				return 0, err
			}
			err = inv.rt.Kill(ctx, inv.args[0], sig)
			if all && errdef.Is(err, errdef.Conflict) {
				err = nil
			}
			return 0, err
		},
	}
}
