// Command bulkhead-demo runs a hardened container and shows from inside what confines it.
//
//	make run                               # the same
//	bulkhead-demo --level untrusted --json
//	bulkhead-demo --why                    # every line of the default with its reason
//	bulkhead-demo --config > config.json   # only the configuration, for a bundle of one's own
//
// It carries a one-file image, the static program bulkhead-report, writes it with a configuration of package defaults into a bundle in a
// temporary directory, runs bulkhead-runtime on it, and removes everything again. As root the container has ids that no user of the host
// has, and limits of memory, processor time and processes; as another user it is a rootless container without limits.
//
// It runs bulkhead-runtime from its own directory, or else from PATH, or what --runtime names: any OCI runtime with runc's command line.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/defaults"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// settings are the command line.
type settings struct {
	level   string
	runtime string
	config  bool
	why     bool
	json    bool
	limits  limits
}

func main() {
	code, err := run(os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintf(os.Stderr, "bulkhead-demo: %v\n", err)
		if hint := errdef.Hint(err); hint != "" {
			fmt.Fprintf(os.Stderr, "hint: %s\n", hint)
		}
	}
	os.Exit(code)
}

// run returns the exit status: the container's, 1 with an error, 2 for wrong usage.
func run(args []string, stdout, stderr io.Writer) (int, error) {
	var s settings
	flags := flag.NewFlagSet("bulkhead-demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.level, "level", defaults.Hardened.String(), "untrusted, hardened or compat")
	flags.StringVar(&s.runtime, "runtime", "", "OCI runtime to use; empty: bulkhead-runtime")
	flags.BoolVar(&s.config, "config", false, "print config.json and run nothing")
	flags.BoolVar(&s.why, "why", false, "print every line of the level with its reason and run nothing")
	flags.BoolVar(&s.json, "json", false, "the report as JSON")
	flags.Int64Var(&s.limits.memory, "memory", 128, "memory in MiB")
	flags.Int64Var(&s.limits.pids, "pids", 128, "processes and threads")
	flags.Float64Var(&s.limits.cpus, "cpus", 0.5, "processors")
	if err := flags.Parse(args); err != nil {
		return 2, nil //nolint:nilerr // the flag package has said it
	}
	if flags.NArg() > 0 {
		return 2, errdef.Errorf(errdef.Invalid, "argument %q: none is taken", flags.Arg(0))
	}
	level, err := defaults.ParseLevel(s.level)
	if err != nil {
		return 2, err
	}
	if s.why {
		for _, e := range defaults.Explain(level) {
			if _, err := fmt.Fprintf(stdout, "%-12s %-40s %s\n", e.Kind, e.Value, e.Reason); err != nil {
				return 1, err
			}
		}
		return 0, nil
	}
	spec := configuration(level, s.limits)
	if s.config {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(spec); err != nil {
			return 1, fmt.Errorf("config.json: %w", err)
		}
		return 0, nil
	}
	if s.json {
		spec.Process.Args = append(spec.Process.Args, "--json")
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	return demonstrate(ctx, &s, spec, [2]io.Writer{stdout, stderr})
}

// runtimeProgram finds the runtime.
func runtimeProgram(named string) (string, error) {
	if named != "" {
		return exec.LookPath(named)
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "bulkhead-runtime")
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	path, err := exec.LookPath("bulkhead-runtime")
	if err != nil {
		err = errdef.WithHint(errdef.Errorf(errdef.NotFound, "bulkhead-runtime: neither beside this program nor in PATH"), "make build")
	}
	return path, err
}

// exitCode is the status of a command that was run, and an error only where it was not.
func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1), nil
	}
	return 1, err
}
