package command

import (
	"context"
	"flag"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/runtime"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/bundle"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// execFlags change the container's process into the one to run.
type execFlags struct {
	o            runtime.ExecOptions
	file         string
	cwd          string
	env          words
	tty          bool
	user         string
	gids         words
	label        string
	apparmor     string
	noNewPrivs   bool
	caps         words
	cgroups      words
	setNoNewPriv bool
}

func execCommand() *command {
	e := &execFlags{}
	return &command{
		name: "exec", args: containerArg + " [PROGRAM [ARGUMENT...]]", summary: "run a process in a running container", min: 1, max: -1, ordered: true,
		text: "The process is like the container's own but for what flags say; with --process, a file says it all. The exit status is that of\n" +
			"the process, or 128 and the number of the signal that ended it; 255 says that it could not be started.",
		flags: e.register, failure: exitExecError,
		run: func(ctx context.Context, inv *invocation) (int, error) {
			e.setNoNewPriv = isSet(inv.flags, "no-new-privs")
			e.o.Cgroups = e.cgroups
			e.o.Process = func(p *specs.Process) (*specs.Process, error) { return e.process(p, inv.args[1:]) }
			if e.file != "" {
				file, err := bundle.LoadProcess(e.file) // before the container is locked: it may be a pipe, whose writer takes its time
				if err != nil {
					return 0, err
				}
				e.o.Process = func(*specs.Process) (*specs.Process, error) { return file, nil }
			}
			return inv.rt.Exec(ctx, inv.args[0], &e.o)
		},
	}
}

func (e *execFlags) register(f *flag.FlagSet) {
	f.StringVar(&e.o.ConsoleSocket, "console-socket", "", "unix `SOCKET` that gets the terminal's master")
	f.StringVar(&e.o.PidfdSocket, "pidfd-socket", "", "unix `SOCKET` that gets a pidfd of the process")
	f.StringVar(&e.o.PIDFile, "pid-file", "", "`FILE` that gets the process's pid")
	f.BoolVar(&e.o.Detach, "detach", false, "return when the program runs")
	alias(f, "d", "detach")
	f.IntVar(&e.o.PreserveFDs, "preserve-fds", 0, "pass on `N` descriptors from 3")
	f.BoolVar(&e.o.AllowPaused, "ignore-paused", false, "also in a paused container")
	f.Var(&e.cgroups, "cgroup", "run in `[CONTROLLER:]CGROUP` below the container's; may be repeated")
	f.StringVar(&e.file, "process", "", "`FILE` or pipe with the process as JSON, - for standard input")
	alias(f, "p", "process")
	f.StringVar(&e.cwd, "cwd", "", "working `DIR` in the container")
	f.Var(&e.env, "env", "add `NAME=VALUE` to the environment; may be repeated")
	alias(f, "e", "env")
	f.BoolVar(&e.tty, "tty", false, "give it a terminal")
	alias(f, "t", "tty")
	f.StringVar(&e.user, "user", "", "`UID[:GID]`, numbers")
	alias(f, "u", "user")
	f.Var(&e.gids, "additional-gids", "add supplementary `GID`; may be repeated")
	alias(f, "g", "additional-gids")
	f.StringVar(&e.label, "process-label", "", "SELinux `LABEL` of the process")
	f.StringVar(&e.apparmor, "apparmor", "", "AppArmor `PROFILE` of the process")
	f.BoolVar(&e.noNewPrivs, "no-new-privs", false, "set no_new_privs")
	f.Var(&e.caps, "cap", "add capability `CAP_NAME`; may be repeated")
	alias(f, "c", "cap")
}

// process makes the process from the container's own, which is a copy for us to change.
func (e *execFlags) process(p *specs.Process, args []string) (*specs.Process, error) {
	if len(args) == 0 {
		err := errdef.Errorf(errdef.Invalid, "exec: exec args cannot be empty")
		return nil, errdef.WithHint(err, "name a program after the container, or give --process FILE")
	}
	p.Args, p.CommandLine, p.Terminal = args, "", e.tty
	if e.cwd != "" {
		p.Cwd = e.cwd
	}
	if e.apparmor != "" {
		p.ApparmorProfile = e.apparmor
	}
	if e.label != "" {
		p.SelinuxLabel = e.label
	}
	if e.setNoNewPriv {
		p.NoNewPrivileges = e.noNewPrivs
	}
	p.Env = append(p.Env, e.env...)
	e.capabilities(p)
	if err := e.ids(p); err != nil {
		return nil, err
	}
	return p, nil
}

// capabilities adds those asked for. Ambient ones need inheritable ones (capabilities(7)), so they are added only where the
// configuration has some.
func (e *execFlags) capabilities(p *specs.Process) {
	if len(e.caps) == 0 {
		return
	}
	caps := specs.LinuxCapabilities{}
	if p.Capabilities != nil {
		caps = *p.Capabilities
	}
	add := func(list []string) []string { return append(list[:len(list):len(list)], e.caps...) }
	caps.Bounding, caps.Effective, caps.Permitted = add(caps.Bounding), add(caps.Effective), add(caps.Permitted)
	if caps.Inheritable != nil {
		caps.Ambient = add(caps.Ambient)
	}
	p.Capabilities = &caps
}

// ids sets user and groups. Names are not looked up: whose they would be, the host's or the image's, has been confused before.
func (e *execFlags) ids(p *specs.Process) error {
	if e.user != "" {
		uid, gid, both := strings.Cut(e.user, ":")
		n, err := parseID("user", uid)
		if err != nil {
			return err
		}
		p.User.UID, p.User.Username = n, ""
		if both {
			if p.User.GID, err = parseID("group", gid); err != nil {
				return err
			}
		}
	}
	for _, list := range e.gids {
		for _, text := range strings.Split(list, ",") {
			gid, err := parseID("additional group", text)
			if err != nil {
				return err
			}
			p.User.AdditionalGids = append(p.User.AdditionalGids[:len(p.User.AdditionalGids):len(p.User.AdditionalGids)], gid)
		}
	}
	return nil
}

func parseID(what, text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, errdef.Errorf(errdef.Invalid, "exec: %s %q: must be a number from 0 to 4294967295", what, text)
	}
	return uint32(n), nil
}
