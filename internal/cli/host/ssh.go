package host

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// remote is what ssh runs: the engine that the host has.
const remote = `sh -c 'if command -v bulkhead >/dev/null 2>&1; then exec bulkhead system dial-stdio; else exec docker system dial-stdio; fi'`

// ssh reaches an engine over ssh, whose own configuration says how.
func ssh(address string) (*Target, error) {
	u, err := url.Parse(address)
	bad := func(why string) (*Target, error) {
		return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "--host %.256q: %s", address, why), "ssh://[USER@]HOST[:PORT]")
	}
	switch {
	case err != nil:
		return bad("no address")
	case u.Hostname() == "":
		return bad("it names no host")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return bad("a path has no meaning there")
	}
	if _, ok := u.User.Password(); ok {
		return bad("a password is never an argument: everybody on this machine can read it")
	}
	args := []string{"-o", "ConnectTimeout=30", "-T"}
	if name := u.User.Username(); name != "" {
		args = append(args, "-l", name)
	}
	if port := u.Port(); port != "" {
		args = append(args, "-p", port)
	}
	args = append(args, "--", u.Hostname(), remote)
	return &Target{Address: "ssh://" + u.Host, dial: func(context.Context) (net.Conn, error) { return start("ssh", args...) }}, nil
}

// A conversation is a connection to a program's standard streams.
type conversation struct {
	in    io.WriteCloser
	out   io.ReadCloser
	cmd   *exec.Cmd
	errs  *tail
	ended chan struct{} // closed when the program is gone and all it said is in errs
	once  sync.Once
}

// tail keeps the last of what a program says.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.text = append(t.text, p...); len(t.text) > 4096 {
		t.text = append([]byte(nil), t.text[len(t.text)-4096:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}

func start(name string, args ...string) (net.Conn, error) {
	cmd := exec.Command(name, args...)
	c := &conversation{cmd: cmd, errs: &tail{}, ended: make(chan struct{})}
	theirs, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, output, err := os.Pipe()
	if err != nil {
		_, _ = theirs.Close(), in.Close()
		return nil, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = theirs, output, c.errs, time.Second
	c.in, c.out = in, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // the terminal's ^C is the container's, not ssh's
	err = cmd.Start()
	_, _ = theirs.Close(), output.Close()
	if err != nil {
		_, _ = in.Close(), out.Close()
		return nil, err
	}
	go func() { _ = cmd.Wait(); close(c.ended) }()
	return c, nil
}

func (c *conversation) Read(p []byte) (int, error) {
	n, err := c.out.Read(p)
	if errors.Is(err, io.EOF) {
		err = c.why(err)
	}
	return n, err
}

func (c *conversation) Write(p []byte) (int, error) {
	n, err := c.in.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		err = c.why(err)
	}
	return n, err
}

// why is what the program said at its end, which comes a moment after the end of its output.
func (c *conversation) why(err error) error {
	select {
	case <-c.ended:
	case <-time.After(time.Second):
	}
	if text := c.errs.String(); text != "" {
		return errdef.Errorf(errdef.Unavailable, "ssh: %s", text)
	}
	return err
}

// CloseWrite ends what the program reads.
func (c *conversation) CloseWrite() error { return c.in.Close() }

// Close ends the conversation and the program.
func (c *conversation) Close() error {
	c.once.Do(func() {
		_, _ = c.in.Close(), c.out.Close()
		select {
		case <-c.ended:
		case <-time.After(time.Second):
			_ = c.cmd.Process.Kill()
			<-c.ended
		}
	})
	return nil
}

type address struct{}

func (address) Network() string { return "ssh" }
func (address) String() string  { return "ssh" }

// LocalAddr is net.Conn's.
func (c *conversation) LocalAddr() net.Addr { return address{} }

// RemoteAddr is net.Conn's.
func (c *conversation) RemoteAddr() net.Addr { return address{} }

type deadliner interface{ SetDeadline(time.Time) error }

// SetDeadline is net.Conn's.
func (c *conversation) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline is net.Conn's.
func (c *conversation) SetReadDeadline(t time.Time) error { return c.out.(deadliner).SetDeadline(t) }

// SetWriteDeadline is net.Conn's.
func (c *conversation) SetWriteDeadline(t time.Time) error { return c.in.(deadliner).SetDeadline(t) }
