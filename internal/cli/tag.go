package cli

import (
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/store"
	"github.com/spf13/cobra"
)

func tagCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "tag [OPTIONS] SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", Short: "Give an image one more name", Args: count(2, 2), ValidArgsFunction: p.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := p.images(nil)
			if err != nil {
				return err
			}
			return s.Tag(cmd.Context(), args[0], args[1])
		},
	}
}

// tagsCommand shows what a name has stood for.
func tagsCommand(p *program) *cobra.Command {
	var (
		text    string
		noTrunc bool
	)
	c := &cobra.Command{
		Use: "tags [OPTIONS] NAME[:TAG]", Short: "Show what a name has stood for, and since when", Args: count(1, 1), ValidArgsFunction: p.completeImages,
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := p.images(nil)
			if err != nil {
				return err
			}
			events, err := tagEvents(s, args[0])
			if err != nil {
				return err
			}
			var rows []format.Row
			for _, e := range events {
				rows = append(rows, format.Row{
					"When": format.Ago(e.When.Unix()), "WhenAt": e.When.Format(time.RFC3339), "Action": e.Action, "ID": shortID(e.Digest.String(), noTrunc),
					"Digest": e.Digest.String(), "Source": e.Source,
				})
			}
			return tagsList.Write(p.stdout(), text, rows)
		},
	}
	c.Flags().StringVar(&text, "format", "", "table, json, or a template")
	c.Flags().BoolVar(&noTrunc, "no-trunc", true, "print whole digests")
	return c
}

var tagsList = format.List{
	Columns: []format.Column{{Field: "When", Header: "WHEN"}, {Field: "Action", Header: "ACTION"}, {Field: "ID", Header: "DIGEST"}, {Field: "Source", Header: "FROM"}},
	Extra:   []format.Column{{Field: "WhenAt", Header: "WHEN"}, {Field: "Digest", Header: "DIGEST"}},
}

// tagEvents answers what happened to a name, the oldest first.
func tagEvents(s *image.Service, name string) ([]store.Event, error) {
	ref, err := reference.Parse(name)
	if err != nil {
		return nil, err
	}
	events, err := s.Store().History(ref.String())
	if err == nil && len(events) == 0 {
		err = errdef.WithHint(errdef.Errorf(errdef.NotFound, "tags %q: nothing has ever had this name here", name), "bulkhead images")
	}
	return events, err
}
