// Package filter reads seccomp profiles for people: what is wrong with one, what program it comes to, and in what two of them differ.
//
//	p, err := filter.Load("web.json")          // OCI's or Docker's format, or the name of a level: hardened
//	findings := filter.Lint(p)                 // what is missing for a program to start, rules that mean nothing, dangerous calls
//	program, err := filter.Compile(p)          // the instructions, as the kernel gets them
//	differences, err := filter.Diff(p, other)  // system calls that the two decide differently
//
// What a profile decides is found by compiling it and asking the program, with the compiler and the interpreter that the runtime's tests hold to the kernel, and not by reading its
// rules: rules overrule each other, and names mean different numbers on different architectures. Where a decision depends on arguments, the program is asked for all
// combinations of the values at which some rule of either profile changes its mind; of each pair of decisions one combination is shown.
//
// A profile is read for a process with the capabilities of the level hardened, on this machine's kernel and architecture: Docker's format has rules that hold for some only.
//
// Profiles come from others: their size is bounded, and so is the work that is done on one.
package filter
