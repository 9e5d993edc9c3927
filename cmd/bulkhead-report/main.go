// Command bulkhead-report prints, from inside a container, what confines it.
//
//	bulkhead-report [--json] [--host mnt=4026531841,net=4026531840]
//
// It needs nothing of the container but /proc: copy the static program in and run it as the container's process. One line per item, in
// sections: namespaces and id maps, capabilities, no_new_privs, seccomp, security modules; what became of dangerous system calls that
// it makes for real but with arguments that do no harm; masked and read-only paths; devices, mounts, limits. A line that begins with
// "ok" is a wall that stands, one with "!!" is a door that is open, one with neither is a fact. The last line counts them.
//
// --host gives the numbers of the host's namespaces (readlink /proc/self/ns/NAME there); without it the numbers that the kernel fixes
// for the first namespaces of the machine are known, which on kernels before 6.18 leaves out mnt and net.
//
// The exit status is 0 whatever was found, 1 when the report could not be written, 2 for wrong usage. It is no proof of containment:
// it is run by the container, so it says what the kernel told the container. An attacker who controls the container controls the report.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	if len(os.Args) >= 2 && os.Args[1] == childArg {
		os.Exit(probeChild(os.Args[2:], os.Stdout))
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("bulkhead-report", flag.ContinueOnError)
	flags.SetOutput(stderr)
	asJSON := flags.Bool("json", false, "print JSON")
	host := flags.String("host", "", "the host's namespaces, as `pid=4026531836,net=...`")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() != 0 {
		fmt.Fprintf(stderr, "bulkhead-report: %q: takes no arguments\n", flags.Arg(0))
		return 2
	}
	numbers, err := parseHost(*host)
	if err != nil {
		fmt.Fprintf(stderr, "bulkhead-report: --host: %v\n", err)
		return 2
	}
	r := collect(view{}, numbers)
	if *asJSON {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(r)
	} else {
		err = r.text(stdout)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bulkhead-report: %v\n", err)
		return 1
	}
	return 0
}

// collect makes the whole report of what v shows.
func collect(v view, host map[string]uint64) *report {
	r := &report{}
	r.add("namespaces", namespaces(v, host))
	r.add("identity", identity(v))
	r.add("capabilities", capabilities(v))
	r.add("confinement", confinement(v))
	r.add("system calls", runProbes(probes()))
	r.add("masked paths", maskedPaths(v))
	r.add("read-only paths", readonlyPaths(v))
	r.add("devices", devices(v))
	r.add("mounts", mounts(v))
	r.add("cgroup limits", cgroupLimits(v))
	r.add("rlimits", rlimits())
	r.sum()
	return r
}
