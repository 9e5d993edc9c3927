package command

import (
	"flag"
	"io"
	"sort"
	"strings"
)

// printHelp prints the help of the program, or of the command named after "help".
func printHelp(w io.Writer, flags *flag.FlagSet, rest []string) int {
	if len(rest) > 1 {
		if c := find(rest[1]); c != nil {
			f := newFlagSet(c.name)
			if c.flags != nil {
				c.flags(f)
			}
			c.help(w, f)
			return 0
		}
	}
	var b strings.Builder
	b.WriteString(Name + ": runs OCI bundles, confined\n\nUsage: " + Name + " [flags] COMMAND [flags] [ARGUMENT...]\n\nCommands:\n")
	for _, c := range commands() {
		if !c.hidden {
			b.WriteString(column(c.name, c.summary))
		}
	}
	b.WriteString("\nFlags:\n" + flagHelp(flags) + "\n" + Name + " COMMAND --help shows the flags of a command. State and log of a container are its caller's business;\n" +
		"the command line is runc's.\n")
	io.WriteString(w, b.String())
	return 0
}

// help prints a command's help.
func (c *command) help(w io.Writer, flags *flag.FlagSet) {
	text := Name + " " + c.name + ": " + c.summary + "\n\nUsage: " + c.usage() + "\n"
	if c.text != "" {
		text += "\n" + c.text + "\n"
	}
	if list := flagHelp(flags); list != "" {
		text += "\nFlags:\n" + list
	}
	io.WriteString(w, text)
}

// flagHelp lists flags, those that share a value in one line.
func flagHelp(flags *flag.FlagSet) string {
	byUsage := map[string][]*flag.Flag{}
	var order []string
	flags.VisitAll(func(f *flag.Flag) {
		usage := f.Usage
		if long, ok := strings.CutPrefix(usage, aliasOf); ok {
			if target := flags.Lookup(long); target != nil {
				usage = target.Usage
			}
		}
		if usage == "" {
			return // hidden
		}
		if byUsage[usage] == nil {
			order = append(order, usage)
		}
		byUsage[usage] = append(byUsage[usage], f)
	})
	var lines []string
	for _, usage := range order {
		list := byUsage[usage]
		sort.Slice(list, func(i, j int) bool { return len(list[i].Name) > len(list[j].Name) })
		name, text := flag.UnquoteUsage(&flag.Flag{Usage: usage, Value: list[0].Value})
		left := ""
		for _, f := range list {
			dashes := "--"
			if len(f.Name) == 1 {
				dashes = "-"
			}
			left += ", " + dashes + f.Name
		}
		left = strings.TrimPrefix(left, ", ")
		if name != "" && !isBool(list[0].Value) {
			left += " " + name
		}
		lines = append(lines, column(left, text))
	}
	sort.Strings(lines)
	return strings.Join(lines, "")
}

// aliasOf begins the usage text of a flag that is another name of the one that follows.
const aliasOf = "the same as --"

// alias gives a flag a second name.
func alias(flags *flag.FlagSet, short, long string) {
	flags.Var(flags.Lookup(long).Value, short, aliasOf+long)
}

func isBool(v flag.Value) bool {
	b, ok := v.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// column aligns two words of a list.
func column(left, right string) string {
	const width = 28
	pad := width - len(left)
	if pad < 1 {
		return "  " + left + "\n" + strings.Repeat(" ", width+2) + right + "\n"
	}
	return "  " + left + strings.Repeat(" ", pad) + right + "\n"
}

// words is a flag that may be given several times.
type words []string

func (w *words) String() string { return strings.Join(*w, ",") }

func (w *words) Set(s string) error {
	*w = append(*w, s)
	return nil
}

// isSet reports whether a flag was given.
func isSet(flags *flag.FlagSet, name string) bool {
	found := false
	flags.Visit(func(f *flag.Flag) { found = found || f.Name == name || f.Usage == aliasOf+name })
	return found
}
