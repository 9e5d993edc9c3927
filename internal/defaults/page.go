package defaults

import (
	"fmt"
	"strings"
)

// kinds orders the page and says what each kind of line is.
var kinds = []struct{ kind, title string }{
	{"flag", "Flags"},
	{"module", "Security modules, where the kernel has them"},
	{"namespace", "Namespaces of its own"},
	{"capability", "Capabilities"},
	{"limit", "Limits"},
	{"rlimit", "Resource limits"},
	{"mount", "Mounts"},
	{"mask", "Masked paths"},
	{"read-only", "Read-only paths"},
	{"sysctl", "Sysctls"},
	{"filter", "System call filter"},
	{"call", "Calls that are let through"},
	{"refused call", "Calls that are refused with EPERM"},
}

// Page returns all levels as one page of Markdown: docs/defaults.md.
func Page() string {
	var b strings.Builder
	b.WriteString("# The secure default, line by line\n\nMade from internal/defaults by `go test ./internal/defaults -update`; not to be edited. ")
	b.WriteString("u, h, c: holds at untrusted, hardened, compat.\n")
	for _, k := range kinds {
		fmt.Fprintf(&b, "\n## %s\n\n| what | levels | why |\n|---|---|---|\n", k.title)
		for _, line := range pageLines(k.kind) {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", line.Value, line.Kind, line.Reason)
		}
	}
	return b.String()
}

// pageLines joins the entries of a kind: those of one reason and the same levels become one line. The Kind of a line is its levels.
func pageLines(kind string) []Entry {
	type key struct{ value, reason string }
	at := map[key]int{}
	var all []Entry
	for _, level := range []Level{Compat, Hardened, Untrusted} {
		letter := level.String()[:1]
		for _, e := range Explain(level) {
			if e.Kind != kind {
				continue
			}
			k := key{e.Value, e.Reason}
			if i, seen := at[k]; seen {
				all[i].Kind = letter + all[i].Kind
				continue
			}
			at[k] = len(all)
			all = append(all, Entry{letter, e.Value, e.Reason})
		}
	}
	var out []Entry
	for _, e := range all {
		if n := len(out); n > 0 && out[n-1].Reason == e.Reason && out[n-1].Kind == e.Kind {
			out[n-1].Value += " " + e.Value
			continue
		}
		out = append(out, e)
	}
	return out
}
