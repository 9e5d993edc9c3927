package cli

import (
	"net/url"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/spf13/cobra"
)

var imageDiffList = format.List{Columns: []format.Column{{Field: "Kind", Header: "CHANGE"}, {Field: "Path", Header: "PATH"}}}

// imageDiffCommand is Podman's, with two images.
func imageDiffCommand(p *program) *cobra.Command {
	var text string
	c := &cobra.Command{
		Use: "diff [OPTIONS] IMAGE IMAGE", Short: "List files that differ between two images", Args: count(2, 2), ValidArgsFunction: p.completeImages,
		Long: "List files that differ between two images, as containers see them: A are only in the second, D only in the first, C differ in content, time, owner or mode.",
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := p.engine()
			if err != nil {
				return err
			}
			var changes []option.ImageChange
			if err := client.Get(cmd.Context(), ownImages+"/"+escape(args[0])+"/changes", url.Values{"to": {args[1]}}, &changes); err != nil {
				return mountHint(err)
			}
			var rows []format.Row
			for _, ch := range changes {
				if text != "" {
					rows = append(rows, format.Row{"Kind": ch.Kind, "Path": ch.Path})
					continue
				}
				if err := p.printOthers(ch.Kind + " " + ch.Path); err != nil {
					return err
				}
			}
			if text == "" {
				return nil
			}
			return imageDiffList.Write(p.stdout(), text, rows)
		},
	}
	c.Flags().StringVar(&text, "format", "", "table, json, or a template")
	return c
}
