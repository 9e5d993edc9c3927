package cli

import (
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/internal/image/store"
	"github.com/spf13/cobra"
)

func fsckCommand(p *program) *cobra.Command {
	var (
		o      store.FsckOptions
		asJSON bool
	)
	c := &cobra.Command{
		Use: "fsck [OPTIONS]", Short: "Check every content against its digest, and every name", Args: count(0, 0),
		Long: "Check every content against its digest, and that every name points to something whole. Ends with 1 if something is wrong that was not repaired.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := p.images(nil)
			if err != nil {
				return err
			}
			show, end := p.progress(asJSON || !p.terminal())
			if show != nil {
				o.Progress = func(done, total int64) {
					show(image.Progress{ID: "contents", Action: "Verifying Checksum", Current: done, Total: total})
				}
			}
			r, err := s.Check(cmd.Context(), o)
			if closed := end(); err == nil {
				err = closed
			}
			if err != nil {
				return err
			}
			return p.writeCheck(&r, asJSON)
		},
	}
	c.Flags().BoolVar(&o.Repair, "repair", false, "move what is wrong out of the way; nothing is deleted")
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return c
}

// writeCheck writes the report. The error is what is still wrong.
func (p *program) writeCheck(r *store.FsckReport, asJSON bool) error {
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
		r.Problems, r.Partials = list(r.Problems), list(r.Partials)
		if werr := format.Values(p.stdout(), "json", []any{r}); werr != nil {
			return werr
		}
		return err
	}
	for _, problem := range r.Problems {
		if err := p.printOthers(problem.String()); err != nil {
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
