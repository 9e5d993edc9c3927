// Package cli is the command line of `bulkhead`: Docker's words, flags, output and exit statuses, and Podman's where Docker has none.
//
//	os.Exit(cli.Main(os.Args, open))
//
// One file per command, or per group of those that are alike. A command is built by a function of the table in commands.go (group.go: those of `container`), when the
// command line names it: `bulkhead --version` builds none, `bulkhead pull` one. Nothing is opened before a command runs.
//
// All commands speak Docker's Engine API to program.engine(): to the engine inside this process, which open gives and which needs no negotiation, or with -H,
// --context, BULKHEAD_HOST or BULKHEAD_CONTEXT to another (package host). DOCKER_HOST and the current context of Docker's configuration are another program's business.
// What an answer has is written by the packages format and progress.
//
// A container in the foreground (session.go): attach, then wait, then start, so that nothing it prints and no end is missed; the streams are carried (terminal.go)
// until the output ends. Signals are passed on without a terminal; with one, keys are raw, the keys for detaching (keys.go) end the command and not the program, and its
// size follows. The terminal is given back on every way out, the third ^C included.
//
// Exit statuses: 0; 1 for what went wrong; 64 for a template of inspect that is none; 125 for a flag that is wrong and for what went wrong in run and create; 126 and 127
// for a program that cannot be executed or is not there; the program's own; 130 and 143 after SIGINT and SIGTERM; 141 when nobody reads standard output any more, as a
// shell says of a program that SIGPIPE has killed.
//
// Errors are one line on standard error, `bulkhead: STEP: REASON`, and a second one, `hint: ...`, where there is a way out.
//
// A flag that another engine has and that cannot be here yet is known by name and refused with the reason; none is swallowed.
//
// Security: texts of images and registries reach a terminal only through package printable; what a container prints reaches it as it is, as everywhere. A password comes
// from a terminal without echo or from standard input, never from an argument, which everybody on the machine can read. A registry is trusted less only by its name
// (--insecure HOST).
package cli
