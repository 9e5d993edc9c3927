package main

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Names of org.freedesktop.systemd1(5).
const (
	busName      = "org.freedesktop.systemd1"
	managerPath  = "/org/freedesktop/systemd1"
	managerIface = busName + ".Manager"
)

// A manager is a connection to the system's or a user's systemd.
type manager struct {
	conn    *dbus.Conn
	obj     dbus.BusObject
	version int
	jobs    chan *dbus.Signal
}

// connect reaches the manager: by its bus, or, for root where no bus runs, by systemd's own socket.
func connect(ctx context.Context, user bool) (*manager, error) {
	conn, err := dial(ctx, user)
	if err != nil {
		return nil, err
	}
	m := &manager{conn: conn, obj: conn.Object(busName, managerPath), jobs: make(chan *dbus.Signal, 256)}
	conn.Signal(m.jobs)
	if conn.Names() != nil { // systemd's own socket has no bus that matches would be told to
		err = conn.AddMatchSignalContext(ctx, dbus.WithMatchInterface(managerIface), dbus.WithMatchMember("JobRemoved"))
	}
	if err == nil {
		err = m.call(ctx, "Subscribe")
	}
	if err == nil {
		err = m.readVersion(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, errdef.Errorf(errdef.Unavailable, "manager: %w", err)
	}
	return m, nil
}

func dial(ctx context.Context, user bool) (*dbus.Conn, error) {
	if user {
		return dialUser(ctx)
	}
	address := os.Getenv("DBUS_SYSTEM_BUS_ADDRESS")
	if address == "" {
		address = "unix:path=/run/dbus/system_bus_socket"
	}
	conn, err := dialAddress(ctx, address, true)
	if err == nil {
		return conn, nil
	}
	if os.Geteuid() == 0 {
		if own, err2 := dialAddress(ctx, "unix:path=/run/systemd/private", false); err2 == nil {
			return own, nil
		}
	}
	err = errdef.Errorf(errdef.Unavailable, "system bus %s: %w", address, err)
	return nil, errdef.WithHint(err, "is systemd the init system here, and D-Bus reachable? Else leave --systemd-cgroup away")
}

// dialUser reaches the user's manager by the session bus, or by the manager's own socket where there is no bus. Neither su nor sudo makes a
// session: then the variables lack, or are another user's, and the directory that logind makes for users is tried.
func dialUser(ctx context.Context) (*dbus.Conn, error) {
	uid := outerUID()
	usual := "/run/user/" + strconv.Itoa(uid)
	dir, address := os.Getenv("XDG_RUNTIME_DIR"), os.Getenv("DBUS_SESSION_BUS_ADDRESS")
	var tried []string
	first := error(nil)
	try := func(address string, bus bool) *dbus.Conn {
		conn, err := dialAddress(ctx, address, bus)
		if err != nil {
			tried = append(tried, address)
			if first == nil {
				first = err
			}
		}
		return conn
	}
	if address != "" {
		if conn := try(address, true); conn != nil {
			return conn, nil
		}
	}
	dirs := []string{usual}
	if dir != "" && dir != usual {
		dirs = []string{dir, usual}
	}
	for _, d := range dirs {
		path := "unix:path=" + dbus.EscapeBusAddressValue(d)
		if conn := try(path+"/bus", true); conn != nil {
			return conn, nil
		}
		if conn := try(path+"/systemd/private", false); conn != nil {
			return conn, nil
		}
	}
	what := "XDG_RUNTIME_DIR is " + strconv.Quote(dir)
	if dir == "" {
		what = "XDG_RUNTIME_DIR is not set (su and sudo make no session)"
	}
	err := errdef.Errorf(errdef.Unavailable, "no systemd manager of user %d: %s; tried %s: %w", uid, what, strings.Join(tried, ", "), first)
	return nil, errdef.WithHint(err, "log in as the user (ssh, or machinectl shell), or as root: loginctl enable-linger "+strconv.Itoa(uid)+
		"; then XDG_RUNTIME_DIR="+usual)
}

func dialAddress(ctx context.Context, address string, bus bool) (*dbus.Conn, error) {
	conn, err := dbus.Dial(address, dbus.WithContext(context.WithoutCancel(ctx)))
	if err != nil {
		return nil, err
	}
	if err = conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(outerUID()))}); err == nil && bus {
		err = conn.Hello()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// outerUID is our user as the bus sees it: in a user namespace, which a rootless runtime is in, the one outside (user_namespaces(7)).
func outerUID() int {
	uid := os.Geteuid()
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return uid
	}
	for _, line := range strings.Split(string(text), "\n") {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		inside, err1 := strconv.Atoi(f[0])
		outside, err2 := strconv.Atoi(f[1])
		count, err3 := strconv.Atoi(f[2])
		if err1 == nil && err2 == nil && err3 == nil && uid >= inside && uid-inside < count {
			return outside + uid - inside
		}
	}
	return uid
}

func (m *manager) call(ctx context.Context, method string, args ...any) error {
	return m.obj.CallWithContext(ctx, managerIface+"."+method, 0, args...).Err
}

// readVersion reads the manager's version, "252.39-1~deb12u1" or "v245": the number in front.
func (m *manager) readVersion(ctx context.Context) error {
	var v dbus.Variant
	err := m.obj.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, managerIface, "Version").Store(&v)
	if err != nil {
		return err
	}
	text, _ := v.Value().(string)
	m.version = leadingNumber(text)
	return nil
}

func leadingNumber(text string) int {
	text = strings.TrimLeft(text, `"v`)
	end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		text = text[:end]
	}
	n, _ := strconv.Atoi(text)
	return n
}

// aux is the type of the last argument of StartTransientUnit: units started with it, of which there are none.
type aux struct {
	Name  string
	Props []dbusProperty
}

// dbusProperty is (sv).
type dbusProperty struct {
	Name  string
	Value dbus.Variant
}

// known drops the properties that this systemd is too old for.
func (m *manager) known(props []property) []dbusProperty {
	out := make([]dbusProperty, 0, len(props))
	for _, p := range props {
		if m.version == 0 || p.since <= m.version {
			out = append(out, dbusProperty{p.Name, p.Value})
		}
	}
	return out
}

// start starts a transient unit and waits until systemd is done with it. A failed unit of the same name is cleared away once.
func (m *manager) start(ctx context.Context, unit string, props []dbusProperty) error {
	for again := true; ; again = false {
		var job dbus.ObjectPath
		err := m.obj.CallWithContext(ctx, managerIface+".StartTransientUnit", 0, unit, "replace", props, []aux{}).Store(&job)
		if isError(err, "UnitExists") && strings.HasSuffix(unit, ".slice") {
			return nil // kubelet makes sure of slices by starting them
		}
		if isError(err, "UnitExists") && again {
			_ = m.call(ctx, "ResetFailedUnit", unit)
			continue
		}
		if isError(err, "UnitExists") {
			return errdef.Errorf(errdef.Conflict, "unit %s: exists: %w", unit, err)
		}
		if err != nil {
			return errdef.Errorf(kindOf(err), "unit %s: start: %w", unit, err)
		}
		return m.wait(ctx, job, unit, "start")
	}
}

// wait waits for a job of systemd to end.
func (m *manager) wait(ctx context.Context, job dbus.ObjectPath, unit, what string) error {
	for {
		select {
		case <-ctx.Done():
			_ = m.call(context.WithoutCancel(ctx), "ResetFailedUnit", unit)
			return errdef.Errorf(errdef.Timeout, "unit %s: %s: systemd did not answer in time", unit, what)
		case sig, ok := <-m.jobs:
			if !ok {
				return errdef.Errorf(errdef.Unavailable, "unit %s: %s: the bus closed the connection", unit, what)
			}
			if sig.Name != managerIface+".JobRemoved" || len(sig.Body) < 4 || sig.Body[1] != job {
				continue
			}
			if result, _ := sig.Body[3].(string); result != "done" {
				_ = m.call(ctx, "ResetFailedUnit", unit)
				return errdef.Errorf(errdef.Internal, "unit %s: %s: systemd's job ended with %q", unit, what, result)
			}
			return nil
		}
	}
}

// cgroup asks where the unit's cgroup is.
func (m *manager) cgroup(ctx context.Context, unit string) (string, error) {
	var path dbus.ObjectPath
	if err := m.obj.CallWithContext(ctx, managerIface+".GetUnit", 0, unit).Store(&path); err != nil {
		return "", errdef.Errorf(kindOf(err), "unit %s: %w", unit, err)
	}
	iface := busName + ".Scope"
	if strings.HasSuffix(unit, ".slice") {
		iface = busName + ".Slice"
	}
	var v dbus.Variant
	err := m.conn.Object(busName, path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, iface, "ControlGroup").Store(&v)
	if err != nil {
		return "", errdef.Errorf(kindOf(err), "unit %s: ControlGroup: %w", unit, err)
	}
	text, _ := v.Value().(string)
	return text, nil
}

// stop stops the unit; one that is gone is no error.
func (m *manager) stop(ctx context.Context, unit string) error {
	var job dbus.ObjectPath
	err := m.obj.CallWithContext(ctx, managerIface+".StopUnit", 0, unit, "replace").Store(&job)
	if isError(err, "NoSuchUnit") {
		return nil
	}
	if err != nil {
		return errdef.Errorf(kindOf(err), "unit %s: stop: %w", unit, err)
	}
	err = m.wait(ctx, job, unit, "stop")
	_ = m.call(ctx, "ResetFailedUnit", unit) // mostly it is gone by now
	return err
}

func isError(err error, name string) bool {
	var e dbus.Error
	return errors.As(err, &e) && strings.HasSuffix(e.Name, "."+name)
}

func kindOf(err error) errdef.Kind {
	switch {
	case isError(err, "AccessDenied"), isError(err, "InteractiveAuthorizationRequired"):
		return errdef.Denied
	case isError(err, "NoSuchUnit"):
		return errdef.NotFound
	case isError(err, "PropertyReadOnly"), isError(err, "InvalidArgs"):
		return errdef.Invalid
	case errors.Is(err, context.DeadlineExceeded):
		return errdef.Timeout
	}
	return errdef.Internal
}
