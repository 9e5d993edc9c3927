package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/cli/manual"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/spf13/cobra"
)

// An entry is a command that can be built.
type entry struct {
	names []string // the first is its name, the others stand for it
	build func(p *program) *cobra.Command
}

// commands are what stands after the program's name.
func commands() []entry {
	return []entry{
		{[]string{"attach"}, attachCommand},
		{[]string{"commit"}, commitCommand},
		{[]string{"container"}, containerCommand},
		{[]string{"cp"}, copyCommand},
		{[]string{"create"}, func(p *program) *cobra.Command { return runCommand(p, false) }},
		{[]string{"diff"}, diffCommand},
		{[]string{"events"}, eventsCommand},
		{[]string{"exec"}, execCommand},
		{[]string{"explain"}, explainCommand},
		{[]string{"export"}, exportCommand},
		{[]string{"history"}, historyCommand},
		{[]string{"image"}, imageCommand},
		{[]string{"images"}, func(p *program) *cobra.Command { return listCommand(p, "images [OPTIONS] [REPOSITORY[:TAG]]") }},
		{[]string{"import"}, importCommand},
		{[]string{"info"}, infoCommand},
		{[]string{"inspect"}, func(p *program) *cobra.Command { return inspectCommand(p, "") }},
		{[]string{"kill"}, killCommand},
		{[]string{"load"}, loadCommand},
		{[]string{"login"}, loginCommand},
		{[]string{"logout"}, logoutCommand},
		{[]string{"logs"}, logsCommand},
		{[]string{"network"}, networkCommand},
		{[]string{"pause"}, pauseCommand},
		{[]string{"port"}, portCommand},
		{[]string{"ps"}, func(p *program) *cobra.Command { return psCommand(p, "ps") }},
		{[]string{"pull"}, pullCommand},
		{[]string{"push"}, pushCommand},
		{[]string{"rename"}, renameCommand},
		{[]string{"restart"}, restartCommand},
		{[]string{"rm"}, rmCommand},
		{[]string{"rmi"}, func(p *program) *cobra.Command { return removeCommand(p, "rmi") }},
		{[]string{"run"}, func(p *program) *cobra.Command { return runCommand(p, true) }},
		{[]string{"save"}, saveCommand},
		{[]string{"seccomp"}, seccompCommand},
		{[]string{"start"}, startCommand},
		{[]string{"stats"}, statsCommand},
		{[]string{"stop"}, stopCommand},
		{[]string{"system"}, systemCommand},
		{[]string{"tag"}, tagCommand},
		{[]string{"top"}, topCommand},
		{[]string{"unpause"}, unpauseCommand},
		{[]string{"update"}, updateCommand},
		{[]string{"verify"}, verifyCommand},
		{[]string{"version"}, versionCommand},
		{[]string{"volume"}, volumeCommand},
		{[]string{"wait"}, waitCommand},
		{[]string{"why"}, whyCommand},
	}
}

// imageCommands are what stands after `image`.
func imageCommands() []entry {
	return []entry{
		{[]string{"diff"}, imageDiffCommand},
		{[]string{"fsck", "check"}, fsckCommand},
		{[]string{"history"}, historyCommand},
		{[]string{"import"}, importCommand},
		{[]string{"inspect"}, func(p *program) *cobra.Command { return inspectCommand(p, "image") }},
		{[]string{"load"}, loadCommand},
		{[]string{"ls", "list"}, func(p *program) *cobra.Command { return listCommand(p, "ls [OPTIONS] [REPOSITORY[:TAG]]") }},
		{[]string{"mount"}, mountCommand},
		{[]string{"prune"}, pruneCommand},
		{[]string{"pull"}, pullCommand},
		{[]string{"push"}, pushCommand},
		{[]string{"rm", "remove", "rmi"}, func(p *program) *cobra.Command { return removeCommand(p, "rm") }},
		{[]string{"save"}, saveCommand},
		{[]string{"tag"}, tagCommand},
		{[]string{"tags"}, tagsCommand},
		{[]string{"umount", "unmount"}, unmountCommand},
	}
}

// add builds the entry that the word names, or all if it names none, as help and completion need them.
func (p *program) add(parent *cobra.Command, list []entry, word string) {
	one := slices.IndexFunc(list, func(e entry) bool { return slices.Contains(e.names, word) })
	for i, e := range list {
		if one >= 0 && i != one {
			continue
		}
		c := e.build(p)
		c.Aliases = e.names[1:]
		c.DisableFlagsInUseLine = true
		parent.AddCommand(c)
	}
}

// group is a command that has only commands.
func (p *program) group(use, short string, list []entry) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short,
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true}, // they are of a command that is not known
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd.CommandPath(), args[0], names(list))
		},
	}
	_, after := word(p.args)
	second, _ := word(after)
	p.add(c, list, second)
	return c
}

func names(list []entry) []string {
	var out []string
	for _, e := range list {
		out = append(out, e.names...)
	}
	return out
}

func imageCommand(p *program) *cobra.Command {
	return p.group("image COMMAND", "Manage images", imageCommands())
}

// word returns the first argument that is no global flag, and what follows it.
func word(args []string) (string, []string) {
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case slices.Contains(withValue, a):
			i++
		case a == "--":
			return "", nil
		case !strings.HasPrefix(a, "-") || a == "-":
			return a, args[i+1:]
		}
	}
	return "", nil
}

// own are the commands that cobra brings.
var own = []string{"help", "completion", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd}

// manualWord is the command of `make install` that writes the manual pages into a directory.
const manualWord = "__man"

// writeManual is that command.
func (p *program) writeManual(args []string) error {
	if len(args) != 1 {
		return errdef.Errorf(errdef.Invalid, "%s: wants a directory", manualWord)
	}
	return manual.Write(args[0], p.root(nil), Name+" "+Version)
}

// execute runs the command line.
func (p *program) execute(ctx context.Context, args []string) error {
	first, after := word(args)
	if first == manualWord {
		return p.writeManual(after)
	}
	known := names(commands())
	if first != "" && !slices.Contains(known, first) && !slices.Contains(own, first) {
		return unknownCommand(Name, first, append(known, own[:2]...))
	}
	root := p.root(args)
	err := root.ExecuteContext(ctx)
	if isFlagError(err) { // of flags before the command, which cobra does not hand to flagError
		return flagError(root, err)
	}
	return err
}

// root is the program with the commands that the words name.
func (p *program) root(args []string) *cobra.Command {
	p.args, p.began = args, time.Now()
	root := &cobra.Command{
		Use: Name + " [OPTIONS] COMMAND", Short: "Containers that contain: hardened with no flags given",
		SilenceErrors: true, SilenceUsage: true, TraverseChildren: true, DisableFlagsInUseLine: true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return p.global.check() },
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Version:           Version,
	}
	root.SetVersionTemplate(versionLine())
	p.global.register(root.PersistentFlags())
	p.global.registerRoot(root.Flags())
	root.Flags().BoolP("version", "v", false, "print the version")
	root.SetFlagErrorFunc(flagError)
	root.SetArgs(args)
	root.SetOut(p.out)
	root.SetErr(p.errs)
	first, _ := word(args)
	p.add(root, commands(), first)
	return root
}
