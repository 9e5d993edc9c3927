package command

import (
	"context"
	"os"
)

func startCommand() *command {
	return &command{
		name: "start", args: containerArg, summary: "run the program of a created container", min: 1, max: 1,
		run: func(ctx context.Context, inv *invocation) (int, error) {
			return 0, inv.rt.Start(ctx, inv.args[0], os.Getenv("NOTIFY_SOCKET"))
		},
	}
}
