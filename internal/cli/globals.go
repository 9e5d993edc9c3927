package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/cli/host"
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

	host, context, ca, cert, key string
	tls, verify                  bool
	flags                        *pflag.FlagSet // those before the command
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
	flags.StringVarP(&g.host, "host", "H", "", "engine to speak to, instead of one in this process: unix://, tcp://, ssh:// (default $BULKHEAD_HOST)")
	flags.StringVarP(&g.context, "context", "c", "", "the same, by the name of one of Docker's contexts (default $BULKHEAD_CONTEXT)")
	flags.BoolVar(&g.tls, "tls", false, "speak TLS to it")
	flags.BoolVar(&g.verify, "tlsverify", false, "the same; --tlsverify=false takes any certificate")
	flags.StringVar(&g.ca, "tlscacert", "", "certificates that vouch for it (default ca.pem of --config)")
	flags.StringVar(&g.cert, "tlscert", "", "certificate to show it (default cert.pem of --config)")
	flags.StringVar(&g.key, "tlskey", "", "key of that (default key.pem of --config)")
	g.flags = flags
}

// target is the engine that the flags and variables name, nil for the one in this process. DOCKER_HOST is another program's: it is not looked at.
func (g *globals) target() (*host.Target, error) {
	changed := func(name string) bool { return g.flags != nil && g.flags.Changed(name) }
	o := host.Options{
		Host: g.host, Context: g.context, TLS: g.tls || changed("tlsverify") || g.ca != "" || g.cert != "" || g.key != "", SkipVerify: changed("tlsverify") && !g.verify,
		CA: g.ca, Cert: g.cert, Key: g.key, Config: g.dockerConfig(),
	}
	local := g.root != "" || g.runRoot != ""
	if local && (o.Host != "" || o.Context != "") {
		err := errdef.Errorf(errdef.Invalid, "--root and --runroot: the engine that --host or --context names has its own")
		return nil, errdef.WithHint(err, "leave them away")
	}
	if o.Host == "" && o.Context == "" && !local {
		if o.Host = os.Getenv("BULKHEAD_HOST"); o.Host == "" {
			o.Context = os.Getenv("BULKHEAD_CONTEXT")
		}
	}
	return host.Find(o)
}

// dockerConfig is the directory of Docker's configuration, "" if there is none.
func (g *globals) dockerConfig() string {
	dir := g.config
	if dir == "" {
		dir = os.Getenv("DOCKER_CONFIG")
	}
	if dir == "" {
		if home, err := os.UserHomeDir(); err == nil {
			dir = filepath.Join(home, ".docker")
		}
	}
	return dir
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

// engineRun returns where the engine keeps what does not outlive the machine.
func (g *globals) engineRun() (string, error) {
	switch dir := os.Getenv("XDG_RUNTIME_DIR"); {
	case g.runRoot != "":
		abs, err := filepath.Abs(g.runRoot)
		if err != nil {
			return "", errdef.Errorf(errdef.Invalid, "--runroot %q: %w", g.runRoot, err)
		}
		return abs, nil
	case os.Geteuid() == 0:
		return "/run/bulkhead", nil
	case filepath.IsAbs(dir):
		return filepath.Join(dir, "bulkhead"), nil
	}
	return "", errdef.WithHint(errdef.Errorf(errdef.Invalid, "run directory of the engine: there is no XDG_RUNTIME_DIR"), "say --runroot DIR")
}
