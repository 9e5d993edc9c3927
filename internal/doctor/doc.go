// Package doctor says what a host has of that which containers need and are confined by, what it lacks, what the lack costs, and which
// command mends it.
//
//	facts := doctor.Examine(ctx, doctor.Options{StateDir: "/run/bulkhead/runtime"})
//	report := doctor.Judge(facts)
//	os.Stdout.Write(report.Text())
//	if report.Missing() > 0 { os.Exit(1) }
//
// Two halves. Examine asks the host and decides nothing; Judge decides and asks nothing, so that its verdicts about hosts that nobody has
// at hand are tested by writing their facts down.
//
// What can be tried is tried: namespaces are made, a fresh procfs, sysfs and overlayfs are mounted in a user namespace, ids are mapped by
// newuidmap(1), a device program is loaded, by a child that makes the same calls with the same machine as a starting container and then
// ends. A number of a version only explains. Nothing that is tried outlives its child or its descriptor, and nothing of the host is
// changed: mounts are detached or in a namespace that ends, files have no name.
//
// A status is ok; weak, where containers run and something of their confinement, their limits or their comfort is not to be had; missing,
// where they do not run; or unknown, where this process may not look. Only missing makes the host unfit.
//
// Nothing blocks: what may hang (a network file system, a bus, a helper) is waited for no longer than Options.Patience and then said to be
// silent. A goroutine that hangs in the kernel is left behind, for the program ends after the report.
//
// Security: what is read (names of mounts, values of sysctls, of os-release) may be anybody's; the report is free of control characters,
// and a command contains nothing that was read but numbers, and names of the form that useradd(8) allows.
package doctor
