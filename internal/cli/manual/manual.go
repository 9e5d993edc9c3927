// Package manual writes the manual pages of a program from its commands: a page of section 1 for each, with what its help says.
//
//	err := manual.Write(dir, root, "bulkhead 0.1.0")   // bulkhead.1, bulkhead-run.1, bulkhead-image-ls.1 ...
//
// Pages have no date and nothing of the machine: the same commands make the same bytes. Hidden commands and flags, which are refused or old spellings, are left out.
// A command that stands below several groups has a page for each; one whose words are the same as another's is not told of twice in the list of the program.
package manual

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Write writes the pages of a program with all its commands into a directory, which is made if it is not there.
func Write(dir string, root *cobra.Command, source string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return errdef.Errorf(errdef.Unavailable, "manual: %w", err)
	}
	return write(dir, root, source)
}

func write(dir string, c *cobra.Command, source string) error {
	path := filepath.Join(dir, name(c)+".1")
	if err := os.WriteFile(path, page(c, source), 0o644); err != nil {
		return errdef.Errorf(errdef.Unavailable, "manual: %w", err)
	}
	for _, sub := range shown(c) {
		if err := write(dir, sub, source); err != nil {
			return err
		}
	}
	return nil
}

// name is that of a page.
func name(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// shown are the commands below one that people are told of.
func shown(c *cobra.Command) []*cobra.Command {
	var out []*cobra.Command
	for _, sub := range c.Commands() {
		if !sub.Hidden && sub.Name() != "help" {
			out = append(out, sub)
		}
	}
	return out
}

// page is the page of a command.
func page(c *cobra.Command, source string) []byte {
	var b bytes.Buffer
	line := func(parts ...string) { b.WriteString(strings.Join(parts, "") + "\n") }
	line(`.TH "`, strings.ToUpper(name(c)), `" "1" "" "`, text(source), `" "User Commands"`)
	line(".SH NAME")
	line(text(name(c)), ` \- `, text(c.Short))
	line(".SH SYNOPSIS")
	use := c.UseLine()
	line(".B ", text(c.CommandPath()))
	line(text(strings.TrimSpace(strings.TrimPrefix(use, c.CommandPath()))))
	line(".SH DESCRIPTION")
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	for i, paragraph := range strings.Split(long, "\n\n") {
		if i > 0 {
			line(".PP")
		}
		line(text(strings.ReplaceAll(paragraph, "\n", " ")))
	}
	if len(c.Aliases) > 0 {
		line(".PP")
		line("It is also called ", text(strings.Join(c.Aliases, ", ")), ".")
	}
	if subs := shown(c); len(subs) > 0 {
		line(".SH COMMANDS")
		for _, sub := range subs {
			line(".TP")
			line(".BR ", text(name(sub)), " (1)")
			line(text(sub.Short), ".")
		}
	}
	flags(&b, "OPTIONS", c.NonInheritedFlags())
	if c.HasParent() {
		line(".SH SEE ALSO")
		line(".BR ", text(name(c.Parent())), " (1)")
	}
	return b.Bytes()
}

// flags writes a section of them.
func flags(b *bytes.Buffer, title string, set *pflag.FlagSet) {
	begun := false
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		if !begun {
			b.WriteString(".SH " + title + "\n")
			begun = true
		}
		value, usage := pflag.UnquoteUsage(f)
		spelled := `\fB` + text("--"+f.Name) + `\fR`
		if f.Shorthand != "" {
			spelled = `\fB` + text("-"+f.Shorthand) + `\fR, ` + spelled
		}
		if value != "" {
			spelled += ` \fI` + text(value) + `\fR`
		}
		switch f.DefValue {
		case "", "false", "[]", "0", "0s", "-1":
		default:
			usage += " (default " + f.DefValue + ")"
		}
		b.WriteString(".TP\n" + spelled + "\n" + text(usage) + ".\n")
	})
}

// text makes a text safe for roff: neither its backslashes nor its first letter mean anything.
func text(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, `"`, `\(dq`, "\n", " ").Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
