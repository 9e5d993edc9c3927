package command

import (
	"flag"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/runtime"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// systemRoot is where root's containers are kept.
const systemRoot = "/run/bulkhead/runtime"

// seccompDir holds compiled filters, in the root. The character in front is none of an identifier's.
const seccompDir = "~seccomp"

// global are the flags before the command.
type global struct {
	root      string
	log       string
	logFormat string
	debug     bool
	systemd   bool
	manager   string
	rootless  string
	criu      string
	version   bool
}

func (g *global) register(flags *flag.FlagSet) {
	flags.StringVar(&g.root, "root", "", "`DIR` for the state of containers, on a tmpfs (default "+systemRoot+", for users $XDG_RUNTIME_DIR/bulkhead/runtime)")
	flags.StringVar(&g.log, "log", "", "append errors and warnings to `FILE`")
	flags.StringVar(&g.logFormat, "log-format", "text", "`FORMAT` of the log: text or json")
	flags.BoolVar(&g.debug, "debug", false, "log what is done, too")
	flags.BoolVar(&g.systemd, "systemd-cgroup", false, "let systemd make the cgroups; cgroupsPath is slice:prefix:name")
	flags.StringVar(&g.manager, "cgroup-manager", "", "who makes cgroups: cgroupfs, systemd, or disabled, which sets no limit and no device rule (default cgroupfs)")
	flags.StringVar(&g.rootless, "rootless", "auto", "whether cgroups may be out of reach: true, false or `auto`")
	flags.StringVar(&g.criu, "criu", "", "ignored: there is no checkpoint")
	flags.BoolVar(&g.version, "version", false, "print the version")
	flags.BoolVar(&g.version, "v", false, "the same as --version")
}

// open prepares logging.
func (g *global) open(log *logger) error {
	log.debug = g.debug
	switch g.logFormat {
	case "", "text":
	case "json":
		log.json = true
	default:
		return errdef.Errorf(errdef.Invalid, "log format %q: must be text or json", g.logFormat)
	}
	switch g.manager {
	case "", "cgroupfs", "systemd", "disabled":
	default:
		return errdef.Errorf(errdef.Invalid, "cgroup manager %q: must be cgroupfs, systemd or disabled", g.manager)
	}
	return log.open(g.log)
}

// runtime returns what the commands work with.
func (g *global) runtime(log *logger) (*runtime.Runtime, error) {
	rootless, err := g.isRootless()
	if err != nil {
		return nil, err
	}
	root, err := g.stateRoot()
	if err != nil {
		return nil, err
	}
	rt := &runtime.Runtime{
		Root: root, Rootless: rootless, Systemd: g.systemd || g.manager == "systemd", NoCgroups: g.manager == "disabled",
		SeccompCache: filepath.Join(root, seccompDir), Warn: log.warn,
	}
	if g.debug {
		rt.Debug = func(text string) { log.line("debug", text) }
	}
	return rt, nil
}

// isRootless answers --rootless: by default a user is, and root in a user namespace.
func (g *global) isRootless() (bool, error) {
	switch strings.ToLower(g.rootless) {
	case "", "auto":
		return unix.Geteuid() != 0 || inUserNamespace(), nil
	}
	b, err := strconv.ParseBool(g.rootless)
	if err != nil {
		return false, errdef.Errorf(errdef.Invalid, "rootless %q: must be true, false or auto", g.rootless)
	}
	return b, nil
}

// inUserNamespace reports whether the ids of this process are mapped: user_namespaces(7), uid_map of the first namespace.
func inUserNamespace() bool {
	proc, err := procfs.Host()
	if err != nil {
		return false
	}
	data, err := proc.Read("self/uid_map")
	if err != nil {
		return false
	}
	fields := strings.Fields(string(data))
	return len(fields) != 3 || fields[0] != "0" || fields[1] != "0" || fields[2] != "4294967295"
}

// stateRoot returns the root directory of containers: root's own below /run, a user's below $XDG_RUNTIME_DIR. Root in a user namespace counts
// as that user, unless it is called root there.
func (g *global) stateRoot() (string, error) {
	if g.root != "" {
		return g.root, nil
	}
	user, set := os.LookupEnv("USER")
	if unix.Geteuid() == 0 && (!inUserNamespace() || set && user == "root") {
		return systemRoot, nil
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" && unix.Geteuid() == 0 {
		return systemRoot, nil
	}
	if !filepath.IsAbs(dir) {
		err := errdef.Errorf(errdef.Invalid, "root: XDG_RUNTIME_DIR is not set, and there is no other place for the state of a user's containers")
		return "", errdef.WithHint(err, "set it, or give --root DIR")
	}
	return filepath.Join(dir, "bulkhead", "runtime"), nil
}

// versionText is what --version prints. Docker, containerd and Podman read the first line and those with a colon.
func versionText() string {
	text := Name + " version " + Version + "\n"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				text += "commit: " + s.Value + "\n"
			}
		}
		text += "spec: " + specs.Version + "\ngo: " + info.GoVersion + "\n"
	}
	return text
}
