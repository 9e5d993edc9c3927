package command

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/runtime"
	"golang.org/x/sys/unix"
)

// Name is the program's.
const Name = "bulkhead-runtime"

// Version of the program, set when a release is linked (-X).
var Version = "0.1.0-dev"

// Exit statuses.
const (
	exitError     = 1   // whatever went wrong
	exitExecError = 255 // exec could not start its process
)

// A command is one word of the command line.
type command struct {
	name    string
	args    string // "CONTAINER [SIGNAL]"
	summary string // one line
	text    string // more, for its --help
	min     int    // arguments
	max     int    // -1: any number
	flags   func(*flag.FlagSet)
	run     func(context.Context, *invocation) (int, error)
	failure int // exit status of an error of run; 0 means exitError
	hidden  bool
	raw     bool // flags are not looked at
	ordered bool // what follows the first argument is not ours: flags end there
	alone   bool // works where no container can: with few descriptors, without a place for state
}

// An invocation is what a command is run with.
type invocation struct {
	global *global
	args   []string
	flags  *flag.FlagSet
	in     *os.File
	out    io.Writer
	log    *logger
	rt     *runtime.Runtime
}

// commands is the table. Each entry makes a new command, with flags that nobody has set.
func commands() []*command {
	return []*command{
		createCommand(), startCommand(), runCommand(), execCommand(), stateCommand(), listCommand(), psCommand(), killCommand(), deleteCommand(),
		pauseCommand(), resumeCommand(), updateCommand(), eventsCommand(), specCommand(), featuresCommand(), explainCommand(), doctorCommand(),
		refusedCommand("checkpoint"), refusedCommand("restore"),
	}
}

// Main runs the command line args, whose first is the program's own name, and returns the exit status.
func Main(args []string) int {
	g := &global{}
	log := &logger{}
	defer log.close()
	flags := newFlagSet(Name)
	g.register(flags)
	rest, done, err := parse(flags, args[1:])
	switch {
	case err != nil:
		log.fail(err)
		return exitError
	case g.version && !done:
		os.Stdout.WriteString(versionText())
		return 0
	case done || len(rest) == 0 || rest[0] == "help":
		return printHelp(os.Stdout, flags, rest)
	}
	if err := g.open(log); err != nil {
		log.fail(err)
		return exitError
	}
	c := find(rest[0])
	if c == nil {
		log.fail(errdef.WithHint(errdef.Errorf(errdef.Invalid, "unknown command %q", rest[0]), Name+" --help lists the commands"))
		return exitError
	}
	return c.main(&invocation{global: g, in: os.Stdin, out: os.Stdout, log: log}, rest[1:])
}

func find(name string) *command {
	for _, c := range commands() {
		if c.name == name {
			return c
		}
	}
	return nil
}

// main parses the command's own flags and runs it.
func (c *command) main(inv *invocation, args []string) int {
	flags := newFlagSet(c.name)
	if c.flags != nil {
		c.flags(flags)
	}
	rest, help, err := args, false, error(nil)
	switch {
	case c.raw:
	case c.ordered:
		rest, help, err = parse(flags, args)
	default:
		rest, help, err = parseMixed(flags, args)
	}
	if help {
		c.help(inv.out, flags)
		return 0
	}
	if err == nil {
		err = c.count(rest)
	}
	inv.flags, inv.args = flags, rest
	if err == nil && !c.alone {
		err = enoughDescriptors(c.name)
	}
	if err == nil && !c.alone {
		inv.rt, err = inv.global.runtime(inv.log)
	}
	if err != nil {
		inv.log.fail(prefixed(c.name, err))
		return exitError
	}
	status, err := c.run(context.Background(), inv)
	if err == nil {
		return status
	}
	inv.log.fail(prefixed(c.name, err))
	if c.failure != 0 {
		return c.failure
	}
	return exitError
}

// enoughDescriptors refuses to begin what would run out of descriptors half-way: what has been made can then not be taken back. The Go
// runtime has raised the soft limit to the hard one already.
func enoughDescriptors(name string) error {
	least := uint64(32)
	switch name {
	case "create", "run", "exec":
		least = 192 // a starting container uses up to 128 and those that are preserved, and this program some for each cgroup hierarchy
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur >= least {
		return nil
	}
	err := errdef.Errorf(errdef.Unavailable, "the limit of open files is %d, and at least %d are needed", limit.Cur, least)
	return errdef.WithHint(err, "raise it with ulimit -n (RLIMIT_NOFILE)")
}

// prefixed names the command in front of an error that does not begin with its name.
func prefixed(name string, err error) error {
	if strings.HasPrefix(err.Error(), name+" ") || strings.HasPrefix(err.Error(), name+":") {
		return err
	}
	return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "%s: %w", name, err), errdef.Hint(err))
}

// count checks the number of arguments.
func (c *command) count(args []string) error {
	want := ""
	switch {
	case c.min == c.max && len(args) != c.min:
		want = "exactly " + strconv.Itoa(c.min)
	case len(args) < c.min:
		want = "at least " + strconv.Itoa(c.min)
	case c.max >= 0 && len(args) > c.max:
		want = "at most " + strconv.Itoa(c.max)
	default:
		return nil
	}
	err := errdef.Errorf(errdef.Invalid, "takes %s argument(s), not %d", want, len(args))
	return errdef.WithHint(err, "usage: "+c.usage())
}

func (c *command) usage() string {
	usage := Name + " " + c.name
	if c.flags != nil {
		usage += " [flags]"
	}
	if c.args != "" {
		usage += " " + c.args
	}
	return usage
}

// parse reads flags up to the first argument. help is true when it was asked for.
func parse(flags *flag.FlagSet, args []string) (rest []string, help bool, err error) {
	err = flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil, true, nil
	case err == nil:
		return flags.Args(), false, nil
	}
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		text = "unknown flag --" + name
	} else if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		text = "flag --" + name + " needs a value"
	}
	what := Name
	if flags.Name() != Name {
		what += " " + flags.Name()
	}
	return nil, false, errdef.WithHint(errdef.Errorf(errdef.Invalid, "%s", text), what+" --help lists the flags")
}

// parseMixed is parse for a command whose flags may also stand behind and between its arguments, as with runc, up to a "--".
func parseMixed(flags *flag.FlagSet, args []string) (rest []string, help bool, err error) {
	for {
		left, help, err := parse(flags, args)
		if err != nil || help {
			return nil, help, err
		}
		if len(left) == 0 {
			return rest, false, nil
		}
		if used := len(args) - len(left); used > 0 && args[used-1] == "--" {
			return append(rest, left...), false, nil
		}
		rest, args = append(rest, left[0]), left[1:]
	}
}

func newFlagSet(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return flags
}
