package cli

import (
	"github.com/bulkhead-engine/bulkhead/internal/cli/runflags"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"
)

// updateCommand changes the limits of containers.
func updateCommand(p *program) *cobra.Command {
	var limits runflags.Limits
	c := &cobra.Command{
		Use: "update [OPTIONS] CONTAINER [CONTAINER...]", Short: "Change the limits of containers", Args: count(1, -1), ValidArgsFunction: p.completeContainers(nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			change, err := limits.Update()
			if err != nil {
				return &statusError{exitUsage, err}
			}
			if change == nil {
				return errdef.WithHint(errdef.Errorf(errdef.Invalid, "update: no flag says what is to be changed"), "see 'bulkhead update --help'")
			}
			api, err := p.engine()
			if err != nil {
				return err
			}
			return each(cmd.Context(), args, func(name string) error {
				var answer container.UpdateResponse
				if err := api.Post(cmd.Context(), containerPath(name, "update"), nil, change, &answer); err != nil {
					return err
				}
				for _, w := range answer.Warnings {
					p.warn(w)
				}
				return p.printOthers(name)
			})
		},
	}
	limits.Register(c.Flags())
	refuse(c.Flags(), "kernel-memory", "", refusedFlag{reason: "the kernel has dropped it (cgroup v2, and v1 since 5.4)"})
	p.completeWords(c, "restart", "no", "on-failure", "always", "unless-stopped")
	return c
}
