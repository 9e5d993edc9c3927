package api

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestAPIRun: what a docker run returns, prints and leaves.
func TestAPIRun(t *testing.T) {
	eachBox(t, func(t *testing.T, e *engine) {
		r := e.exits(3, "run", "--rm", "box", "sh", "-c", "echo out; echo problem >&2; exit 3")
		if r.out != "out\n" || r.err != "problem\n" {
			t.Errorf("streams: %+v", r)
		}
		e.exits(0, "run", "--rm", "box", "true")
		e.exits(1, "run", "--rm", "box", "false")
		e.exits(125, "run", "--rm", "--no-such-flag", "box")
		e.exits(125, "run", "--rm", "-v", "relative/path:also/relative", "box")
		e.exits(126, "run", "--rm", "box", "/data")
		e.exits(126, "run", "--rm", "box", "/data/content")
		e.exits(127, "run", "--rm", "box", "no-such-program")
		e.exits(127, "run", "--rm", "box", "/no/such/program")
		e.exits(137, "run", "--rm", "box", "sh", "-c", "sh -c 'kill -9 $$'; exit $?")
		e.exits(137, "run", "--rm", "--init", "box", "sh", "-c", "kill -9 $$")
		if got := e.ok("ps", "-aq"); got != "" {
			t.Errorf("--rm leaves %q", got)
		}
		if r := e.feed([]byte("typed\nmore"), "run", "-i", "--rm", "box", "cat"); r.out != "typed\nmore" || r.code != 0 {
			t.Errorf("standard input: %+v", r)
		}
		if r := e.feed([]byte("not read"), "run", "--rm", "box", "cat"); r.out != "" || r.code != 0 {
			t.Errorf("without -i: %+v", r)
		}
		many := strings.Repeat("0123456789abcde\n", 1<<15)
		if r := e.feed([]byte(many), "run", "-i", "--rm", "box", "cat"); r.out != many {
			t.Errorf("%d bytes of %d come back: %s", len(r.out), len(many), r.err)
		}
		e.says("tty\r\n", "run", "--rm", "-t", "box", "sh", "-c", "test -t 1 && echo tty")
		e.says("user 1000 /data b container\n", "run", "--rm", "-u", "user", "-w", "/data", "-e", "a=b", "-h", "container", "box", "sh", "-c", "echo user $(id -u) $PWD $a $(cat /etc/hostname)")
		e.says("entry argument\n", "run", "--rm", "--entrypoint", "echo", "box", "entry", "argument")
		cid := filepath.Join(e.home, "cid")
		id := strings.TrimSpace(e.ok("run", "-d", "--cidfile", cid, "--name", "named", "-l", "k=v", "box", "sh", "-c", "exit 5"))
		if b, err := os.ReadFile(cid); err != nil || string(b) != id {
			t.Errorf("cidfile: %q %v, want %s", b, err, id)
		}
		e.says("5\n", "wait", "named")
		e.says("exited 5 v\n", "inspect", "-f", `{{.State.Status}} {{.State.ExitCode}} {{index .Config.Labels "k"}}`, "named")
		r = e.exits(125, "run", "--name", "named", "box")
		if !strings.Contains(r.err, "named") || !strings.Contains(r.err, "in use") {
			t.Errorf("a name that is taken: %+v", r)
		}
	})
}

// TestAPIRunTerminal: a shell on a terminal: its size, its changes, detaching, coming back, the exit status, and the terminal afterwards.
func TestAPIRunTerminal(t *testing.T) {
	eachBox(t, func(t *testing.T, e *engine) {
		s := e.screen("run", "-it", "--name", "shell", "box", "sh")
		s.Write("echo rea''dy\r")
		s.Wait("ready")
		s.WaitSilent()
		s.Until("stty size\r", "30 100")
		s.Resize(40, 120)
		s.Until("stty size\r", "40 120")
		s.Write("\x10\x11")
		if code := s.End(); code != 0 || !s.Cooked {
			t.Errorf("detached: exit %d, the terminal is given back: %v: %q", code, s.Cooked, s.Text())
		}
		e.says("true\n", "inspect", "-f", "{{.State.Running}}", "shell")
		s = e.screen("attach", "--detach-keys", "ctrl-x,d", "shell")
		s.Until("echo aga''in\r", "again")
		s.Until("stty size\r", "30 100")
		s.Write("\x18d")
		if code := s.End(); !s.Cooked {
			t.Errorf("detached again: exit %d, the terminal is given back: %v: %q", code, s.Cooked, s.Text())
		}
		s = e.screen("exec", "-it", "shell", "sh")
		s.Until("stty size\r", "30 100")
		s.Resize(50, 90)
		s.Until("stty size\r", "50 90")
		s.Write("tty; exit 6\r")
		s.Wait("/dev/pts/")
		if code := s.End(); code != 6 || !s.Cooked {
			t.Errorf("exec: exit %d, the terminal is given back: %v: %q", code, s.Cooked, s.Text())
		}
		s = e.screen("attach", "shell")
		s.Until("echo th''ird\r", "third")
		s.Write("exit 5\r")
		if code := s.End(); code != 5 || !s.Cooked {
			t.Errorf("attach to its end: exit %d, the terminal is given back: %v: %q", code, s.Cooked, s.Text())
		}
		s = e.screen("start", "-ai", "shell")
		s.Until("echo four''th\r", "fourth")
		s.Write("exit 4\r")
		if code := s.End(); code != 4 || !s.Cooked {
			t.Errorf("start -ai: exit %d, the terminal is given back: %v: %q", code, s.Cooked, s.Text())
		}
		s = e.screen("run", "--rm", "-it", "box", "sh", "-c", "trap 'exit 9' INT; echo up; while :; do sleep 0.1; done")
		s.Wait("up")
		s.Write("\x03")
		if code := s.End(); code != 9 {
			t.Errorf("^C: exit %d: %q", code, s.Text())
		}
		s = e.screen("run", "--rm", "-it", "box", "no-such-program")
		if code := s.End(); code != 127 || !s.Cooked {
			t.Errorf("a program that is not there: exit %d, the terminal is given back: %v", code, s.Cooked)
		}
	})
}

// TestAPISignals: signals to a docker run go to the program.
func TestAPISignals(t *testing.T) {
	eachBox(t, func(t *testing.T, e *engine) {
		for signal, name := range map[syscall.Signal]string{syscall.SIGTERM: "TERM", syscall.SIGINT: "INT", syscall.SIGUSR1: "USR1"} {
			var out shown
			cmd := e.begin(&out, "run", "--rm", "box", "sh", "-c", "trap 'echo got; exit 7' "+name+"; echo up; while :; do sleep 0.05; done")
			e.until("the program is up", out.has("up"))
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if code := e.ended(cmd); code != 7 || !strings.Contains(out.String(), "got") {
				t.Errorf("%v: exit %d: %q", signal, code, out.String())
			}
		}
	})
}

// TestAPILife: the life of a container, with what is so already and what cannot be.
func TestAPILife(t *testing.T) {
	eachBox(t, func(t *testing.T, e *engine) {
		state := func(want, name string) {
			t.Helper()
			e.says(want+"\n", "inspect", "-f", "{{.State.Status}}", name)
		}
		e.ok("create", "--name", "web", "box", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done")
		state("created", "web")
		e.says("web\n", "start", "web")
		e.says("web\n", "start", "web") // 304
		state("running", "web")
		e.ok("pause", "web")
		state("paused", "web")
		e.fails([]string{"pause", "web"}, "already paused")
		e.fails([]string{"exec", "web", "true"}, "paused")
		e.fails([]string{"start", "web"}, "paused")
		e.ok("unpause", "web")
		e.fails([]string{"unpause", "web"}, "not paused")
		e.fails([]string{"rm", "web"}, "running")
		e.ok("rename", "web", "other")
		e.fails([]string{"inspect", "web"}, "web")
		e.ok("create", "--name", "second", "box")
		e.fails([]string{"rename", "second", "other"}, "in use")
		e.fails([]string{"rename", "second", "/../evil"}, "nvalid container name")
		e.says("other\n", "stop", "other")
		e.says("other\n", "stop", "other") // 304
		e.says("3\n", "wait", "other")
		e.says("other\n", "restart", "other")
		state("running", "other")
		e.fails([]string{"kill", "-s", "NOSUCH", "other"}, "nvalid signal")
		e.ok("kill", "other")
		e.says("137\n", "wait", "other")
		e.fails([]string{"kill", "other"}, "not running")
		e.fails([]string{"pause", "other"}, "not running")
		e.fails([]string{"exec", "other", "true"}, "not running")
		e.ok("start", "other")
		e.says("other\n", "update", "--memory", "64m", "--memory-swap", "64m", "--cpus", "0.5", "--restart", "on-failure:3", "other")
		e.says("67108864 500000000 on-failure 3\n", "inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}", "other")
		e.fails([]string{"update", "--memory", "1k", "other"}, "emory")
		e.ok("rm", "-f", "other")
		e.ok("rm", "second")
		for _, command := range []string{"start", "stop", "restart", "kill", "pause", "unpause", "wait", "rm", "logs", "top", "port", "diff", "attach", "inspect"} {
			if r := e.try(command, "no-such"); r.code != 1 || !strings.Contains(strings.ToLower(r.err), "no such") {
				t.Errorf("%s of a container that is not there: %+v", command, r)
			}
		}
	})
}
