package cli

import (
	"errors"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/spf13/cobra"
)

func removeCommand(p *program, name string) *cobra.Command {
	var o image.RemoveOptions
	c := &cobra.Command{
		Use: name + " [OPTIONS] IMAGE [IMAGE...]", Short: "Remove images", Args: count(1, -1), ValidArgsFunction: p.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := p.images(nil)
			if err != nil {
				return err
			}
			return each(cmd.Context(), args, func(arg string) error {
				r, err := s.Remove(cmd.Context(), arg, o)
				if o.Force && errdef.Is(err, errdef.NotFound) { // as Docker: said, and no error
					p.say(err)
					return nil
				}
				return errors.Join(p.writeRemoved(r, "Untagged: ", "Deleted: "), err)
			})
		},
	}
	f := c.Flags()
	f.BoolVarP(&o.Force, "force", "f", false, "remove an image with all its names; an image that is not here is no error")
	f.BoolVar(&o.NoPrune, "no-prune", false, "leave the content for `image prune`")
	refuse(f, "platform", "", refusedFlag{reason: "an image is removed with all its platforms", hint: "bulkhead rmi IMAGE, and pull --platform what is to stay"})
	return c
}

// writeRemoved writes what a removal took, names as people write them.
func (p *program) writeRemoved(r image.Removed, untagged, deleted string) error {
	for _, n := range r.Untagged {
		if ref, err := reference.Parse(n); err == nil {
			n = ref.Familiar()
		}
		if err := p.print(untagged + n); err != nil {
			return err
		}
	}
	for _, d := range r.Deleted {
		if err := p.print(deleted + d.String()); err != nil {
			return err
		}
	}
	return nil
}
