package cli

import (
	"net/url"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/spf13/cobra"
)

func tagCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "tag [OPTIONS] SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", Short: "Give an image one more name", Args: count(2, 2), ValidArgsFunction: p.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.engine()
			if err != nil {
				return err
			}
			return c.Post(cmd.Context(), imagePath(args[0], "/tag"), url.Values{"repo": {args[1]}}, nil, nil)
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
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.engine()
			if err != nil {
				return err
			}
			var events []option.NameEvent
			if err := c.Get(cmd.Context(), ownImages+"/"+escape(args[0])+"/names", nil, &events); err != nil {
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

// ownImages is where the requests about images are that are ours alone.
const ownImages = "/bulkhead/images"

var tagsList = format.List{
	Columns: []format.Column{{Field: "When", Header: "WHEN"}, {Field: "Action", Header: "ACTION"}, {Field: "ID", Header: "DIGEST"}, {Field: "Source", Header: "FROM"}},
	Extra:   []format.Column{{Field: "WhenAt", Header: "WHEN"}, {Field: "Digest", Header: "DIGEST"}},
}
