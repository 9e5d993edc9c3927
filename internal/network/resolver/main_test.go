package resolver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/linux/netlink"
	"github.com/bulkhead-engine/bulkhead/internal/linux/thread"
	"github.com/bulkhead-engine/bulkhead/test/need"
	"golang.org/x/sys/unix"
)

// patienceTime is how long a test waits for what must happen, on however slow a machine.
const patienceTime = 60 * time.Second

// serveVariable has the orders of a child that stands for a monitor.
const serveVariable = "BULKHEAD_TEST_RESOLVER"

func TestMain(m *testing.M) {
	if o := os.Getenv(serveVariable); o != "" {
		if err := serve(o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// orders are what a monitor is told: it runs in the namespace that stands for the host's; descriptor 3 is the container's.
type orders struct {
	Conf    string
	Servers []netip.AddrPort
	Options []string
	Allowed []string // nil: no policy
	Inside  bool     // the networks do not lead outside
}

// stdoutPolicy says what it is told on standard output.
type stdoutPolicy struct{ allowed []string }

func (p stdoutPolicy) Limits() bool             { return true }
func (p stdoutPolicy) Allowed(name string) bool { return slices.Contains(p.allowed, name) }
func (p stdoutPolicy) Closed(netip.Addr) bool   { return false }
func (p stdoutPolicy) Refused(r Refusal) {
	fmt.Println("refused", r.Name, r.Addr.IsValid(), r.Client.Port() != 0)
}

func (p stdoutPolicy) Learn(name string, addrs []netip.Addr, _ time.Duration) error {
	fmt.Println("learned", name, addrs)
	return nil
}

func serve(text string) error {
	var o orders
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	names := table()
	names.Out = !o.Inside
	c := Config{Names: names, Conf: o.Conf, Servers: o.Servers, Options: o.Options}
	if o.Allowed != nil {
		c.Policy = stdoutPolicy{o.Allowed}
	}
	s, err := Start(3, c)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin) // until the test ends
	s.Close()
	return err
}

// namespace makes a network namespace with a loopback device. Its descriptor is the only thing that keeps it.
func namespace(t testing.TB) *os.File {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make network namespaces")
	}
	fd := -1
	var err error
	thread.Spend(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "netns")
	t.Cleanup(func() { f.Close() })
	if err := netlink.LoopbackUp(fd); err != nil {
		t.Fatal(err)
	}
	return f
}

// command runs in a namespace, and dies with the test.
func command(t testing.TB, ns *os.File, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patienceTime)
	t.Cleanup(cancel)
	path := name
	if !filepath.IsAbs(name) {
		path = need.Program(t, name)
	}
	cmd := exec.CommandContext(ctx, need.Program(t, "nsenter"), append([]string{"--net=/proc/" + strconv.Itoa(os.Getpid()) + "/fd/" + strconv.Itoa(int(ns.Fd())), path}, args...)...)
	cmd.WaitDelay = time.Second
	return cmd
}

// output runs a command to its end.
func output(t testing.TB, ns *os.File, name string, args ...string) string {
	t.Helper()
	out, err := command(t, ns, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// A monitor is a child with a resolver.
type monitor struct {
	cmd   *exec.Cmd
	stdin io.Closer
	mu    sync.Mutex
	said  bytes.Buffer
}

// expect waits until the child has said something.
func (m *monitor) expect(t testing.TB, want string) {
	t.Helper()
	said := ""
	for end := time.Now().Add(patienceTime); time.Now().Before(end); time.Sleep(time.Millisecond) {
		m.mu.Lock()
		said = m.said.String()
		m.mu.Unlock()
		if strings.Contains(said, want) {
			return
		}
	}
	t.Errorf("the policy was not told %q: %s", want, said)
}

// run starts a child that serves the namespace inside from the namespace host.
func run(t testing.TB, host, inside *os.File, o orders) *monitor {
	t.Helper()
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	m := &monitor{cmd: command(t, host, "/proc/self/exe")}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m.cmd.Args[len(m.cmd.Args)-1] = self
	m.cmd.Env = append(os.Environ(), serveVariable+"="+string(data))
	m.cmd.ExtraFiles = []*os.File{inside}
	m.cmd.Stderr = os.Stderr
	in, err := m.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	m.stdin = in
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for s := bufio.NewScanner(out); s.Scan(); {
			if s.Text() == "ready" {
				close(ready)
			}
			m.mu.Lock()
			m.said.WriteString(s.Text() + "\n")
			m.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		in.Close()
		<-done
		if err := m.cmd.Wait(); err != nil {
			t.Errorf("the resolver's process: %v", err)
		}
	})
	select {
	case <-ready:
	case <-done:
		t.Fatal("the resolver's process has ended")
	case <-time.After(patienceTime):
		t.Fatal("the resolver does not get ready")
	}
	return m
}

// world starts dnsmasq in a namespace, as the server that knows the world, and returns it when it answers.
func world(t testing.TB, host *os.File, addr string, lines ...string) {
	t.Helper()
	conf := filepath.Join(t.TempDir(), "dnsmasq.conf")
	text := "no-hosts\nno-resolv\nbind-interfaces\nlisten-address=" + addr + "\nport=53\nno-daemon\nuser=root\npid-file=\ncache-size=0\nhost-record=up.example,192.0.2.77\n" + strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, host, "dnsmasq", "--conf-file="+conf)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-gone
	})
	for end := time.Now().Add(patienceTime); time.Now().Before(end); {
		select {
		case err := <-gone:
			gone <- err
			t.Fatalf("dnsmasq: %v: %s", err, said.String())
		default:
		}
		out, _ := command(t, host, "dig", "+short", "+tries=1", "+time=2", "@"+addr, "up.example").CombinedOutput()
		if strings.Contains(string(out), "192.0.2.77") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("dnsmasq does not answer: %s", said.String())
}

// dig asks the resolver from inside.
func dig(t testing.TB, ns *os.File, args ...string) string {
	t.Helper()
	return output(t, ns, "dig", append([]string{"+time=30", "+tries=1", "@127.0.0.11"}, args...)...)
}
