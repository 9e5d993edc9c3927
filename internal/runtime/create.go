package runtime

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/bundle"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/launch"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/state"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/apparmor"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/forkexec"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// CreateOptions says what to create. The zero value is the bundle in the current directory.
type CreateOptions struct {
	Bundle        string // directory; "": the current one
	ConsoleSocket string // unix socket that gets the terminal's master, when process.terminal is set
	PidfdSocket   string // unix socket that gets a pidfd of the container's first process
	PIDFile       string // gets the pid, in one step
	NoPivot       bool   // move the root instead of pivoting, for a root on a ramfs
	NoNewKeyring  bool   // keep the caller's session keyring
	PreserveFDs   int    // descriptors from 3 on that the container inherits
	Listen        ListenFDs
	NotifySocket  string // the service manager's socket: the container gets one of its own, from which readiness is passed on
	// Born is called when the first process is in namespaces of its own, with its pid, which it must not use after Create has returned: what is prepared there, a network say, can be begun
	// then, beside the rest. An error ends the create.
	Born func(pid int) error
}

// Create makes a container that waits for Start. On an error nothing of it is left.
func (r *Runtime) Create(ctx context.Context, id string, o *CreateOptions) error {
	c, child, err := r.create(ctx, id, &creation{CreateOptions: *o, detached: true})
	if err != nil {
		return err
	}
	child.Close()
	c.close()
	return nil
}

// A creation is a create on its way.
type creation struct {
	CreateOptions
	bundle   *bundle.Bundle // nil: to be loaded
	run      bool           // execute the program at once
	detached bool           // nobody waits in the foreground
	front    *foreground    // who waits

	c       *container
	group   *cgroup.Group
	console func(master int) error
	pidfd   int // socket, -1: none
	notify  *notify
	oom     *oomMemory     // nil: the cgroup stays until it is deleted
	profile *apparmor.Slot // nil: none of the runtime's

	birth *forkexec.Birth // the child, until launch has it
	spec  *specs.Spec     // the bundle's, with what environment adds
	draft *launch.Draft   // the plan, if it is compiled beside
}

// load reads a bundle that has something to run.
func (r *Runtime) load(dir string) (*bundle.Bundle, error) {
	if dir == "" {
		dir = "."
	}
	b, err := bundle.Load(dir)
	if err != nil {
		return nil, err
	}
	for _, w := range b.Warnings {
		r.warn(errors.New("config.json: " + w))
	}
	if b.Spec.Process == nil {
		return nil, errdef.Errorf(errdef.Invalid, "config.json: process: is missing, and there is nothing to start")
	}
	r.warnUngranted(b.Spec)
	_, missing, err := launch.Landlock(b.Spec)
	for _, m := range missing {
		r.warn(errdef.Errorf(errdef.Unsupported, "landlock: %s", m))
	}
	return b, err
}

// create makes a container. The result is locked; on an error nothing of it is left.
func (r *Runtime) create(ctx context.Context, id string, n *creation) (*container, *launch.Child, error) {
	if n.bundle == nil {
		var err error
		if n.bundle, err = r.load(n.Bundle); err != nil {
			return nil, nil, err
		}
	}
	if err := state.ValidID(id); err != nil {
		return nil, nil, err
	}
	if err := n.check(); err != nil {
		return nil, nil, err
	}
	closeSockets, err := n.connect()
	if err != nil {
		return nil, nil, err
	}
	defer closeSockets()
	defer n.endBirth()
	if n.front != nil {
		if err := n.front.lend(); err != nil {
			return nil, nil, err
		}
		defer n.front.takeBack()
	}
	if err := n.confine(ctx, r, id); err != nil {
		return nil, nil, err
	}
	defer func() {
		if n.c == nil || n.c.rec == nil { // it came to no record
			n.profile.Drop()
		}
	}()
	if err := n.hurry(r, id); err != nil {
		return nil, nil, err
	}
	if err := r.claim(ctx, id, n); err != nil {
		if n.group != nil {
			n.group.Close()
		}
		return nil, nil, err
	}
	child, err := n.build(ctx)
	if err != nil {
		err = n.explained(err)
		n.forgetOOM()
		n.endBirth()
		n.notify.close()
		n.c.undo()
		return nil, nil, err
	}
	return n.c, child, nil
}

// check refuses combinations, before anything exists.
func (n *creation) check() error {
	if err := checkTerminal(n.bundle.Spec.Process.Terminal, n.detached, n.ConsoleSocket); err != nil {
		return err
	}
	return checkPreserved(n.Listen.N + n.PreserveFDs)
}

// checkTerminal refuses a terminal that nobody takes, and a taker that gets none.
func checkTerminal(terminal, detached bool, socket string) error {
	switch {
	case terminal && detached && socket == "":
		err := errdef.Errorf(errdef.Invalid, "process.terminal: cannot allocate tty if bulkhead-runtime will detach without setting console socket")
		return errdef.WithHint(err, "give --console-socket, or set process.terminal to false")
	case socket != "" && !(terminal && detached):
		err := errdef.Errorf(errdef.Invalid, "console socket: cannot use console socket if bulkhead-runtime will not detach or allocate tty")
		return errdef.WithHint(err, "leave --console-socket away, or set process.terminal to true")
	}
	return nil
}

// checkPreserved makes sure that the caller gave us as many descriptors as we are to pass on. Ours are close-on-exec; what is not, we
// inherited.
func checkPreserved(n int) error {
	for fd := 3; fd < 3+n; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			return errdef.Errorf(errdef.Invalid, "preserve descriptors: descriptor %d (of 3 to %d) is not open", fd, 2+n)
		}
	}
	return nil
}

// connect connects to the sockets that get descriptors, so that a wrong path ends the create before it begins.
func (n *creation) connect() (closeAll func(), err error) {
	n.pidfd = -1
	console := -1
	if n.front != nil {
		n.console = n.front.console
	}
	closeAll = func() {
		for _, fd := range []int{console, n.pidfd} {
			if fd >= 0 {
				unix.Close(fd)
			}
		}
	}
	if n.ConsoleSocket != "" {
		if console, err = dial(n.ConsoleSocket); err != nil {
			return nil, err
		}
		n.console = func(master int) error {
			defer unix.Close(master)
			return sendFD(console, master, masterName)
		}
	}
	if n.PidfdSocket != "" {
		if n.pidfd, err = dial(n.PidfdSocket); err != nil {
			closeAll()
			return nil, err
		}
	}
	return closeAll, nil
}

// hurry begins what needs nothing of the container's directory: compiling the plan, and where it is not to be born in a cgroup, making the
// child. Making files for the directory takes about as long.
func (n *creation) hurry(r *Runtime, id string) error {
	var err error
	if n.group, err = r.openGroup(n.bundle.Spec, id); err != nil {
		return err
	}
	if r.Rootless || r.Systemd || n.NotifySocket != "" {
		return nil // the cgroup may turn out to be another, or none; the spec gets a mount
	}
	n.spec = n.environment()
	n.draft = launch.Compile(n.options(r, id))
	if n.group == nil {
		return n.begin()
	}
	return nil
}

// options are what launch needs to know for the plan.
func (n *creation) options(r *Runtime, id string) *launch.Options {
	return &launch.Options{
		ID: id, Bundle: n.bundle.Dir, Spec: n.spec, Run: n.run, NoPivot: n.NoPivot, NoKeyring: n.NoNewKeyring,
		PreserveFDs: n.Listen.N + n.PreserveFDs, Group: n.group, SeccompCache: r.SeccompCache,
	}
}

// claim takes the name, after cleaning up what a killed create left under it, and writes the first record: that of what will be made.
func (r *Runtime) claim(ctx context.Context, id string, n *creation) error {
	spec := n.bundle.Spec
	c := &container{Runtime: r, group: n.group}
	var err error
	if c.dir, err = r.claimDir(ctx, id); err != nil {
		return err
	}
	n.c = c
	c.rec = &state.Record{
		ID: id, Phase: state.Creating, Made: time.Now().UTC(), OCIVersion: spec.Version, Bundle: n.bundle.Dir, Rootfs: n.bundle.Rootfs,
		Annotations: spec.Annotations, Owner: uint32(unix.Geteuid()), Hooks: spec.Hooks, OwnPIDs: ownPIDs(spec), Rootless: r.Rootless,
		AppArmor: n.profileName(),
	}
	if err := n.describe(spec); err != nil {
		c.undo()
		return err
	}
	return nil
}

// describe completes the first record and keeps it and the configuration.
func (n *creation) describe(spec *specs.Spec) error {
	c := n.c
	if n.group != nil {
		rec := n.group.Record()
		c.rec.Cgroup = &rec
		c.rec.CgroupMade = !c.Systemd && !n.group.Exists() // what does not exist yet will be ours
	}
	if spec.Linux != nil && spec.Linux.IntelRdt != nil {
		fsys, err := findResctrl()
		if err != nil {
			return err
		}
		if c.rec.RDT, err = fsys.plan(c.rec.ID, spec.Linux.IntelRdt); err != nil {
			return err
		}
	}
	if err := c.dir.Save(c.rec); err != nil {
		return err
	}
	return c.dir.SaveConfig(n.bundle.Config)
}

func (r *Runtime) claimDir(ctx context.Context, id string) (*state.Dir, error) {
	store, err := state.Open(r.Root, true)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	for {
		dir, crashed, err := store.Claim(ctx, id)
		if err != nil || crashed == nil {
			return dir, err
		}
		r.debug("clean up after a killed create of " + id)
		old := &container{Runtime: r, dir: dir, rec: crashed}
		err = old.destroy(ctx)
		old.close()
		if err != nil {
			return nil, err
		}
	}
}

// build makes what the record names. The child is begun before the cgroup where it need not be born in it: making namespaces takes the
// kernel about as long as making directories.
func (n *creation) build(ctx context.Context) (*launch.Child, error) {
	c, spec := n.c, n.bundle.Spec
	if err := n.limit(); err != nil {
		return nil, err
	}
	if c.rec.RDT != nil {
		if err := makeRDT(c.rec.RDT, spec.Linux.IntelRdt); err != nil {
			return nil, err
		}
	}
	if n.profile != nil {
		if err := n.profile.Load(); err != nil {
			return nil, err
		}
	}
	child, err := n.launch(ctx)
	if err != nil {
		return nil, err
	}
	if err := n.finish(child); err != nil {
		child.Kill()
		return nil, err
	}
	return child, nil
}

// begin lets the kernel make the child while the limits are set and the plan is compiled; in a cgroup v2, if there is one.
func (n *creation) begin() error {
	dir := -1
	if n.group != nil {
		var err error
		if dir, err = n.group.DirFD(); err != nil {
			return err
		}
	}
	var err error
	n.birth, err = launch.Begin(n.bundle.Spec, n.Listen.N+n.PreserveFDs, dir) // which owns dir now
	return err
}

// endBirth ends a child that was begun and that launch did not get.
func (n *creation) endBirth() {
	if n.birth != nil {
		n.birth.Abort()
		n.birth = nil
	}
}

// launch starts the child.
func (n *creation) launch(ctx context.Context) (*launch.Child, error) {
	c := n.c
	if n.spec == nil {
		n.spec = n.environment()
		var err error
		if n.notify, err = prepareNotify(c.dir, n.NotifySocket, n.run, n.spec); err != nil {
			return nil, err
		}
	}
	o := n.options(c.Runtime, c.rec.ID)
	o.Dir, o.Birth, o.Draft, o.Console = c.dir.Path, n.birth, n.draft, n.console
	if n.front != nil {
		o.Interrupt = &launch.Interrupt{FD: n.front.sigs.FD(), Stop: n.front.interrupted}
	}
	o.OnCreated = func(pid int) error { return n.born(ctx, pid) }
	o.State = func(status string, pid int) []byte { return c.document(specs.ContainerState(status), pid) }
	n.birth = nil // launch's from here on
	return launch.Create(ctx, o)
}

// environment returns the configuration with what the runtime adds to it: the home directory, the sockets of the service manager, the AppArmor profile.
func (n *creation) environment() *specs.Spec {
	spec, process := *n.bundle.Spec, *n.bundle.Spec.Process
	env := append(slices.Clip(process.Env), n.Listen.env()...)
	process.Env = completeEnv(env, func() string { return homeInRoot(n.bundle.Rootfs, process.User.UID) })
	if n.profile != nil {
		process.ApparmorProfile = n.profile.Name
	}
	spec.Process = &process
	return &spec
}

// born is called when the child is in its namespaces and its cgroup: the hooks of this moment run. They, and whoever cleans up where there
// is no cgroup, need the pid on record; else the record that finish writes is early enough.
func (n *creation) born(ctx context.Context, pid int) error {
	c := n.c
	init, err := state.Identify(pid)
	if err != nil {
		return err
	}
	c.rec.Init = init
	if n.Born != nil {
		if err := n.Born(pid); err != nil {
			return err
		}
	}
	h := c.rec.Hooks
	if h != nil || n.group == nil {
		if err := c.dir.Save(c.rec); err != nil {
			return err
		}
	}
	if c.rec.RDT != nil {
		if err := joinRDT(c.rec.RDT, pid); err != nil {
			return err
		}
	}
	if h == nil {
		return nil
	}
	doc := c.document(specs.StateCreating, pid)
	if err := launch.RunHooks(ctx, "prestart", h.Prestart, doc, -1); err != nil { //nolint:staticcheck // deprecated, and still required
		return err
	}
	return launch.RunHooks(ctx, "createRuntime", h.CreateRuntime, doc, -1)
}

// finish writes the record of a complete container and tells the caller of it.
func (n *creation) finish(child *launch.Child) error {
	c := n.c
	if c.rec.Init.PID != child.PID { // the first process made another on its way
		init, err := state.Identify(child.PID)
		if err != nil {
			return err
		}
		c.rec.Init = init
	}
	if n.group != nil {
		if err := n.group.Release(); err != nil { // the unit has a process of the container's by now
			return err
		}
	}
	c.rec.Phase, c.rec.Made = state.Complete, time.Now().UTC()
	if err := c.dir.Save(c.rec); err != nil {
		return err
	}
	if n.pidfd >= 0 {
		if err := sendFD(n.pidfd, child.PIDFD, initPidfd); err != nil {
			return err
		}
	}
	return writePIDFile(n.PIDFile, child.PID)
}

// undo takes back a create that went wrong. Its own failures are warnings: the error that began it is what the user needs to know.
func (c *container) undo() {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout) // the create's own context may be what ended it
	defer cancel()
	c.warn(c.destroy(ctx))
	c.close()
}
