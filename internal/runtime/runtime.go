package runtime

import (
	"context"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/state"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// DefaultLockTimeout is how long a command waits for another one that works on the same container.
const DefaultLockTimeout = 10 * time.Second

// endTimeout bounds the end of a container: from the kill until its processes are gone and its cgroups removed.
const endTimeout = 15 * time.Second

// A Runtime is a root directory of containers and how their cgroups are made. Its methods may be used at once.
type Runtime struct {
	Root         string        // state directory, absolute; made when needed
	Rootless     bool          // cgroups may be out of reach: do without them where nothing was asked for
	Systemd      bool          // cgroups are made by systemd
	NoCgroups    bool          // containers stay in the caller's cgroups: no limits, no device rules
	SeccompCache string        // directory of compiled filters; "": none
	LockTimeout  time.Duration // 0: DefaultLockTimeout
	Warn         func(error)   // gets what went wrong and does not end the command; nil: nobody
	Debug        func(string)  // gets what is done; nil: nobody
}

// A container is one opened by a command.
type container struct {
	*Runtime
	dir   *state.Dir
	rec   *state.Record
	group *cgroup.Group // opened when first asked for
}

func (r *Runtime) warn(err error) {
	if err != nil && r.Warn != nil {
		r.Warn(err)
	}
}

func (r *Runtime) debug(text string) {
	if r.Debug != nil {
		r.Debug(text)
	}
}

// look opens a container without its lock.
func (r *Runtime) look(id string) (*container, error) {
	return r.open(id, func(s *state.Store) (*state.Dir, error) { return s.Dir(id) })
}

// lock opens a container and takes its lock.
func (r *Runtime) lock(ctx context.Context, id string, how atomicfile.How) (*container, error) {
	return r.open(id, func(s *state.Store) (*state.Dir, error) {
		ctx, cancel := r.lockContext(ctx)
		defer cancel()
		return s.Lock(ctx, id, how)
	})
}

func (r *Runtime) lockContext(ctx context.Context) (context.Context, context.CancelFunc) {
	d := r.LockTimeout
	if d == 0 {
		d = DefaultLockTimeout
	}
	return context.WithTimeout(ctx, d)
}

func (r *Runtime) open(id string, how func(*state.Store) (*state.Dir, error)) (*container, error) {
	if err := state.ValidID(id); err != nil {
		return nil, err
	}
	store, err := state.Open(r.Root, false)
	if errdef.Is(err, errdef.NotFound) {
		return nil, errdef.Errorf(errdef.NotFound, "container %q: does not exist", id)
	}
	if err != nil {
		return nil, err
	}
	defer store.Close()
	dir, err := how(store)
	if err != nil {
		return nil, err
	}
	rec, err := dir.Load()
	if err != nil {
		dir.Close()
		return nil, err
	}
	return &container{Runtime: r, dir: dir, rec: rec}, nil
}

// close gives up the lock and everything open.
func (c *container) close() {
	if c.group != nil {
		c.group.Close()
		c.group = nil
	}
	c.dir.Close()
}

// cgroup opens the container's cgroup, nil when it has none of its own.
func (c *container) cgroup() (*cgroup.Group, error) {
	if c.group != nil || c.rec.Cgroup == nil {
		return c.group, nil
	}
	g, err := cgroup.FromRecord(*c.rec.Cgroup)
	if err != nil {
		return nil, err
	}
	c.group = g
	return g, nil
}

// needCgroup is cgroup for what cannot be done without one.
func (c *container) needCgroup() (*cgroup.Group, error) {
	g, err := c.cgroup()
	if g == nil && err == nil {
		err = errdef.Errorf(errdef.Unsupported, "container %q: it has no cgroup of its own", c.rec.ID)
	}
	return g, err
}

// ownPIDs reports whether the configuration asks for a new pid namespace.
func ownPIDs(spec *specs.Spec) bool {
	if spec.Linux == nil {
		return false
	}
	for _, ns := range spec.Linux.Namespaces {
		if ns.Type == specs.PIDNamespace {
			return ns.Path == ""
		}
	}
	return false
}
