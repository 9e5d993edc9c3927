package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/spf13/cobra"
)

func fsckCommand(p *program) *cobra.Command {
	var (
		o      option.ImageCheck
		asJSON bool
	)
	c := &cobra.Command{
		Use: "fsck [OPTIONS]", Short: "Check every content against its digest, and every name", Args: count(0, 0),
		Long: "Check every content against its digest, and that every name points to something whole. Ends with 1 if something is wrong that was not repaired.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := p.check(cmd.Context(), &o, asJSON)
			if err != nil {
				return err
			}
			return p.writeCheck(r, asJSON)
		},
	}
	c.Flags().BoolVar(&o.Repair, "repair", false, "move what is wrong out of the way; nothing is deleted")
	c.Flags().BoolVar(&o.Quick, "quick", false, "look at names and places only, and hash nothing")
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return c
}

// check asks for a check, and shows on a terminal how far it is.
func (p *program) check(ctx context.Context, o *option.ImageCheck, quiet bool) (*option.ImageReport, error) {
	q := client.Request{Method: http.MethodPost, Path: ownImages + "/check", Query: url.Values{"progress": {"1"}}}
	if o.Repair {
		q.Query.Set("repair", "1")
	}
	if o.Quick {
		q.Query.Set("quick", "1")
	}
	var r option.ImageReport
	show, end := p.progress(quiet || !p.terminal())
	err := p.follow(ctx, q, show, func(data json.RawMessage) error { return json.Unmarshal(data, &r) })
	if closed := end(); err == nil {
		err = closed
	}
	return &r, err
}

// describe is a problem in one sentence.
func describe(p *option.Problem) string {
	if p.Repaired {
		return p.Object + ": " + p.Text + " (repaired)"
	}
	return p.Object + ": " + p.Text
}

// writeCheck writes the report. The error is what is still wrong.
func (p *program) writeCheck(r *option.ImageReport, asJSON bool) error {
	left := 0
	for _, problem := range r.Problems {
		if !problem.Repaired {
			left++
		}
	}
	var err error
	if left > 0 {
		err = errdef.Errorf(errdef.Invalid, "image fsck: %d of %d problems are not repaired", left, len(r.Problems))
		err = errdef.WithHint(err, "bulkhead image fsck --repair moves what is wrong out of the way; pulling brings it back")
	}
	if asJSON {
		if werr := format.Values(p.stdout(), "json", []any{r}); werr != nil {
			return werr
		}
		return err
	}
	for _, problem := range r.Problems {
		if err := p.printOthers(describe(&problem)); err != nil {
			return err
		}
	}
	for _, partial := range r.Partials {
		if err := p.print("partial " + partial.Digest.String() + ": " + format.Bytes(partial.Size) + " so far; the next pull goes on from there"); err != nil {
			return err
		}
	}
	line := strconv.Itoa(r.Blobs) + " contents (" + format.Bytes(r.Bytes) + "), " + strconv.Itoa(r.Names) + " names, " + strconv.Itoa(len(r.Problems)) + " problems"
	if werr := p.print(line); err == nil {
		err = werr
	}
	return err
}
