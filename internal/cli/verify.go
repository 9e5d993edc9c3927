package cli

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/cli/printable"
	"github.com/bulkhead-engine/bulkhead/internal/verify"
	"github.com/spf13/cobra"
)

// verifyCommand is `verify`: what the kernel says of a container beside what was declared.
func verifyCommand(p *program) *cobra.Command {
	var text string
	var all, stop bool
	c := &cobra.Command{
		Use: "verify [OPTIONS] CONTAINER", Short: "Compare what confines a container with what was declared, by asking the kernel", Args: count(1, 1),
		ValidArgsFunction: p.completeContainers(isRunning),
		Long: "Compare what confines a running container with what was declared, by asking the kernel.\n\n" +
			"The exit status is 0 if nothing differs, 1 if something does, and 125 if it could not be found out.",
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := p.verify(cmd.Context(), args[0], stop)
			if err != nil {
				return asEngine(err)
			}
			if text != "" {
				if err := format.Values(p.stdout(), text, []any{r}); err != nil {
					return asEngine(err)
				}
			} else if err := p.printVerify(r, all); err != nil {
				return asEngine(err)
			}
			if len(r.Differences()) > 0 {
				return &statusError{status: exitError}
			}
			return nil
		},
	}
	c.Flags().StringVar(&text, "format", "", "json, or a template")
	c.Flags().BoolVarP(&all, "all", "a", false, "print what is as declared, too")
	c.Flags().BoolVar(&stop, "stop", false, "stop each process for a moment, to read its seccomp filters")
	return c
}

// verify gets the report of a container.
func (p *program) verify(ctx context.Context, name string, stop bool) (*verify.Report, error) {
	c, err := p.engine()
	if err != nil {
		return nil, err
	}
	query := url.Values{}
	if stop {
		query.Set("stop", "1")
	}
	var r verify.Report
	return &r, c.Get(ctx, "/bulkhead/containers/"+url.PathEscape(name)+"/verify", query, &r)
}

// printVerify writes a report for people: what differs, what nobody can tell, and how much is as it was declared.
func (p *program) printVerify(r *verify.Report, all bool) error {
	var b strings.Builder
	good := 0
	for _, verdict := range []verify.Verdict{verify.Differs, verify.Unknown, verify.OK} {
		for _, c := range r.Checks {
			if c.Verdict != verdict {
				continue
			}
			if verdict == verify.OK {
				if good++; !all {
					continue
				}
			}
			fmt.Fprintf(&b, "%-8s %-13s %s\n", verdict, c.Area, printable.Line(c.What))
			if verdict == verify.OK {
				continue
			}
			fmt.Fprintf(&b, "%22s declared: %s\n%22s found:    %s\n", "", printable.Line(c.Declared), "", printable.Line(c.Found))
			if c.Hint != "" {
				fmt.Fprintf(&b, "%22s hint:     %s\n", "", printable.Line(c.Hint))
			}
		}
	}
	fmt.Fprintf(&b, "%s: %d checks of %s as declared, %d differ, %d cannot be told\n", r.Name, good, plural(r.Processes, "process", "processes"), len(r.Differences()), len(r.Unknowns()))
	return p.print(strings.TrimSuffix(b.String(), "\n"))
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
