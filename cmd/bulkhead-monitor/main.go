// The monitor has no use for more processors than there are, and nothing in it watches what its cgroup gives it.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command bulkhead-monitor is the parent of one container. The engine starts it, nobody else has a use for it:
//
//	bulkhead-monitor RUN-DIRECTORY
//	bulkhead-monitor --heal NETWORK-DIRECTORY   removes what killed monitors have left of networks
//
// Package monitor says what it does, package monitor/control which descriptors and files it expects.
package main

import (
	"fmt"
	"os"

	"github.com/bulkhead-engine/bulkhead/internal/monitor"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "--heal" {
		if err := monitor.Heal(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "bulkhead-monitor:", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: bulkhead-monitor RUN-DIRECTORY (the engine starts it)")
		os.Exit(2)
	}
	if err := monitor.Main(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "bulkhead-monitor:", err)
		os.Exit(1)
	}
}
