// Package cli is the command line of `bulkhead`: Docker's words, flags, output and exit statuses, and Podman's where Docker has none.
//
//	os.Exit(cli.Main(os.Args))
//
// One file per command. A command is built by a function of the table in commands.go, when the command line names it: `bulkhead --version` builds none, `bulkhead
// pull` one. Nothing is opened before a command runs; directories of images by program.images, registries by the service itself when one is asked.
//
// A command has two halves. The first asks the engine and returns what Docker's Engine API would answer (summary, inspection, historyItem in answers.go); the
// second writes that (packages format and progress). When the API comes, the first halves become its server, and the second stay.
//
// Exit statuses: 0; 1 for what went wrong; 64 for a template of inspect that is none; 125 for a flag that is wrong; 130 and 143 after SIGINT and SIGTERM; 141 when
// nobody reads standard output any more, as a shell says of a program that SIGPIPE has killed.
//
// Errors are one line on standard error, `bulkhead: STEP: REASON`, and a second one, `hint: ...`, where there is a way out.
//
// A flag that another engine has and that cannot be here yet is known by name and refused with the reason; none is swallowed.
//
// Security: texts of images and registries reach a terminal only through package printable. A password comes from a terminal without echo or from standard
// input, never from an argument, which everybody on the machine can read. A registry is trusted less only by its name (--insecure HOST).
package cli
