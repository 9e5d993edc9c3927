package cli

import (
	"net/url"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/image"
	"github.com/spf13/cobra"
)

func removeCommand(p *program, name string) *cobra.Command {
	var force, noPrune bool
	c := &cobra.Command{
		Use: name + " [OPTIONS] IMAGE [IMAGE...]", Short: "Remove images", Args: count(1, -1), ValidArgsFunction: p.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.engine()
			if err != nil {
				return err
			}
			q := url.Values{}
			if force {
				q.Set("force", "1")
			}
			if noPrune {
				q.Set("noprune", "1")
			}
			return each(cmd.Context(), args, func(arg string) error {
				var removed []image.DeleteResponse
				err := c.Delete(cmd.Context(), imagePath(arg, ""), q, &removed)
				if force && errdef.Is(err, errdef.NotFound) { // as Docker: said, and no error
					p.say(err)
					return nil
				}
				if err != nil {
					return err
				}
				return p.writeRemoved(removed, "Untagged: ", "Deleted: ")
			})
		},
	}
	f := c.Flags()
	f.BoolVarP(&force, "force", "f", false, "remove an image with all its names; an image that is not here is no error")
	f.BoolVar(&noPrune, "no-prune", false, "leave the content for `image prune`")
	refuse(f, "platform", "", refusedFlag{reason: "an image is removed with all its platforms", hint: "bulkhead rmi IMAGE, and pull --platform what is to stay"})
	return c
}

// writeRemoved writes what a removal took.
func (p *program) writeRemoved(removed []image.DeleteResponse, untagged, deleted string) error {
	for _, r := range removed {
		line := untagged + r.Untagged
		if r.Deleted != "" {
			line = deleted + r.Deleted
		}
		if err := p.printOthers(line); err != nil {
			return err
		}
	}
	return nil
}
