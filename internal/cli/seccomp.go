package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/cli/format"
	"github.com/bulkhead-engine/bulkhead/internal/cli/printable"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/filter"
	"github.com/spf13/cobra"
)

// seccompCommands are what stands after `seccomp`.
func seccompCommands() []entry {
	return []entry{
		{[]string{"compile"}, seccompCompileCommand},
		{[]string{"diff"}, seccompDiffCommand},
		{[]string{"lint"}, seccompLintCommand},
	}
}

func seccompCommand(p *program) *cobra.Command {
	return p.group("seccomp COMMAND", "Look at profiles of system call filters", seccompCommands())
}

const profileWords = "\n\nA profile is a file in OCI's or Docker's format, - for standard input, or the name of a level: compat, hardened, untrusted."

// seccompLintCommand is `seccomp lint`.
func seccompLintCommand(p *program) *cobra.Command {
	var text string
	c := &cobra.Command{
		Use: "lint [OPTIONS] PROFILE [PROFILE...]", Short: "Say what is wrong with profiles", Args: count(1, -1),
		Long: "Say what is wrong with profiles: calls without which no program starts, rules that never count, misspelt names, dangerous calls that are allowed." + profileWords +
			"\n\nThe exit status is 1 if a profile has an error.",
		RunE: func(cmd *cobra.Command, args []string) error {
			bad := false
			err := each(cmd.Context(), args, func(name string) error {
				profile, err := filter.Load(name)
				if err != nil {
					return err
				}
				findings := filter.Lint(profile)
				bad = bad || len(findings) > 0 && findings[0].Severity == filter.Error
				if text != "" {
					var values []any
					for _, f := range findings {
						values = append(values, f)
					}
					return format.Values(p.stdout(), text, values)
				}
				return p.printFindings(name, findings)
			})
			if bad {
				return errors.Join(err, &statusError{status: exitError})
			}
			return err
		},
	}
	c.Flags().StringVar(&text, "format", "", "json, or a template for each finding")
	return c
}

func (p *program) printFindings(name string, findings []filter.Finding) error {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%s: %s: %s: %s\n", printable.Line(name), f.Severity, printable.Line(f.Where), printable.Line(f.What))
		if f.Hint != "" {
			fmt.Fprintf(&b, "  hint: %s\n", printable.Line(f.Hint))
		}
	}
	if len(findings) == 0 {
		fmt.Fprintf(&b, "%s: nothing to say\n", printable.Line(name))
	}
	return p.print(strings.TrimSuffix(b.String(), "\n"))
}

// seccompCompileCommand is `seccomp compile`.
func seccompCompileCommand(p *program) *cobra.Command {
	var output, text string
	c := &cobra.Command{
		Use: "compile [OPTIONS] PROFILE", Short: "Show the program that a profile comes to", Args: count(1, 1),
		Long: "Show the program that a profile comes to, as the kernel gets it: one instruction a line." + profileWords,
		RunE: func(_ *cobra.Command, args []string) error {
			profile, err := filter.Load(args[0])
			if err != nil {
				return err
			}
			program := filter.Compile(profile)
			if output != "" {
				return writeProgram(p, output, program.Bytes)
			}
			if text != "" {
				return format.Values(p.stdout(), text, []any{program})
			}
			return p.print(fmt.Sprintf("# %d instructions of at most 4096, %d bytes\n%s", program.Instructions, len(program.Bytes), strings.TrimSuffix(program.Listing, "\n")))
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "write the raw program there instead (struct sock_filter each); - is standard output")
	c.Flags().StringVar(&text, "format", "", "json, or a template")
	return c
}

// writeProgram writes raw bytes, not to a terminal.
func writeProgram(p *program, output string, program []byte) error {
	if output != "-" {
		return atomicfile.Write(output, program, atomicfile.Options{Volatile: true, Mode: 0o644})
	}
	if p.terminal() {
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "compile: a program of bytes is not for a terminal"), "-o FILE")
	}
	_, err := p.out.Write(program)
	return err
}

// seccompDiffCommand is `seccomp diff`.
func seccompDiffCommand(p *program) *cobra.Command {
	var text string
	c := &cobra.Command{
		Use: "diff [OPTIONS] PROFILE PROFILE", Short: "Show which system calls two profiles decide differently", Args: count(2, 2),
		Long: "Show which system calls two profiles decide differently, and for which arguments: of those that are decided alike for some arguments, one combination is shown for each pair of decisions." +
			profileWords + "\n\nThe exit status is 1 if they differ.",
		RunE: func(_ *cobra.Command, args []string) error {
			a, err := filter.Load(args[0])
			if err != nil {
				return asEngine(err)
			}
			b, err := filter.Load(args[1])
			if err != nil {
				return asEngine(err)
			}
			differences := filter.Diff(a, b)
			if text != "" {
				var values []any
				for _, d := range differences {
					values = append(values, d)
				}
				if err := format.Values(p.stdout(), text, values); err != nil {
					return asEngine(err)
				}
			} else if err := p.printDifferences(args, differences); err != nil {
				return asEngine(err)
			}
			if len(differences) > 0 {
				return &statusError{status: exitError}
			}
			return nil
		},
	}
	c.Flags().StringVar(&text, "format", "", "json, or a template for each difference")
	return c
}

func (p *program) printDifferences(names []string, list []filter.Difference) error {
	if len(list) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-28s %-24s %-24s %s\n", "CALL", printable.Line(strings.ToUpper(base(names[0]))), printable.Line(strings.ToUpper(base(names[1]))), "FOR EXAMPLE WHEN")
	for _, d := range list {
		b.WriteString(strings.TrimRight(fmt.Sprintf("%-28s %-24s %-24s %s", d.Call, d.A, d.B, d.When), " ") + "\n")
	}
	return p.print(strings.TrimSuffix(b.String(), "\n"))
}

// base is the last part of a path, cut to a column.
func base(path string) string {
	path = path[strings.LastIndexByte(path, '/')+1:]
	return path[:min(len(path), 24)]
}
