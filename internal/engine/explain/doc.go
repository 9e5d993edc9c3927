// Package explain tells what will confine a container, or does: every setting with what it comes from and why, and every system call in order with the setting that it
// belongs to.
//
//	e := explain.New(&explain.Input{Result: result, Steps: plan.Steps(), Config: record.Config, Host: record.Host, ...})
//	for _, p := range e.Parts { ... p.What, p.Origin, p.Reason, p.Steps }
//
// It is pure: the configuration comes from the same assembling as a start's, and the system calls from the compiler that a start uses. What it adds is the origin: a level, a flag,
// the image, the engine or the runtime. An origin is found by comparing the configuration with what the level alone would give, so that it holds for whatever has made the
// configuration so, and cannot fall behind the flags.
//
// Text of an image or a caller stands in values; who prints it on a terminal makes it printable first.
package explain
