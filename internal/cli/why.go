package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/cli/printable"
	refused "github.com/bulkhead-engine/bulkhead/internal/network/refusal"
	"github.com/spf13/cobra"
)

// whyCommand is `why`: what networks have refused to a container.
func whyCommand(p *program) *cobra.Command {
	var text string
	c := &cobra.Command{
		Use: "why [OPTIONS] CONTAINER", Short: "Show what networks denied a container: where it wanted to connect to, which process, and which rule said no",
		ValidArgsFunction: p.completeContainers(nil), Args: count(1, 1),
		Long: "Show what networks have refused to a container since it was started, the oldest first: packets that the rules did not let through, and names that its resolver did not answer.\n\n" +
			"NAME is the name that was last resolved to the address. The process is the one that has the socket, if it still has it when it is looked for. Equal refusals within a minute are one line.",
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := p.refused(cmd.Context(), args[0])
			if err != nil {
				return asEngine(err)
			}
			if text != "" {
				values := make([]any, len(list))
				for i, r := range list {
					values[i] = r
				}
				return format.Values(p.stdout(), text, values)
			}
			return p.printRefused(list)
		},
	}
	c.Flags().StringVar(&text, "format", "", "json, or a template")
	return c
}

func (p *program) refused(ctx context.Context, name string) ([]refused.Record, error) {
	c, err := p.engine()
	if err != nil {
		return nil, err
	}
	var list []refused.Record
	return list, c.Get(ctx, "/bulkhead/containers/"+url.PathEscape(name)+"/refused", nil, &list)
}

func (p *program) printRefused(list []refused.Record) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(p.errs, "nothing was refused")
		return err
	}
	w := tabwriter.NewWriter(p.out, 0, 1, 3, ' ', 0)
	fmt.Fprintln(w, "TIME\tTIMES\tTO\tNAME\tPROCESS\tRULE")
	for _, r := range list {
		process := "-"
		if r.PID != 0 {
			process = fmt.Sprintf("%s (%d)", printable.Line(r.Process), r.PID)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", r.Time.Local().Format(time.DateTime), r.Count, target(r), cmp.Or(printable.Line(r.Name), "-"), process, printable.Line(r.Rule))
	}
	return w.Flush()
}

// target is where to, in words.
func target(r refused.Record) string {
	var parts []string
	switch {
	case r.Address.IsValid() && r.Port != 0:
		parts = append(parts, netip.AddrPortFrom(r.Address, r.Port).String())
	case r.Address.IsValid():
		parts = append(parts, r.Address.String())
	}
	return strings.Join(append(parts, printable.Line(r.Protocol)), " ")
}
