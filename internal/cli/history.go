package cli

import (
	"net/url"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/moby/moby/api/types/image"
	"github.com/spf13/cobra"
)

func historyCommand(p *program) *cobra.Command {
	var (
		noTrunc, quiet, humans bool
		text                   string
		platform               platformFlag
	)
	c := &cobra.Command{
		Use: "history [OPTIONS] IMAGE", Short: "Show the steps of which an image was made", Args: count(1, 1), ValidArgsFunction: p.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.engine()
			if err != nil {
				return err
			}
			var items []image.HistoryResponseItem
			if err := c.Get(cmd.Context(), imagePath(args[0], "/history"), platform.query(url.Values{}), &items); err != nil {
				return err
			}
			var rows []format.Row
			for i := range items {
				rows = append(rows, historyRow(&items[i], noTrunc, humans))
			}
			if !quiet {
				return historyList(humans).Write(p.stdout(), text, rows)
			}
			for _, r := range rows {
				if err := p.print(r["ID"].(string)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f := c.Flags()
	f.BoolVar(&noTrunc, "no-trunc", false, "print whole ids and lines")
	f.BoolVarP(&quiet, "quiet", "q", false, "print only ids")
	f.BoolVarP(&humans, "human", "H", true, "sizes and times for people")
	f.StringVar(&text, "format", "", "table, json, or a template")
	f.Var(&platform, "platform", "of which platform, if there are several (default the host's, else what there is)")
	return c
}

func historyList(humans bool) format.List {
	created := "CREATED"
	if !humans {
		created = "CREATED AT"
	}
	return format.List{
		Columns: []format.Column{
			{Field: "ID", Header: "IMAGE"},
			{Field: "CreatedSince", Header: created},
			{Field: "CreatedBy", Header: "CREATED BY"},
			{Field: "Size", Header: "SIZE"},
			{Field: "Comment", Header: "COMMENT"},
		},
		Extra: []format.Column{{Field: "CreatedAt", Header: "CREATED AT"}},
	}
}

func historyRow(h *image.HistoryResponseItem, noTrunc, humans bool) format.Row {
	at := "N/A"
	if h.Created > 0 {
		at = time.Unix(h.Created, 0).Format(time.RFC3339)
	}
	since := at
	if humans {
		since = format.Ago(h.Created)
	}
	by := strings.ReplaceAll(h.CreatedBy, "\t", " ")
	if r := []rune(by); !noTrunc && len(r) > 45 {
		by = string(r[:44]) + "…"
	}
	return format.Row{
		"ID": shortID(h.ID, noTrunc), "CreatedSince": since, "CreatedAt": at, "CreatedBy": by, "Size": human(h.Size, humans), "Comment": h.Comment,
	}
}
