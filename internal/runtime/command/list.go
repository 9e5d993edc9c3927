package command

import (
	"context"
	"flag"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/runtime"
)

func listCommand() *command {
	var format string
	var quiet bool
	return &command{
		name: "list", summary: "list the containers", min: 0, max: 0,
		flags: func(f *flag.FlagSet) {
			f.StringVar(&format, "format", "table", "`FORMAT`: table or json")
			alias(f, "f", "format")
			f.BoolVar(&quiet, "quiet", false, "print identifiers alone")
			alias(f, "q", "quiet")
		},
		run: func(_ context.Context, inv *invocation) (int, error) {
			if format != "table" && format != "json" {
				return 0, errdef.Errorf(errdef.Invalid, "format %q: invalid format option, must be table or json", format)
			}
			list, err := inv.rt.List()
			if errdef.Is(err, errdef.NotFound) && inv.global.root == "" { // nobody has made a container yet
				list, err = nil, nil
			}
			if err != nil {
				return 0, err
			}
			names := userNames()
			for i := range list {
				list[i].Owner = names.of(list[i].UID)
			}
			switch {
			case quiet:
				return 0, inv.print(identifiers(list))
			case format == "json":
				return 0, inv.printJSON(appendStates(list), "")
			}
			return 0, inv.print(stateTable(list))
		},
	}
}

func identifiers(list []runtime.State) []byte {
	var out []byte
	for i := range list {
		out = append(append(out, list[i].ID...), '\n')
	}
	return out
}

// appendStates makes a JSON array, null for an empty one, as runc does.
func appendStates(list []runtime.State) []byte {
	if len(list) == 0 {
		return []byte("null")
	}
	out := []byte{'['}
	for i := range list {
		if i > 0 {
			out = append(out, ',')
		}
		out = runtime.AppendState(out, &list[i])
	}
	return append(out, ']')
}

func stateTable(list []runtime.State) []byte {
	rows := [][]string{{"ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"}}
	for i := range list {
		s := &list[i]
		rows = append(rows, []string{
			s.ID, strconv.Itoa(s.PID), string(s.Status), printable(s.Bundle), s.Created.Format(time.RFC3339Nano), s.Owner,
		})
	}
	return table(rows)
}

// table aligns columns: at least 12 wide, 3 spaces between.
func table(rows [][]string) []byte {
	const minimum, gap = 12, 3
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, minimum)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell)+gap)
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)))
			}
		}
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

// names are the host's users by number.
type names map[string]string

// userNames reads /etc/passwd, where the users are whom a container may belong to here. Package os/user would bring what no runtime needs.
func userNames() names {
	data, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil
	}
	n := names{}
	for line := range strings.Lines(string(data)) {
		fields := strings.Split(line, ":")
		if len(fields) > 3 && n[fields[2]] == "" {
			n[fields[2]] = fields[0]
		}
	}
	return n
}

// of returns the name of a user, #NUMBER for one without.
func (n names) of(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	if name := n[number]; name != "" {
		return name
	}
	return "#" + number
}
