package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/spf13/pflag"
)

// levels of --log-level, the quietest first.
const (
	levelFatal = iota
	levelError
	levelWarn
	levelInfo
	levelDebug
)

var levelNames = []string{"fatal", "error", "warn", "info", "debug"}

// level is the value of --log-level.
type level int

func (l *level) String() string { return levelNames[*l] }
func (l *level) Type() string   { return "level" }
func (l *level) Set(s string) error {
	switch s = strings.ToLower(s); s {
	case "panic":
		s = "fatal"
	case "warning":
		s = "warn"
	case "trace":
		s = "debug"
	}
	i := slices.Index(levelNames, s)
	if i < 0 {
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "there is no such level"), strings.Join(levelNames, ", "))
	}
	*l = level(i)
	return nil
}

// globals are the flags of all commands.
type globals struct {
	root, runRoot, config string
	level                 level
	debug                 bool
}

// withValue are the global flags whose value is the next word.
var withValue = []string{
	"--root", "--runroot", "--config", "--log-level", "--log", "-l", "-H", "--host", "-c", "--context", "--tlscacert", "--tlscert", "--tlskey",
}

// register makes the flags that every command takes.
func (g *globals) register(flags *pflag.FlagSet) {
	g.level = levelWarn
	flags.StringVar(&g.root, "root", "", "directory of the engine (default /var/lib/bulkhead; of a user $XDG_DATA_HOME/bulkhead)")
	flags.StringVar(&g.runRoot, "runroot", "", "directory for what does not outlive the machine (default /run/bulkhead; of a user $XDG_RUNTIME_DIR/bulkhead)")
	flags.StringVar(&g.config, "config", "", "directory of Docker's config.json with credentials (default $DOCKER_CONFIG, else ~/.docker)")
	flags.Var(&g.level, "log-level", "what standard error tells: "+strings.Join(levelNames, ", "))
	flags.BoolVarP(&g.debug, "debug", "D", false, "the same as --log-level=debug")
}

// registerRoot makes the flags that stand before the command only.
func (g *globals) registerRoot(flags *pflag.FlagSet) {
	flags.VarP(&g.level, "log", "l", "the same as --log-level")
	flags.Lookup("log").Hidden = true
	server := refusedFlag{reason: "this command is its own engine and speaks to no server yet", hint: "run it on the host that is meant, as with ssh HOST bulkhead ..."}
	for _, name := range []string{"context", "tlscacert", "tlscert", "tlskey"} {
		short := ""
		if name == "context" {
			short = "c"
		}
		refuse(flags, name, short, server)
	}
	refuse(flags, "host", "H", server)
	server.boolean = true
	refuse(flags, "tls", "", server)
	refuse(flags, "tlsverify", "", server)
}

// check completes the flags when all are read.
func (g *globals) check() error {
	if g.debug {
		g.level = levelDebug
	}
	for _, dir := range []struct{ flag, value string }{{"--root", g.root}, {"--runroot", g.runRoot}, {"--config", g.config}} {
		if strings.ContainsAny(dir.value, "\x00\n") {
			return &statusError{exitUsage, errdef.Errorf(errdef.Invalid, "%s %q: no name of a directory", dir.flag, dir.value)}
		}
	}
	return nil
}

// engineRoot returns where the engine keeps things.
func (g *globals) engineRoot() (string, error) {
	switch data := os.Getenv("XDG_DATA_HOME"); {
	case g.root != "":
		abs, err := filepath.Abs(g.root)
		if err != nil {
			return "", errdef.Errorf(errdef.Invalid, "--root %q: %w", g.root, err)
		}
		return abs, nil
	case os.Geteuid() == 0:
		return "/var/lib/bulkhead", nil
	case filepath.IsAbs(data): // a relative one is to be ignored, as the XDG specification has it
		return filepath.Join(data, "bulkhead"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(home) {
		return "", errdef.WithHint(errdef.Errorf(errdef.Invalid, "directory of the engine: there is no HOME"), "say --root DIR")
	}
	return filepath.Join(home, ".local", "share", "bulkhead"), nil
}
