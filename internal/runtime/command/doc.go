// Package command is the command line of bulkhead-runtime: runc's, so that containerd, CRI-O, Docker, Podman and people's scripts can call it in
// runc's place.
//
//	func main() { os.Exit(command.Main(os.Args)) }
//
// A command is a value of type command in the table of commands, one file each. It says what flags it has and how many arguments it takes, and calls
// package runtime, which does the work: nothing is decided here.
//
// # What callers rely on
//
// Flags are as in Go's flag package: -b DIR, --bundle DIR, --bundle=DIR. They may stand behind the arguments, too (update ID --memory 64m),
// but for exec and ps, where what follows the container belongs to another program; "--" ends them. The result of a command goes to
// standard output, and nothing else does. An error is one line on standard error and, when --log names a file, one in that, as text or
// (--log-format json) as an object with level, msg and time, which containerd, Docker and Podman read to tell the user what went wrong.
// A hint follows in parentheses.
//
// Exit status: 0, or the status of the process for run and exec in the foreground (128 and the number of a signal that ended it);
// 1 for an error; 255 for an error of exec, so that it can be told from the process's.
//
// Some words in errors are looked for by callers: "does not exist", "container not running", "already exists", "executable file not
// found". They are kept.
//
// # Where it differs from runc
//
// The state lies in /run/bulkhead/runtime (or $XDG_RUNTIME_DIR/bulkhead/runtime). There is no checkpoint and no restore. --explain shows what
// a bundle would become.
package command
