package cli

import "github.com/bulkhead-engine/bulkhead/test/terminal"

// terminal starts a command of the engine on a terminal.
func (e *engine) terminal(args ...string) *terminal.Screen {
	e.Helper()
	return terminal.Start(e.TB, e.command(e.Context(), args...))
}
