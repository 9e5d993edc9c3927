package doctor

import (
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	"golang.org/x/sys/unix"
)

func (e *examiner) cgroups(c *Caller) Cgroups {
	g := Cgroups{Systemd: exists("/run/systemd/system")}
	layout, err := cgroup.Detect()
	if err != nil || c.ProcMissing {
		return g
	}
	g.Mode = string(layout.Mode)
	for i := range layout.Hierarchies {
		h := &layout.Hierarchies[i]
		if !h.Unified() {
			for _, name := range h.Controllers {
				if !strings.HasPrefix(name, "name=") {
					g.Controllers = append(g.Controllers, name)
				}
			}
			continue
		}
		g.Mount, g.Own = h.Mount, h.Own
		g.Controllers = append(g.Controllers, strings.Fields(read(h.Mount+"/cgroup.controllers"))...)
		for _, m := range mountTable() {
			if m.Point == h.Mount && m.Type == "cgroup2" {
				g.Options = m.Super
			}
		}
	}
	slices.Sort(g.Controllers)
	if g.Mode == "v2" {
		g.delegated(c)
		if c.Privileged {
			g.Devices = tried(cgroup.TryDeviceFilter())
		}
	}
	g.swapFile(layout)
	swaps := read("/proc/swaps")
	g.SwapKnown, g.Swap = swaps != "", strings.Count(swaps, "\n") > 0
	if g.Systemd {
		g.BusPath = busPath(c)
		if g.BusPath != "" {
			answer, answered := within(e, func() error { return askBus(g.BusPath, e.o.Patience) })
			if !answered {
				answer = errdef.Errorf(errdef.Timeout, "no answer")
			}
			g.Bus = tried(answer)
		} else {
			g.Bus = Try{true, "not known"}
		}
	}
	return g
}

// delegated finds the group that a user may make groups in: that of his manager (user@.service), or his own. A runtime makes a group beside
// the one that it is in, so that the directory above must be his.
func (g *Cgroups) delegated(c *Caller) {
	id := number(c.UID)
	candidates := []string{"/user.slice/user-" + id + ".slice/user@" + id + ".service"}
	if i := strings.LastIndexByte(g.Own, '/'); i > 0 {
		candidates = append(candidates, g.Own[:i])
	}
	for _, at := range append(candidates, g.Own) {
		dir := g.Mount + at
		if at == "" || strings.Contains(at, "..") || unix.Access(dir, unix.W_OK) != nil || unix.Access(dir+"/cgroup.procs", unix.W_OK) != nil {
			continue
		}
		g.DelegatedAt = at
		g.Delegated = strings.Fields(read(dir + "/cgroup.controllers"))
		return
	}
}

// swapFile looks for the file that limits swap. The root group never has it, so the own one is looked into, and those below the root.
func (g *Cgroups) swapFile(layout *cgroup.Layout) {
	if !slices.Contains(g.Controllers, "memory") {
		return
	}
	for i := range layout.Hierarchies {
		h := &layout.Hierarchies[i]
		limit, swap := "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
		if h.Unified() {
			limit, swap = "memory.max", "memory.swap.max"
		} else if !slices.Contains(h.Controllers, "memory") {
			continue
		}
		dirs := []string{path.Join(h.Mount, h.Own), h.Mount}
		if list, err := os.ReadDir(h.Mount); err == nil {
			for _, entry := range list {
				if entry.IsDir() {
					dirs = append(dirs, path.Join(h.Mount, entry.Name()))
				}
			}
		}
		for _, dir := range dirs {
			if !exists(dir + "/" + limit) {
				continue
			}
			g.SwapFile = Try{Done: true}
			if !exists(dir + "/" + swap) {
				g.SwapFile.Text = "no file " + swap
			}
			return
		}
	}
}

// busPath is the socket at which systemd, or the user's own, is reached: as bulkhead-systemd does it.
func busPath(c *Caller) string {
	if c.UID == 0 && !c.InUserNS {
		if p := socketOf(os.Getenv("DBUS_SYSTEM_BUS_ADDRESS")); p != "" {
			return p
		}
		if p := "/run/dbus/system_bus_socket"; exists(p) {
			return p
		}
		return "/run/systemd/private"
	}
	if p := socketOf(os.Getenv("DBUS_SESSION_BUS_ADDRESS")); p != "" {
		return p
	}
	if c.RuntimeDir != "" {
		return path.Join(c.RuntimeDir, "bus")
	}
	return ""
}

// socketOf reads a bus address of the form unix:path=PATH, with the escapes of the D-Bus specification ("Server Addresses").
func socketOf(address string) string {
	first, _, _ := strings.Cut(address, ";")
	list, ok := strings.CutPrefix(first, "unix:")
	if !ok {
		return ""
	}
	for pair := range strings.SplitSeq(list, ",") {
		if v, ok := strings.CutPrefix(pair, "path="); ok {
			return unescapeBus(v)
		}
	}
	return ""
}

func unescapeBus(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			high, low := strings.IndexByte(hexDigits, s[i+1]|0x20), strings.IndexByte(hexDigits, s[i+2]|0x20)
			if high >= 0 && low >= 0 {
				b.WriteByte(byte(high<<4 | low))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

const hexDigits = "0123456789abcdef"

// askBus connects and begins to authenticate, which only a living bus answers: D-Bus specification, "Authentication Protocol".
func askBus(socket string, patience time.Duration) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return err
	}
	if _, err := unix.Write(fd, []byte("\x00AUTH EXTERNAL "+hex(number(unix.Geteuid()))+"\r\n")); err != nil {
		return err
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for until := time.Now().Add(patience); ; {
		left := time.Until(until)
		if left <= 0 {
			return errdef.Errorf(errdef.Timeout, "no answer")
		}
		if _, err := unix.Poll(poll, int(left/time.Millisecond)+1); err != nil && err != unix.EINTR {
			return err
		}
		if poll[0].Revents == 0 {
			continue
		}
		buf := make([]byte, 128)
		n, err := unix.Read(fd, buf)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN:
			continue
		case err != nil:
			return err
		case strings.HasPrefix(string(buf[:n]), "OK"):
			return nil
		}
		return errdef.Errorf(errdef.Denied, "it does not know this user")
	}
}

func hex(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteByte(hexDigits[s[i]>>4])
		b.WriteByte(hexDigits[s[i]&15])
	}
	return b.String()
}
