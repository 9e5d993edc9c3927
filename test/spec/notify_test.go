package spec

import (
	"encoding/json"
	"net"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// notifyBox is a bundle whose probe an agent answers; it listens on the returned socket.
func notifyBox(t *testing.T, args ...string) (*box, *net.UnixListener) {
	t.Helper()
	b := newBox(t, args...)
	b.spec.Linux.Seccomp = filter(rule(specs.ActNotify))
	b.spec.Linux.Seccomp.ListenerPath = b.path("agent")
	b.spec.Linux.Seccomp.ListenerMetadata = "opaque \"words\""
	b.spec.Annotations = map[string]string{"k": "v"}
	return b, socket(t, b.path("agent"))
}

// takeListener takes the seccomp listener, and checks what came along with it.
func (b *box) takeListener(l *net.UnixListener) (*os.File, specs.ContainerProcessState) {
	b.t.Helper()
	text, fd := receive(b.t, l)
	var s specs.ContainerProcessState
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		b.t.Fatalf("%v: %q", err, text)
	}
	if len(s.Fds) != 1 || s.Fds[0] != specs.SeccompFdName || s.Metadata != b.spec.Linux.Seccomp.ListenerMetadata || s.Pid <= 0 || s.Version == "" {
		b.t.Errorf("%s", text)
	}
	if s.State.ID != b.id || s.State.Bundle != b.dir || s.State.Annotations["k"] != "v" || s.State.Pid <= 0 {
		b.t.Errorf("state: %+v", s.State)
	}
	return fd, s
}

// TestNotify: create, with an agent that answers with a value, an errno, and lets one go on; the state is that of a container that is
// being created, and the pid that of its process.
func TestNotify(t *testing.T) {
	t.Parallel()
	line := strings.Join(probeWith(0, 0), " ")
	b, l := notifyBox(t, "sh", "-c", line+"; "+line+"; "+line)
	out := b.path("said")
	done := make(chan *os.File)
	go func() {
		fd, s := b.takeListener(l)
		if s.State.Status != specs.StateCreating || s.Pid != s.State.Pid {
			t.Errorf("%+v", s)
		}
		answers := []answer{{value: 4711}, {errno: unix.EXDEV}, {goOn: true}}
		for _, a := range answers {
			if err := a.give(fd, probe); err != nil {
				t.Error(err)
			}
		}
		done <- fd
	}()
	b.spec.Process.Args[2] = "{ " + b.spec.Process.Args[2] + "; } >/said"
	b.write()
	b.ok("create", "--bundle", b.dir, b.id)
	b.ok("start", b.id)
	fd := <-done
	b.await(specs.StateStopped)
	fd.Close()
	if got := read(t, strings.Replace(out, "said", "rootfs/said", 1)); got != "4711\nEXDEV\n20" {
		t.Errorf("%q", got)
	}
}

// TestNotifyRun: the same with run and with exec, whose listener is another one.
func TestNotifyRun(t *testing.T) {
	t.Parallel()
	b, l := notifyBox(t, probeWith(0, 0)...)
	serve := func(a answer, status specs.ContainerState) chan bool {
		done := make(chan bool)
		go func() {
			defer close(done)
			fd, s := b.takeListener(l)
			defer fd.Close()
			if s.State.Status != status || (s.Pid == s.State.Pid) != (status == specs.StateCreating) {
				t.Errorf("%+v, want status %s and the container's own pid", s, status)
			}
			if err := a.give(fd, probe); err != nil {
				t.Error(err)
			}
		}()
		return done
	}
	done := serve(answer{value: 12}, specs.StateCreating)
	if out := b.output(); out != "12\n" {
		t.Errorf("run: %q", out)
	}
	<-done

	b.spec.Process.Args = []string{"sleep", "60"}
	taken := make(chan *os.File)
	go func() {
		fd, _ := b.takeListener(l)
		taken <- fd
	}()
	b.up()
	defer (<-taken).Close()
	done = serve(answer{value: 34}, specs.StateRunning)
	if out := b.ok(append([]string{"exec", b.id}, probeWith(0, 0)...)...).out; out != "34\n" {
		t.Errorf("exec: %q", out)
	}
	<-done
}

// TestNotifyNoAgent: nobody listens, and nothing is left.
func TestNotifyNoAgent(t *testing.T) {
	t.Parallel()
	b, l := notifyBox(t, "true")
	l.Close()
	b.refused("linux.seccomp.listenerPath")
	b.spec.Linux.Seccomp.Syscalls = nil // without the action the path is ignored
	b.output()
}
