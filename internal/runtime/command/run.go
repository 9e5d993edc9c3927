package command

import (
	"context"
	"flag"

	"github.com/bulkhead-engine/bulkhead/internal/runtime"
)

func runCommand() *command {
	o := &runtime.RunOptions{}
	return &command{
		name: "run", args: containerArg, summary: "create and start a container, and wait for its end", min: 1, max: 1,
		text: "The exit status is that of the container's program, or 128 and the number of the signal that ended it.",
		flags: func(f *flag.FlagSet) {
			createFlags(f, &o.CreateOptions)
			f.BoolVar(&o.Detach, "detach", false, "return when the program runs")
			alias(f, "d", "detach")
			f.BoolVar(&o.Keep, "keep", false, "do not delete the container when it has ended")
			f.BoolVar(&o.NoSubreaper, "no-subreaper", false, "leave the container's orphans to init")
		},
		run: func(ctx context.Context, inv *invocation) (int, error) {
			fromEnv(&o.CreateOptions)
			return inv.rt.Run(ctx, inv.args[0], o)
		},
	}
}
