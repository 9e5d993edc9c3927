package command

import "context"

func pauseCommand() *command {
	return &command{
		name: "pause", args: containerArg, summary: "freeze the processes of a container", min: 1, max: 1,
		run: func(ctx context.Context, inv *invocation) (int, error) { return 0, inv.rt.Pause(ctx, inv.args[0]) },
	}
}

func resumeCommand() *command {
	return &command{
		name: "resume", args: containerArg, summary: "let a paused container go on", min: 1, max: 1,
		run: func(ctx context.Context, inv *invocation) (int, error) { return 0, inv.rt.Resume(ctx, inv.args[0]) },
	}
}
