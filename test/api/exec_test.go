package api

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/daemon"
	"github.com/bulkhead-engine/bulkhead/test/built"
	"github.com/moby/moby/api/types/container"
)

// instance is what the API says of a program in a container.
func (e *engine) instance(id string) container.ExecInspectResponse {
	e.Helper()
	status, body := e.http(http.MethodGet, "/exec/"+id+"/json", nil, nil)
	var x container.ExecInspectResponse
	if err := json.Unmarshal([]byte(body), &x); err != nil || status != http.StatusOK {
		e.Fatalf("exec inspect: %d %s: %v", status, body, err)
	}
	return x
}

// TestAPIExecKilled: the engine that started a program is killed. The program goes on, whatever it prints, and how it ended is known.
func TestAPIExecKilled(t *testing.T) {
	anyBox(t, func(t *testing.T, e *engine) {
		if err := built.Commands(programs, "bulkhead"); err != nil {
			t.Fatal(err)
		}
		e.sleeper("up")
		for _, flag := range []string{"-i", "-t"} {
			// Without a command line of Docker's between: the command is the engine.
			cmd := e.command(t.Context(), "--root", e.root, "--runroot", e.run, "exec", flag, "up", "sh", "-c",
				"touch /tmp/up"+flag+"; while ! test -e /tmp/go"+flag+"; do echo a line of output that nobody reads and that has to go somewhere; done; exit 9")
			cmd.Path = filepath.Join(programs, "bulkhead")
			if flag == "-i" {
				cmd.Args = append(cmd.Args[:6], cmd.Args[7:]...) // its standard input is /dev/null in any case
			}
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, "a line of output") {
				t.Fatalf("exec %s: %q %v", flag, line, err)
			}
			ids := e.inspect("up").ExecIDs
			var id string
			for _, one := range ids {
				if e.instance(one).Running {
					id = one
				}
			}
			if id == "" {
				t.Fatalf("no instance runs: %v", ids)
			}
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if x := e.instance(id); !x.Running || x.ExitCode != nil {
				t.Errorf("exec %s: after the engine was killed: %+v", flag, x)
			}
			e.ok("exec", "up", "touch", "/tmp/go"+flag)
			e.until("the program ends", func() bool { return !e.instance(id).Running })
			e.until("its exit code is known", func() bool { x := e.instance(id); return x.ExitCode != nil && *x.ExitCode == 9 })
		}
	})
}

// TestAPIExecResize: another engine than the one that started a program tells its terminal the size.
func TestAPIExecResize(t *testing.T) {
	anyBox(t, func(t *testing.T, e *engine) {
		e.sleeper("up")
		_, answer := e.http(http.MethodPost, "/containers/up/exec", http.Header{"Content-Type": {"application/json"}}, []byte(`{"Cmd":["sh"],"Tty":true,"AttachStdin":true,"AttachStdout":true}`))
		var made struct{ ID string }
		if err := json.Unmarshal([]byte(answer), &made); err != nil {
			t.Fatalf("%s: %v", answer, err)
		}
		conn := e.raw("POST", "/exec/"+made.ID+"/start", upgrade+"Content-Type: application/json\r\nContent-Length: 12\r\n", `{"Tty":true}`)
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		var out shown
		go func() { _, _ = io.Copy(&out, conn) }()
		e.until("the program runs", func() bool { return e.instance(made.ID).Running })
		other := e.beside()
		if status, body := request(t, other, http.MethodPost, "/exec/"+made.ID+"/resize?h=51&w=97", nil, nil); status != http.StatusOK {
			t.Fatalf("resize: %d %s", status, body)
		}
		if _, err := io.WriteString(conn, "stty size\n"); err != nil {
			t.Fatal(err)
		}
		e.until("the size is the new one", out.has("51 97"))
		if _, err := io.WriteString(conn, "exit 3\n"); err != nil {
			t.Fatal(err)
		}
		e.until("it ends", func() bool { x := e.instance(made.ID); return x.ExitCode != nil && *x.ExitCode == 3 })
		if status, body := request(t, other, http.MethodPost, "/exec/"+made.ID+"/resize?h=51&w=97", nil, nil); status != http.StatusConflict {
			t.Errorf("resize of one that has ended: %d %s", status, body)
		}
	})
}

// beside serves a second engine on the same files, and returns its socket.
func (e *engine) beside() string {
	e.Helper()
	other, err := daemon.Open(daemon.Options{Root: e.root, Run: e.run, Product: "0.0-test", Programs: programs, Warn: func(err error) { e.Log(err) }})
	if err != nil {
		e.Fatal(err)
	}
	socket := e.socket + "2"
	l, err := net.Listen("unix", socket)
	if err != nil {
		e.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- other.Serve(l) }()
	e.Cleanup(func() { _, _ = other.Close(), <-done })
	return socket
}
