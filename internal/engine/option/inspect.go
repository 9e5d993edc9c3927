package option

import "github.com/moby/moby/api/types/container"

// Inspect is what is known of a container: Docker's fields, which its clients read, and one more.
type Inspect struct {
	container.InspectResponse
	Bulkhead Bulkhead
}

// Bulkhead is what is said of a container that Docker's API has no field for.
type Bulkhead struct {
	Level   string      // of the default that it was made from: hardened, untrusted, compat
	Weaker  []Weakening // what holds less than at the default level
	UIDs    string      // its user ids on the host, FIRST-LAST; "": the host's own
	UIDMap  []string    // of its user namespace, INSIDE:HOST:SIZE
	GIDMap  []string
	Monitor int    // pid of its monitor; 0: it does not run
	Rootfs  string // where the monitor has its files mounted; "": it does not run
}

// A Weakening is one line of what holds less than at the default level.
type Weakening struct {
	Flag string // that asked for it
	What string // that is given up
}
