package cli

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/cli/printable"
	"github.com/bulkhead-engine/bulkhead/internal/cli/runflags"
	"github.com/bulkhead-engine/bulkhead/internal/engine/explain"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// explainCommand is `explain`: of a container, or after -- of what `run` would make.
func explainCommand(p *program) *cobra.Command {
	var text string
	var short bool
	c := &cobra.Command{
		Use: "explain [OPTIONS] CONTAINER | explain [OPTIONS] -- [RUN OPTIONS] IMAGE [COMMAND] [ARG...]", Short: "Show what confines a container, call by call, and why",
		ValidArgsFunction: p.completeContainers(nil),
		Long: "Show what confines a container: every setting with its origin and its reason, what is weaker than the default, and every system call of the start in order.\n\n" +
			"After -- stand the options, the image and the command of `run`; nothing is made, and the image must be here.",
		Args: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() == 0 {
				return count(1, -1)(cmd, args)
			}
			return count(1, 1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var e *explain.Explanation
			var err error
			if cmd.ArgsLenAtDash() == 0 {
				e, err = p.explainRun(cmd.Context(), args)
			} else {
				e, err = p.explain(cmd.Context(), args[0])
			}
			if err != nil {
				return asEngine(err)
			}
			if text != "" {
				return format.Values(p.stdout(), text, []any{e})
			}
			return p.printExplanation(e, short)
		},
	}
	c.Flags().StringVar(&text, "format", "", "json, or a template")
	c.Flags().BoolVar(&short, "settings", false, "the settings alone, without the system calls")
	return c
}

// explain gets the explanation of a container.
func (p *program) explain(ctx context.Context, name string) (*explain.Explanation, error) {
	c, err := p.engine()
	if err != nil {
		return nil, err
	}
	var e explain.Explanation
	return &e, c.Get(ctx, "/bulkhead/containers/"+url.PathEscape(name)+"/explain", nil, &e)
}

// explainRun gets the explanation of what `run` would make of these arguments.
func (p *program) explainRun(ctx context.Context, args []string) (*explain.Explanation, error) {
	var f runflags.Flags
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	flags.SetInterspersed(false)
	f.Register(flags)
	f.RegisterRun(flags)
	if err := flags.Parse(args); err != nil {
		return nil, errdef.Errorf(errdef.Invalid, "run: %w", err)
	}
	q, err := f.Request(flags.Args())
	if err != nil {
		return nil, err
	}
	return p.explainRequest(ctx, &f, q)
}

// explained is `run --explain`.
func (p *program) explained(ctx context.Context, f *runflags.Flags, args []string) error {
	q, err := f.Request(args)
	if err != nil {
		return err
	}
	e, err := p.explainRequest(ctx, f, q)
	if err != nil {
		return err
	}
	return p.printExplanation(e, false)
}

// explainRequest gets the explanation of a request.
func (p *program) explainRequest(ctx context.Context, f *runflags.Flags, q *runflags.Request) (*explain.Explanation, error) {
	c, err := p.engine()
	if err != nil {
		return nil, err
	}
	query := url.Values{}
	for name, value := range map[string]string{"name": f.Name, "platform": f.Platform} {
		if value != "" {
			query.Set(name, value)
		}
	}
	var e explain.Explanation
	return &e, c.Post(ctx, "/bulkhead/explain", query, q.Body(), &e)
}

// printExplanation writes an explanation for people.
func (p *program) printExplanation(e *explain.Explanation, short bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "level %s\n", e.Level)
	if len(e.Weaker) > 0 {
		b.WriteString("\nweaker than the default:\n")
	}
	for _, w := range e.Weaker {
		fmt.Fprintf(&b, "  %s gives up %s\n", printable.Line(w.Flag), printable.Line(w.What))
	}
	b.WriteString("\nsettings:\n")
	for _, s := range e.Settings {
		fmt.Fprintf(&b, "  %-13s %s  [%s]%s\n", s.Kind, printable.Line(s.What), printable.Line(s.Origin), because(s.Reason))
	}
	if !short {
		b.WriteString("\nsystem calls, in order:\n")
		for _, part := range e.Parts {
			fmt.Fprintf(&b, "\n  # %s  [%s]%s\n", printable.Line(part.What), printable.Line(part.Origin), because(part.Reason))
			for _, s := range part.Steps {
				number := "   -"
				if s.Number > 0 {
					number = fmt.Sprintf("%4d", s.Number)
				}
				fmt.Fprintf(&b, "  %s  %s%s\n", number, printable.Line(s.Call), because(s.Why))
			}
		}
	}
	return p.print(strings.TrimSuffix(b.String(), "\n"))
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return "  # " + printable.Line(reason)
}
