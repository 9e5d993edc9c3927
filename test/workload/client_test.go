package workload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/linux/thread"
	"golang.org/x/sys/unix"
)

// patience is how long a server may take to come up: initdb writes a thousand files.
const patience = time.Minute

// A box is a container under test. It is removed when its test is over.
type box struct {
	t    *testing.T
	name string
}

// start runs an image in the background, without a network but the loopback.
func start(t *testing.T, image string, flags ...string) *box {
	t.Helper()
	return startCommand(t, image, nil, flags...)
}

func startCommand(t *testing.T, image string, command []string, flags ...string) *box {
	t.Helper()
	b := &box{t, strings.NewReplacer("/", "-", "#", "-").Replace(t.Name())}
	t.Cleanup(func() {
		if t.Failed() {
			r, _ := server.try("logs", b.name)
			t.Logf("logs: %s%s", r.out, r.problems)
		}
		if r, err := server.try("rm", "-f", "-v", b.name); err != nil || r.code != 0 && !strings.Contains(r.problems, "no such container") {
			t.Errorf("rm: %+v, %v", r, err)
		}
	})
	args := append([]string{"run", "-d", "--network", "none", "--name", b.name}, flags...)
	b.ok(append(append(args, image), command...)...)
	return b
}

// ok runs a command of the engine that must work, and returns what it printed.
func (b *box) ok(args ...string) string {
	b.t.Helper()
	r, err := server.try(args...)
	if err != nil || r.code != 0 {
		b.t.Fatalf("bulkhead %s: %+v, %v", strings.Join(args, " "), r, err)
	}
	return r.out
}

// exec runs a program inside.
func (b *box) exec(args ...string) string {
	b.t.Helper()
	return b.ok(append([]string{"exec", b.name}, args...)...)
}

// until tries something until it gives what is wanted.
func (b *box) until(want string, try func() (string, error)) {
	b.t.Helper()
	var got string
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got, err = try(); err == nil && strings.Contains(got, want) {
			return
		}
		if r, _ := server.try("ps", "-q", "--filter", "status=running", "--filter", "name="+b.name); r.out == "" {
			break // it has ended: nothing will come
		}
	}
	r, _ := server.try("ps", "-a")
	b.t.Fatalf("no %q: last %q, %v\n%s", want, got, err, r.out)
}

// answers waits until a program inside prints something.
func (b *box) answers(want string, args ...string) {
	b.t.Helper()
	b.until(want, func() (string, error) {
		r, err := server.try(append([]string{"exec", b.name}, args...)...)
		if err == nil && r.code != 0 {
			err = fmt.Errorf("exit %d: %s", r.code, r.problems)
		}
		return r.out, err
	})
}

// logged waits until the log has a text.
func (b *box) logged(want string) {
	b.t.Helper()
	b.until(want, func() (string, error) {
		r, err := server.try("logs", b.name)
		return r.out + r.problems, err
	})
}

// stops stops the container, which must end by itself, as the image's signal says, with status 0.
func (b *box) stops() {
	b.t.Helper()
	b.verified()
	begin := time.Now()
	b.ok("stop", "-t", "60", b.name)
	if took := time.Since(begin); took > 50*time.Second {
		b.t.Errorf("stop took %v", took)
	}
	if got := b.ok("wait", b.name); got != "0\n" {
		b.t.Errorf("ended with %q", got)
	}
}

// pid is the first process, as the host numbers it.
func (b *box) pid() int {
	b.t.Helper()
	state := struct{ PID int }{}
	id := strings.TrimSpace(b.ok("ps", "-q", "--no-trunc", "--filter", "name="+b.name))
	data, err := os.ReadFile(filepath.Join(server.dir, "root", "containers", id, "state.json"))
	if err == nil {
		err = json.Unmarshal(data, &state)
	}
	if err != nil || state.PID == 0 {
		b.t.Fatalf("state of %s: %s, %v", b.name, data, err)
	}
	return state.PID
}

// talk connects from the host's side: a thread of this process enters the container's network and dials.
func (b *box) talk(address, say string) (string, error) {
	pid := b.pid()
	var text string
	var err error
	thread.Spend(func() { text, err = talkIn(fmt.Sprintf("/proc/%d/ns/net", pid), address, say) })
	return text, err
}

func talkIn(namespace, address, say string) (string, error) {
	ns, err := unix.Open(namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(ns)
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return "", err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) // on this thread: net would use another one
	if err != nil {
		return "", err
	}
	f := os.NewFile(uintptr(fd), address)
	defer f.Close()
	to, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return "", err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}); err != nil {
		return "", err
	}
	conn, err := net.FileConn(f)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return speak(conn, say)
}

// speak says something and returns what comes back until the other side has nothing to say for a while.
func speak(conn net.Conn, say string) (string, error) {
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Write([]byte(say)); err != nil {
		return "", err
	}
	var got bytes.Buffer
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		got.Write(buf[:n])
		if err != nil || got.Len() > 0 && n < len(buf) {
			if got.Len() > 0 {
				err = nil
			}
			return got.String(), err
		}
	}
}

// users lists the users of all processes inside, as the container's own files name them.
func (b *box) users() string {
	return b.exec("sh", "-c", `for p in /proc/[0-9]*; do read -r name <$p/comm && while read -r k v rest; do [ "$k" = Uid: ] && echo "$name $v"; done <$p/status; done 2>/dev/null | sort -u`)
}

// confined holds the first process to what hardened means, read from the host's kernel.
func (b *box) confined() {
	b.t.Helper()
	pid := b.pid()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.t.Fatal(err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		fields[key] = value
	}
	const hardened = 0x4fb // CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID NET_BIND_SERVICE
	var bounding uint64
	if _, err := fmt.Sscanf(fields["CapBnd"], "%x", &bounding); err != nil || bounding&^hardened != 0 {
		b.t.Errorf("bounding set %s, %v", fields["CapBnd"], err)
	}
	if fields["NoNewPrivs"] != "1" || fields["Seccomp"] != "2" || strings.HasPrefix(fields["Uid"], "0\t") {
		b.t.Errorf("no_new_privs %s, seccomp %s, uid %s", fields["NoNewPrivs"], fields["Seccomp"], fields["Uid"])
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/uid_map", pid))
	if f := strings.Fields(string(maps)); err != nil || len(f) != 3 || f[1] == "0" || f[2] != "65536" {
		b.t.Errorf("uid_map %q, %v", maps, err)
	}
}

// client runs a program in a second container that shares the network of the first, as a client of an application would be.
func (b *box) client(image string, args ...string) (string, error) {
	r, err := server.try(append([]string{"run", "--rm", "--network", "container:" + b.name, "--entrypoint", args[0], image}, args[1:]...)...)
	if err == nil && r.code != 0 {
		err = fmt.Errorf("exit %d: %s", r.code, r.problems)
	}
	return r.out, err
}

// nsenter runs a program of the host in the network of the container, as an administrator does.
func (b *box) nsenter(args ...string) (string, error) {
	cmd := exec.Command("nsenter", append([]string{"-t", fmt.Sprint(b.pid()), "-n"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	return string(out), err
}
