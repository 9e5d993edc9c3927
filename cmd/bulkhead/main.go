// The command lives for milliseconds: it need not know how many processors its cgroup gives it, and watch that.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command bulkhead is what people type: images, containers and volumes with the words and flags of Docker.
//
//	bulkhead pull alpine
//
// Everything about it is in package cli.
package main

import (
	"os"
	"runtime/debug"

	"github.com/bulkhead-engine/bulkhead/internal/cli"
	"github.com/bulkhead-engine/bulkhead/internal/daemon"
)

// collectAfter makes the first collection of garbage come at 16 MiB and not at 4: most commands have ended before.
const collectAfter = 400

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAfter)
	}
	os.Exit(cli.Main(os.Args, func(root, run string, warn func(error)) (cli.Engine, error) {
		return daemon.Open(daemon.Options{Root: root, Run: run, Product: cli.Version, Warn: warn})
	}))
}
