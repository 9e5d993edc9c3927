// The runtime lives for milliseconds: it need not know how many processors its cgroup gives it, and watch that.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command bulkhead-runtime runs OCI bundles: an OCI runtime with runc's command line, for containerd, CRI-O, Docker and Podman.
//
//	bulkhead-runtime run -b /srv/web web
//
// Everything about it is in package command.
package main

import (
	"os"

	"github.com/bulkhead-engine/bulkhead/internal/runtime/command"
)

func main() { os.Exit(command.Main(os.Args)) }
