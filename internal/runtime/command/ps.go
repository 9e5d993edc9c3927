package command

import (
	"context"
	"flag"
	"os/exec"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

func psCommand() *command {
	var format string
	return &command{
		name: "ps", args: containerArg + " [PS-OPTION...]", summary: "list the processes of a container", min: 1, max: -1, ordered: true,
		text: "As a table they are what ps(1) of the host prints with the options given (default -ef), without the lines of other processes.",
		flags: func(f *flag.FlagSet) {
			f.StringVar(&format, "format", "table", "`FORMAT`: table or json")
			alias(f, "f", "format")
		},
		run: func(ctx context.Context, inv *invocation) (int, error) {
			if format != "table" && format != "json" {
				return 0, errdef.Errorf(errdef.Invalid, "format %q: invalid format option, must be table or json", format)
			}
			pids, err := inv.rt.PIDs(inv.args[0])
			if err != nil {
				return 0, err
			}
			if format == "json" {
				return 0, inv.printJSON(appendPIDs(pids), "")
			}
			options := inv.args[1:]
			if len(options) == 0 {
				options = []string{"-ef"}
			}
			all, err := exec.CommandContext(ctx, "ps", options...).CombinedOutput()
			if err != nil {
				return 0, errdef.Errorf(errdef.Unavailable, "run ps: %w: %s", err, strings.TrimSpace(string(all)))
			}
			lines, err := filterPS(string(all), pids)
			if err != nil {
				return 0, err
			}
			return 0, inv.print([]byte(lines))
		},
	}
}

// appendPIDs makes a JSON array, null for an empty one, as runc does.
func appendPIDs(pids []int) []byte {
	if len(pids) == 0 {
		return []byte("null")
	}
	out := []byte{'['}
	for i, pid := range pids {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendInt(out, int64(pid), 10)
	}
	return append(out, ']')
}

// filterPS keeps the heading of what ps printed and the lines of the processes.
func filterPS(text string, pids []int) (string, error) {
	want := map[string]bool{}
	for _, pid := range pids {
		want[strconv.Itoa(pid)] = true
	}
	heading, rest, _ := strings.Cut(text, "\n")
	column := -1
	for i, word := range strings.Fields(heading) {
		if word == "PID" {
			column = i
			break
		}
	}
	if column < 0 {
		return "", errdef.Errorf(errdef.Invalid, "run ps: what it prints has no column PID")
	}
	var b strings.Builder
	b.WriteString(heading + "\n")
	for line := range strings.Lines(rest) {
		if fields := strings.Fields(line); len(fields) > column && want[fields[column]] {
			b.WriteString(printable(line) + "\n")
		}
	}
	return b.String(), nil
}
