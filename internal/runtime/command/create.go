package command

import (
	"context"
	"flag"
	"os"

	"github.com/bulkhead-engine/bulkhead/internal/runtime"
)

const containerArg = "CONTAINER"

func createCommand() *command {
	o := &runtime.CreateOptions{}
	return &command{
		name: "create", args: containerArg, summary: "create a container, which waits to be started", min: 1, max: 1,
		text:  "The bundle's config.json says what is in it; `" + Name + " start` runs its program.",
		flags: func(f *flag.FlagSet) { createFlags(f, o) },
		run: func(ctx context.Context, inv *invocation) (int, error) {
			fromEnv(o)
			return 0, inv.rt.Create(ctx, inv.args[0], o)
		},
	}
}

// createFlags are those that create and run share.
func createFlags(f *flag.FlagSet, o *runtime.CreateOptions) {
	f.StringVar(&o.Bundle, "bundle", "", "`DIR` with config.json (default: the current directory)")
	alias(f, "b", "bundle")
	f.StringVar(&o.ConsoleSocket, "console-socket", "", "unix `SOCKET` that gets the terminal's master")
	f.StringVar(&o.PidfdSocket, "pidfd-socket", "", "unix `SOCKET` that gets a pidfd of the first process")
	f.StringVar(&o.PIDFile, "pid-file", "", "`FILE` that gets the first process's pid")
	f.BoolVar(&o.NoPivot, "no-pivot", false, "move the root instead of pivot_root, for a root on a ramdisk")
	f.BoolVar(&o.NoNewKeyring, "no-new-keyring", false, "keep the caller's session keyring")
	f.IntVar(&o.PreserveFDs, "preserve-fds", 0, "pass on `N` descriptors from 3 (after those of LISTEN_FDS)")
}

// fromEnv takes what a service manager says in the environment.
func fromEnv(o *runtime.CreateOptions) {
	o.Listen = runtime.ListenFromEnv()
	o.NotifySocket = os.Getenv("NOTIFY_SOCKET")
}
