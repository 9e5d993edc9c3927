package cli

import (
	"bufio"
	"context"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/moby/moby/api/types/image"
	"github.com/spf13/cobra"
)

func pruneCommand(p *program) *cobra.Command {
	var (
		all, force bool
		fs         = filters{known: []string{"until", "label", "label!", "dangling"}}
	)
	c := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove images that nobody uses", Args: count(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, v := range fs.values["dangling"] { // Docker's other way to say --all
				all = all || v == "false" || v == "0"
			}
			delete(fs.values, "dangling")
			question := "WARNING! This will remove all dangling images."
			if all {
				question = "WARNING! This will remove all images without at least one container associated to them."
			}
			if !force {
				yes, err := p.confirm(cmd.Context(), question)
				if err != nil || !yes {
					return err
				}
			}
			r, err := p.pruneImages(cmd.Context(), all, &fs)
			if err != nil {
				return err
			}
			return p.writePruned(&r)
		},
	}
	f := c.Flags()
	f.BoolVarP(&all, "all", "a", false, "remove all images that no container has, not only those without a tag")
	f.BoolVarP(&force, "force", "f", false, "do not ask")
	f.Var(&fs, "filter", "only images of which this is true: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]")
	return c
}

// pruneImages removes images without a tag, or all that nobody uses.
func (p *program) pruneImages(ctx context.Context, all bool, fs *filters) (image.PruneReport, error) {
	var out image.PruneReport
	c, err := p.engine()
	if err != nil {
		return out, err
	}
	fs.add("dangling", strconv.FormatBool(!all))
	return out, c.Post(ctx, "/images/prune", fs.query(url.Values{}), nil, &out)
}

func (p *program) writePruned(r *image.PruneReport) error {
	if len(r.ImagesDeleted) > 0 {
		if err := p.print("Deleted Images:"); err != nil {
			return err
		}
		if err := p.writeRemoved(r.ImagesDeleted, "untagged: ", "deleted: "); err != nil {
			return err
		}
		if err := p.print(""); err != nil {
			return err
		}
	}
	return p.print("Total reclaimed space: " + format.Bytes(int64(r.SpaceReclaimed)))
}

// confirm asks. Whatever is not yes is no, the end of input included.
func (p *program) confirm(ctx context.Context, question string) (bool, error) {
	if _, err := io.WriteString(p.out, question+"\nAre you sure you want to continue? [y/N] "); err != nil {
		return false, err
	}
	answer, err := p.readLine(ctx)
	if err != nil {
		return false, err
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

// readLine reads a line of standard input, or ends when ctx does; who waits for the line then is the process, which ends.
func (p *program) readLine(ctx context.Context) (string, error) {
	type result struct {
		line string
		err  error
	}
	got := make(chan result, 1)
	go func() {
		line, err := bufio.NewReader(io.LimitReader(p.in, 4096)).ReadString('\n')
		if err == io.EOF {
			err = nil
		}
		got <- result{line, err}
	}()
	select {
	case r := <-got:
		return r.line, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
