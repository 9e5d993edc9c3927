package cli

import (
	"net/url"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"
)

// containerCommands are what stands after `container`.
func containerCommands() []entry {
	return []entry{
		{[]string{"attach"}, attachCommand},
		{[]string{"commit"}, commitCommand},
		{[]string{"cp"}, copyCommand},
		{[]string{"create"}, func(p *program) *cobra.Command { return runCommand(p, false) }},
		{[]string{"diff"}, diffCommand},
		{[]string{"exec"}, execCommand},
		{[]string{"export"}, exportCommand},
		{[]string{"inspect"}, func(p *program) *cobra.Command { return inspectCommand(p, "container") }},
		{[]string{"kill"}, killCommand},
		{[]string{"logs"}, logsCommand},
		{[]string{"ls", "list", "ps"}, func(p *program) *cobra.Command { return psCommand(p, "ls") }},
		{[]string{"pause"}, pauseCommand},
		{[]string{"port"}, portCommand},
		{[]string{"prune"}, pruneContainersCommand},
		{[]string{"rename"}, renameCommand},
		{[]string{"restart"}, restartCommand},
		{[]string{"rm", "remove"}, rmCommand},
		{[]string{"run"}, func(p *program) *cobra.Command { return runCommand(p, true) }},
		{[]string{"start"}, startCommand},
		{[]string{"stats"}, statsCommand},
		{[]string{"stop"}, stopCommand},
		{[]string{"top"}, topCommand},
		{[]string{"unpause"}, unpauseCommand},
		{[]string{"update"}, updateCommand},
		{[]string{"wait"}, waitCommand},
	}
}

func containerCommand(p *program) *cobra.Command {
	return p.group("container COMMAND", "Manage containers", containerCommands())
}

// pruneContainersCommand removes containers that do not run.
func pruneContainersCommand(p *program) *cobra.Command {
	var force bool
	var match apiFilters
	c := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove all containers that do not run", Args: count(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !force {
				yes, err := p.confirm(cmd.Context(), "WARNING! This will remove all stopped containers.")
				if err != nil || !yes {
					return err
				}
			}
			q := url.Values{}
			if err := match.add(q); err != nil {
				return err
			}
			api, err := p.engine()
			if err != nil {
				return err
			}
			var done container.PruneReport
			if err := api.Post(cmd.Context(), "/containers/prune", q, nil, &done); err != nil {
				return err
			}
			if len(done.ContainersDeleted) > 0 {
				if err := p.print("Deleted Containers:\n" + strings.Join(done.ContainersDeleted, "\n") + "\n"); err != nil {
					return err
				}
			}
			return p.print("Total reclaimed space: " + format.Bytes(int64(done.SpaceReclaimed)))
		},
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	c.Flags().Var(&match, "filter", "only those of which this is true: label=, label!=, until=")
	return c
}
