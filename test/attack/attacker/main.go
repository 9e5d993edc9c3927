//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command attacker is what the hostile image runs: one static program with an attack per subcommand.
//
// It is started inside containers only, by the tests of package attack. A line "HIT ..." on standard output says that an attack
// reached something; all other lines are for the reader of a failed test. What can be judged from outside (a file of the host
// that changed) is judged there, and not here.
//
//	attacker fds
//	attacker racer ptrace 0000000000000000 /tmp/host-marker
//
// The Go runtime is told not to look at cgroups, for which it would keep descriptors open (go1.25).
package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// attacks is the table of subcommands; each gets the words behind its name.
var attacks = map[string]func(args []string){
	"fds":         descriptors,
	"cwd":         workingDirectory,
	"racer":       race,
	"tiocsti":     pushInput,
	"ctty":        controllingTerminal,
	"devices":     devices,
	"calls":       deniedCalls,
	"nested":      nested,
	"keyring":     keyring,
	"abstract":    abstractSocket,
	"shm":         sharedMemory,
	"cgroup":      cgroupFiles,
	"limits":      limits,
	"identity":    identity,
	"stat":        stat,
	"filesystems": fileSystems,
	"read":        read,
	"spawn":       spawn,
}

func main() {
	if len(os.Args) < 2 || attacks[os.Args[1]] == nil {
		fmt.Println("attacker: no such attack", os.Args[1:])
		os.Exit(2)
	}
	attacks[os.Args[1]](os.Args[2:])
}

func hit(format string, args ...any) { say("HIT "+format, args...) }

// say writes without package os, whose files would open descriptors of their own.
func say(format string, args ...any) {
	_, _ = syscall.Write(1, []byte(fmt.Sprintf(format, args...)+"\n"))
}

// read prints the start of each file, one line each.
func read(paths []string) {
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			say("%s: %v", p, err)
			continue
		}
		say("%s: %q", p, strings.TrimSpace(string(data[:min(len(data), 200)])))
	}
}
