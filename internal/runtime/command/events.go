package command

import (
	"context"
	"flag"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

func eventsCommand() *command {
	var interval time.Duration
	var once bool
	return &command{
		name: "events", args: containerArg, summary: "print what a container uses, and when it runs out of memory, as JSON lines", min: 1, max: 1,
		flags: func(f *flag.FlagSet) {
			f.DurationVar(&interval, "interval", 5*time.Second, "`TIME` between two lines, such as 500ms or 1m")
			f.BoolVar(&once, "stats", false, "print one line and exit")
		},
		run: func(ctx context.Context, inv *invocation) (int, error) {
			if interval <= 0 {
				return 0, errdef.Errorf(errdef.Invalid, "interval %v: duration interval must be greater than 0", interval)
			}
			if once {
				event, err := inv.rt.Stats(inv.args[0])
				if err != nil {
					return 0, err
				}
				return 0, inv.printJSON(event, "")
			}
			return 0, inv.rt.Events(ctx, inv.args[0], interval, func(event []byte) error { return inv.printJSON(event, "") })
		},
	}
}
