package api

import (
	"io"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestAPIAttach: attach with and without standard input, before the start, and away again by the keys.
func TestAPIAttach(t *testing.T) {
	eachBox(t, func(t *testing.T, e *engine) {
		// Whoever is attached before the start misses nothing.
		e.ok("create", "-i", "--name", "early", "box", "sh", "-c", "echo first; echo problem >&2; cat; exit 4")
		r := e.feed([]byte("typed\n"), "start", "-ai", "early")
		if r.code != 4 || r.out != "first\ntyped\n" || r.err != "problem\n" {
			t.Errorf("start -ai: %+v", r)
		}
		e.ok("run", "-d", "-i", "--name", "reader", "box", "sh", "-c", "while read line; do echo got $line; test $line = end && exit 6; done")
		var out shown
		cmd := e.command(t.Context(), "attach", "reader")
		cmd.Stdout = &out
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(in, "one\n"); err != nil {
			t.Fatal(err)
		}
		e.until("what was typed is answered", out.has("got one"))
		// A second one sees what the first types.
		var second shown
		other := e.begin(&second, "attach", "--no-stdin", "reader")
		for n := 0; !second.has("got again")(); n++ { // it is attached at some moment
			if n == 400 {
				t.Fatalf("the second sees nothing: %q", second.String())
			}
			if _, err := io.WriteString(in, "again\n"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * lookTime)
		}
		if _, err := io.WriteString(in, "end\n"); err != nil {
			t.Fatal(err)
		}
		if code := e.ended(cmd); code != 6 {
			t.Errorf("attach: exit %d: %q", code, out.String())
		}
		if code := e.ended(other); code != 6 || !strings.Contains(second.String(), "got end") {
			t.Errorf("attach --no-stdin: exit %d: %q", code, second.String())
		}
		e.fails([]string{"attach", "reader"}, "stopped container")
		e.fails([]string{"attach", "--detach-keys", "ctrl-nonsense", "reader"}, "")
	})
}

// TestAPILogs: what was printed, by stream, time and number, and what is printed yet.
func TestAPILogs(t *testing.T) {
	eachBox(t, func(t *testing.T, e *engine) {
		e.ok("run", "--name", "short", "box", "sh", "-c", "echo one; echo two; echo three >&2; printf four")
		r := e.exits(0, "logs", "short")
		if r.out != "one\ntwo\nfour" || r.err != "three\n" {
			t.Errorf("logs: %+v", r)
		}
		e.ok("run", "--name", "lines", "box", "sh", "-c", "echo one; echo two; echo three; printf four")
		e.says("three\nfour", "logs", "--tail", "2", "lines")
		e.says("", "logs", "--tail", "0", "lines")
		e.says("one\ntwo\nthree\nfour", "logs", "--tail", "all", "lines")
		e.says("one\ntwo\nfour", "logs", "--since", "10m", "short")
		e.says("", "logs", "--until", "10m", "short")
		for line := range strings.Lines(e.ok("logs", "-t", "short")) {
			stamp, _, _ := strings.Cut(line, " ")
			if at, err := time.Parse(time.RFC3339Nano, stamp); err != nil || time.Since(at) > time.Hour {
				t.Errorf("logs -t: %q: %v", line, err)
			}
		}
		e.ok("run", "-d", "--name", "long", "box", "sh", "-c", "i=0; while ! test -e /tmp/end; do i=$((i+1)); echo line $i; sleep 0.05; done; echo last")
		var out, rest shown
		follow := e.begin(&out, "logs", "-f", "long")
		e.until("a line is followed", out.has("line 3\n"))
		since := time.Now()
		tail := e.begin(&rest, "logs", "-f", "--tail", "0", "long")
		e.until("a line that comes", rest.has("line "))
		e.ok("exec", "long", "touch", "/tmp/end")
		for cmd, text := range map[*shown]int{&out: e.ended(follow), &rest: e.ended(tail)} {
			if text != 0 || !strings.HasSuffix(cmd.String(), "last\n") {
				t.Errorf("logs -f: exit %d, ends with %.40q", text, cmd.String()[max(0, len(cmd.String())-40):])
			}
		}
		if !strings.HasPrefix(out.String(), "line 1\n") || strings.HasPrefix(rest.String(), "line 1\n") {
			t.Errorf("from the beginning %.20q, from the end %.20q", out.String(), rest.String())
		}
		stamp := strconv.FormatInt(since.Unix(), 10) + "." + strconv.Itoa(1e9 + since.Nanosecond())[1:]
		if got := e.ok("logs", "--since", stamp, "long"); strings.Contains(got, "line 1\n") || !strings.HasSuffix(got, "last\n") {
			t.Errorf("--since %s: %.80q", stamp, got)
		}
		if got := e.ok("logs", "--until", stamp, "long"); !strings.HasPrefix(got, "line 1\n") || strings.Contains(got, "last") {
			t.Errorf("--until %s: %.80q", stamp, got)
		}
		e.ok("create", "--name", "none", "--log-driver", "none", "box", "true")
		e.fails([]string{"logs", "none"}, "does not support reading")
	})
}

// TestAPIExec: programs in a container.
func TestAPIExec(t *testing.T) {
	eachBox(t, func(t *testing.T, e *engine) {
		e.sleeper("up", "-e", "own=1")
		r := e.exits(7, "exec", "-u", "user", "-w", "/data", "-e", "a=b", "up", "sh", "-c", "echo $(id -u) $PWD $a $own; echo problem >&2; exit 7")
		if r.out != "1000 /data b 1\n" || r.err != "problem\n" {
			t.Errorf("exec: %+v", r)
		}
		if r := e.feed([]byte("typed\n"), "exec", "-i", "up", "cat"); r.out != "typed\n" || r.code != 0 {
			t.Errorf("exec -i: %+v", r)
		}
		many := strings.Repeat("0123456789abcde\n", 1<<15)
		if r := e.feed([]byte(many), "exec", "-i", "up", "cat"); r.out != many || r.code != 0 {
			t.Errorf("exec -i: %d bytes of %d come back: %s", len(r.out), len(many), r.err)
		}
		e.exits(137, "exec", "up", "sh", "-c", "kill -9 $$")
		e.exits(127, "exec", "up", "no-such-program")
		e.exits(126, "exec", "up", "/data/content")
		e.exits(126, "exec", "up", "/data")
		e.exits(1, "exec", "up", "false")
		if r := e.exits(126, "exec", "-u", "no-such-user", "up", "true"); !strings.Contains(r.out+r.err, "no-such-user") {
			t.Errorf("a user that is not there: %+v", r)
		}
		e.fails([]string{"exec", "-w", "relative", "up", "true"}, "")
		e.fails([]string{"exec", "--privileged", "up", "true"}, "privileged")
		e.ok("exec", "-d", "up", "sh", "-c", "echo detached > /tmp/detached")
		e.until("exec -d has run", func() bool { return e.try("exec", "up", "cat", "/tmp/detached").out == "detached\n" })
		e.fails([]string{"exec", "-d", "up", "/data/content"}, "permission denied")
		e.fails([]string{"exec", "-d", "up", "no-such-program"}, "executable file not found")
		s := e.screen("exec", "-it", "--detach-keys", "ctrl-x,x", "up", "sh")
		s.Until("echo th''ere\r", "there")
		s.Write("\x18x")
		if s.End(); !s.Cooked {
			t.Errorf("detached: %q", s.Text())
		}
		// The end of a program is the end of the command, whatever it left behind.
		began := time.Now()
		e.says("gone\n", "exec", "up", "sh", "-c", "sleep 1000 & echo gone")
		if time.Since(began) > 20*time.Second {
			t.Errorf("exec waits %s for what a program left behind", time.Since(began))
		}
	})
}
