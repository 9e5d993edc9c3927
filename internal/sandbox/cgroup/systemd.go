package cgroup

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// With systemd the cgroup is a transient unit: a scope, or a slice when the name ends in ".slice". D-Bus is spoken by a helper program,
// bulkhead-systemd, so that the runtime does not carry it. The two talk in requests of lines "key=value", ended by an empty line, over the
// helper's standard input and output, and the answer has the same form.
//
// systemd makes no scope without a process. So that Create can return with the limits set and the container not there yet, the helper puts
// a process of its own into the scope, which sleeps, and ends it at Release, when the container's first process is in. A limit of the
// number of tasks is set then, not to count that process.

// unitDeadline bounds one request to systemd.
const unitDeadline = 30 * time.Second

// holderTasks is more than the threads that the sleeping process has: it is a Go program.
const holderTasks = 32

// helperName is the helper program: it stands beside the runtime, or in ../libexec/bulkhead.
const helperName = "bulkhead-systemd"

// A holder is a running helper whose sleeping process keeps a scope alive.
type holder struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Reader
}

// openUnit resolves the unit's place. Where systemd really put it is what Create learns from it.
func (g *Group) openUnit(l *Layout, path, id string) error {
	u, err := parseUnit(path, id)
	if err != nil {
		return err
	}
	if l.Mode == None {
		return errdef.Errorf(errdef.Unsupported, "systemd: no cgroup hierarchy is mounted")
	}
	if g.rootless && l.Mode != V2 {
		return errdef.WithHint(errdef.Errorf(errdef.Unsupported, "systemd: a user's manager has cgroups only with the unified hierarchy"), "boot with cgroup v2")
	}
	if u.slice == "" {
		u.slice = "system.slice"
		if g.rootless {
			u.slice = "user.slice"
		}
	}
	g.unit = u
	below := u.name
	if up, err := expandSlice(u.slice); err != nil {
		return err
	} else if up != "" {
		below = up + "/" + u.name
	}
	if slice, ok := strings.CutSuffix(u.name, ".slice"); ok { // a slice's place follows from its name
		if below, err = expandSlice(slice + ".slice"); err != nil {
			return err
		}
	}
	for i := range l.Hierarchies {
		g.addDir(&l.Hierarchies[i], below)
	}
	return nil
}

// Annotate gives the group the annotations of the specification whose names begin with org.systemd.property.: their values are properties of
// the unit, in D-Bus's text form, as with runc. To be called before Create; without systemd it does nothing.
func (g *Group) Annotate(annotations map[string]string) error {
	for _, key := range sortedKeys(annotations) {
		name, ok := strings.CutPrefix(key, "org.systemd.property.")
		if !ok || g.unit.name == "" {
			continue
		}
		if len(name) < 3 || strings.ContainsFunc(name, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') }) {
			return errdef.Errorf(errdef.Invalid, "annotation %q: not the name of a property", key)
		}
		if strings.ContainsAny(annotations[key], "\n\x00") {
			return errdef.Errorf(errdef.Invalid, "annotation %q: a newline or NUL in its value", key)
		}
		g.unit.variants = append(g.unit.variants, name+"="+annotations[key])
	}
	return nil
}

// JoinsByParent reports whether the caller must move the container's first process in with AddProcess before it lets it go on, since the
// process may not do it itself: a user's systemd moves for it across the tree that belongs to root. DirFD and ProcsFDs are then of no use.
func (g *Group) JoinsByParent() bool { return g.unit.name != "" && g.rootless }

// startUnit starts the unit and takes over where it is.
func (g *Group) startUnit(res *specs.LinuxResources, devices *filter) error {
	h, err := startHelper()
	if err != nil {
		return err
	}
	u := &g.unit
	u.tasks = 0
	req := []string{"op=start", "manager=" + g.manager(), "unit=" + u.name, "slice=" + u.slice}
	props, err := unitProperties(g.mode, res, devices)
	if err != nil {
		h.end()
		return err
	}
	for _, p := range props {
		if p.name == "TasksMax" && !strings.HasSuffix(u.name, ".slice") {
			if u.tasks, _ = strconv.ParseUint(p.value, 10, 64); p.value != infinity {
				p.value = strconv.FormatUint(u.tasks+holderTasks, 10)
			}
		}
		req = append(req, p.line())
	}
	for _, v := range u.variants {
		req = append(req, "variant="+v)
	}
	answer, err := h.ask(req)
	if err != nil {
		h.end()
		return err
	}
	if path := strings.Trim(answer["cgroup"], "/"); path != "" && g.mode == V2 {
		for _, d := range g.dirs {
			d.path = path
		}
	}
	g.holder = h
	return nil
}

// Release ends what kept the scope alive until the container's first process was in, and sets the limit of tasks. Without systemd, and the
// second time, it does nothing.
func (g *Group) Release() error {
	h := g.holder
	if h == nil {
		return nil
	}
	g.holder = nil
	defer h.end()
	req := []string{"op=release", "manager=" + g.manager(), "unit=" + g.unit.name}
	if g.unit.tasks != 0 {
		req = append(req, property{since: 0, name: "TasksMax", kind: "t", value: strconv.FormatUint(g.unit.tasks, 10)}.line())
	}
	_, err := h.ask(req)
	if err == nil && g.unit.tasks != 0 {
		_, err = g.apply(g.again)
	}
	return err
}

func (g *Group) updateUnit(res *specs.LinuxResources, devices *filter) error {
	props, err := unitProperties(g.mode, res, devices)
	if err != nil || len(props) == 0 {
		return err
	}
	req := []string{"op=set", "manager=" + g.manager(), "unit=" + g.unit.name}
	for _, p := range props {
		if p.name != "OOMPolicy" { // is for the start
			req = append(req, p.line())
		}
	}
	return g.once(req)
}

func (g *Group) stopUnit() error {
	if g.holder != nil {
		g.holder.end()
		g.holder = nil
	}
	return g.once([]string{"op=stop", "manager=" + g.manager(), "unit=" + g.unit.name})
}

// attach moves a process into the unit's cgroup, or one below it, by way of systemd. The group may itself be below the unit's.
func (g *Group) attach(pid int, sub string) error {
	d := g.unifiedDir()
	if d == nil {
		return errdef.Errorf(errdef.Unsupported, "systemd: the group has no directory in the unified hierarchy")
	}
	below, err := d.subFor(sub)
	if err != nil {
		return err
	}
	if _, own, ok := strings.Cut("/"+d.path+"/", "/"+g.unit.name+"/"); ok {
		below = strings.Trim(own+below, "/")
	}
	return g.once([]string{"op=attach", "manager=" + g.manager(), "unit=" + g.unit.name, "pid=" + strconv.Itoa(pid), "sub=/" + below})
}

func (g *Group) manager() string {
	if g.rootless {
		return "user"
	}
	return "system"
}

// once starts a helper for a single request.
func (g *Group) once(req []string) error {
	h, err := startHelper()
	if err != nil {
		return err
	}
	defer h.end()
	_, err = h.ask(req)
	return err
}

func startHelper() (*holder, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "systemd: own path: %w", err)
	}
	dir := filepath.Dir(self)
	var cmd *exec.Cmd
	for _, path := range []string{filepath.Join(dir, helperName), filepath.Join(dir, "../libexec/bulkhead", helperName)} {
		if _, err := os.Stat(path); err == nil {
			cmd = exec.Command(path)
			break
		}
	}
	if cmd == nil {
		return nil, errdef.WithHint(errdef.Errorf(errdef.Unsupported, "systemd: helper program %s: not found", helperName),
			"it belongs beside "+self+" or into ../libexec/bulkhead")
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "systemd: helper: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "systemd: helper: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, errdef.Errorf(errdef.Unsupported, "systemd: helper %s: %w", cmd.Path, err)
	}
	return &holder{cmd: cmd, in: in, lines: bufio.NewReader(out)}, nil
}

// end closes the helper's input, upon which it ends, and reaps it.
func (h *holder) end() {
	_ = h.in.Close()
	t := time.AfterFunc(unitDeadline, func() { _ = h.cmd.Process.Kill() })
	_ = h.cmd.Wait()
	t.Stop()
}

// ask sends a request and reads the answer. The helper has its own deadline; ours, a little later, is for a helper that hangs.
func (h *holder) ask(req []string) (map[string]string, error) {
	t := time.AfterFunc(unitDeadline+5*time.Second, func() { _ = h.cmd.Process.Kill() })
	defer t.Stop()
	if _, err := io.WriteString(h.in, strings.Join(req, "\n")+"\n\n"); err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "systemd: helper: request: %w", err)
	}
	answer := map[string]string{}
	for {
		line, err := h.lines.ReadString('\n')
		if err != nil {
			return nil, errdef.Errorf(errdef.Unavailable, "systemd: helper: answer: %w", err)
		}
		key, val, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if key == "" {
			break
		}
		answer[key] = val
	}
	if text, bad := answer["error"]; bad {
		kind, _ := strconv.Atoi(answer["kind"])
		err := errdef.Errorf(errdef.Kind(kind), "systemd: %s", text)
		if answer["hint"] != "" {
			err = errdef.WithHint(err, answer["hint"])
		}
		return nil, err
	}
	return answer, nil
}
