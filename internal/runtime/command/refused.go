package command

import (
	"context"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// refusedCommand is a command of runc's that is not here, so that whoever calls it is told why.
func refusedCommand(name string) *command {
	return &command{
		name: name, args: "...", summary: "not supported", min: 0, max: -1, hidden: true, raw: true,
		run: func(context.Context, *invocation) (int, error) {
			err := errdef.Errorf(errdef.Unsupported, "%s: is not supported: a process image that CRIU writes holds the container's memory, and one that it "+
				"reads decides what runs with which rights, past every check of this runtime", name)
			return 0, errdef.WithHint(err, "pause and resume keep a container on this host; runc has checkpoint and restore")
		},
	}
}
