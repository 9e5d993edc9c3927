// Command layerworker is a worker for layers that somebody has taken over: it starts as bulkhead-unpack does, in the same container, and instead of
// unpacking tries what it may not. What it reached it says in its answer to the first request; "nothing" if that is so.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/image/layer/confine"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/wire"
	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == "start" {
		self, err := os.Executable()
		if err == nil {
			err = confine.Start(context.Background(), &confine.Options{Box: os.Args[2], Target: os.Args[3], Program: self, Args: []string{"work"}})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	conn := wire.NewConn(confine.Socket)
	if conn.Send(&wire.Message{Kind: wire.Ready}) != nil {
		return
	}
	for {
		m, _, err := conn.Receive(false)
		if err != nil {
			return
		}
		if m.Kind == wire.Unpack {
			text := strings.Join(append(inside(), asked(conn, m.ID)...), "; ")
			if text == "" {
				text = "nothing"
			}
			_ = conn.Send(&wire.Message{Kind: wire.Failed, ID: m.ID, Text: text})
		}
	}
}

// reached collects what should not have worked.
type reached []string

func (r *reached) try(what string, err error) {
	if err == nil {
		*r = append(*r, what)
	}
}

// inside tries what needs nobody's help.
func inside() []string {
	var r reached
	for _, path := range []string{"/etc/passwd", "/proc/self/exe", "/sys", "/dev/null", "/target/../etc", "/target/../../etc/passwd", "/target/../work", "/bin/sh"} {
		_, err := unix.Open(path, unix.O_RDONLY, 0)
		r.try("open "+path, err)
	}
	target, err := unix.Open(confine.Target, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return []string{"the target cannot be opened: " + err.Error()}
	}
	up, err := unix.Openat(target, "../..", unix.O_RDONLY, 0) // the worker's own root
	if err == nil {
		_, err = unix.Openat(up, "etc", unix.O_RDONLY, 0)
		r.try("open etc above the target", err)
	}
	_, err = unix.Openat(unix.AT_FDCWD, "/new", unix.O_CREAT|unix.O_WRONLY, 0o600)
	r.try("write to its root", err)
	_, err = unix.Open("/bulkhead-unpack", unix.O_WRONLY, 0)
	r.try("write to its program", err)
	r.try("make a device", unix.Mknodat(target, "null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	r.try("set trusted.overlay.opaque", unix.Fsetxattr(target, "trusted.overlay.opaque", []byte("y"), 0))
	for _, family := range []int{unix.AF_INET, unix.AF_UNIX, unix.AF_NETLINK, unix.AF_PACKET, unix.AF_VSOCK, unix.AF_ALG} {
		_, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
		r.try(fmt.Sprint("socket of family ", family), err)
	}
	r.try("unshare user", unix.Unshare(unix.CLONE_NEWUSER))
	r.try("unshare mount", unix.Unshare(unix.CLONE_NEWNS))
	r.try("mount", unix.Mount("x", confine.Target, "tmpfs", 0, ""))
	r.try("kill all", unix.Kill(-1, 0))
	r.try("kill its starter", unix.Kill(2, 0))
	_, _, errno := unix.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
	if errno == 0 {
		r = append(r, "fork")
	}
	return append(r, calls()...)
}

// calls makes every system call that is not in the list with arguments that do no harm; each must be refused by the filter.
func calls() []string {
	allowed := map[uintptr]bool{unix.SYS_CLONE: true, unix.SYS_ARCH_PRCTL: true}
	for _, n := range numbers {
		allowed[n] = true
	}
	var r []string
	for n := uintptr(0); n < 480; n++ {
		if allowed[n] || n >= 335 && n < 424 { // 335 is uretprobe, which ends whoever calls it by itself; then there are none
			continue
		}
		bad := ^uintptr(0)
		_, _, errno := unix.RawSyscall6(n, bad, bad, bad, bad, bad, bad)
		if errno != unix.EPERM && errno != unix.ENOSYS { // ENOSYS is the filter's word for those newer than any in its list
			r = append(r, fmt.Sprintf("system call %d: %v", n, errno))
		}
	}
	return r
}

// asked tries to have the engine do what it may not.
func asked(conn *wire.Conn, id uint32) []string {
	var r reached
	ask := func(what string, m *wire.Message) {
		m.ID = id
		if conn.Send(m) != nil {
			return
		}
		answer, _, err := conn.Receive(false)
		if err == nil && answer.Kind == wire.Answer && answer.Number == 0 {
			r = append(r, what)
		}
	}
	target, err := unix.Open(confine.Target, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return []string{err.Error()}
	}
	_ = unix.Mkdirat(target, "0", 0o755)
	dir, err := unix.Openat(target, "0", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return []string{err.Error()}
	}
	_ = unix.Symlinkat("../../..", dir, "link")
	device := unix.Mkdev(1, 3)
	for _, path := range []string{"../null", "/null", "link/null", "a/../../null", "..", ".", "", "link/victimdir/null", "x/"} {
		ask("device at "+path, &wire.Message{Kind: wire.Node, Name: path, Number: unix.S_IFCHR | 0o666, Device: device})
	}
	for _, path := range []string{"..", "/", "link", "link/victimdir", "../.."} {
		ask("opaque "+path, &wire.Message{Kind: wire.Opaque, Name: path})
	}
	for _, mode := range []int64{unix.S_IFREG | 0o4777, unix.S_IFSOCK | 0o777, unix.S_IFDIR | 0o777, 0} {
		ask(fmt.Sprintf("node of mode %o", mode), &wire.Message{Kind: wire.Node, Name: "n", Number: mode})
	}
	// One that it gets: but not to use.
	m := &wire.Message{Kind: wire.Node, ID: id, Name: "null", Number: unix.S_IFCHR | 0o666, Device: device}
	if conn.Send(m) == nil {
		if answer, _, err := conn.Receive(false); err != nil || answer.Number != 0 {
			return append(r, "a device that it may have was refused: the test tests nothing")
		}
		_, err := unix.Openat(dir, "null", unix.O_WRONLY, 0)
		r.try("open a device", err)
	}
	return r
}
