package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The server is in this process: what a request leaves of it is seen in the numbers of goroutines, of descriptors and of children.

// belongings are what the process has.
type belongings struct{ goroutines, descriptors, children int }

func (e *engine) belongings() belongings {
	e.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		e.Fatal(err)
	}
	b := belongings{goroutines: runtime.NumGoroutine(), descriptors: len(fds)}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		e.Fatal(err)
	}
	for _, t := range tasks {
		data, _ := os.ReadFile("/proc/self/task/" + t.Name() + "/children") // a thread may have gone
		b.children += len(strings.Fields(string(data)))
	}
	return b
}

// settles waits until the process has no more than it had.
func (e *engine) settles(before belongings) {
	e.Helper()
	now := e.belongings()
	for end := time.Now().Add(patience); now.goroutines > before.goroutines || now.descriptors > before.descriptors || now.children > before.children; now = e.belongings() {
		if time.Now().After(end) {
			buf := make([]byte, 1<<18)
			e.Fatalf("left: %+v, before: %+v\n%s", now, before, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(lookTime)
	}
}

// raw sends a request and leaves the answer where it is.
func (e *engine) raw(method, path, headers, body string) net.Conn {
	e.Helper()
	conn, err := net.Dial("unix", e.socket)
	if err == nil {
		_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: d\r\n%s\r\n%s", method, path, headers, body)
	}
	if err != nil {
		e.Fatal(err)
	}
	return conn
}

const upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n"

// ticker starts a container that prints much, and then counts in a file and in its output.
func (e *engine) ticker(name string) {
	e.Helper()
	e.ok("run", "-d", "--name", name, "box", "sh", "-c", `x=`+strings.Repeat("x", 500)+`; i=0; while test $i -lt 2000; do i=$((i+1)); echo $i $x; done
		while :; do i=$((i+1)); echo $i > /tmp/n; echo $i $x; sleep 0.01; done`)
	e.until("it counts", func() bool { return e.count(name) > 0 })
}

// count is how far it is.
func (e *engine) count(name string) int {
	e.Helper()
	n, _ := strconv.Atoi(strings.TrimSpace(e.try("exec", name, "cat", "/tmp/n").out))
	return n
}

// goesOn checks that a ticker counts.
func (e *engine) goesOn(name string) {
	e.Helper()
	n := e.count(name)
	e.until(name+" goes on", func() bool { return e.count(name) > n })
}

// TestAPIHostileStalled: two hundred clients that ask for everything and read nothing. The container goes on, everybody else is served, and afterwards nothing is left.
func TestAPIHostileStalled(t *testing.T) {
	anyBox(t, func(t *testing.T, e *engine) {
		e.ticker("tick")
		before := e.belongings()
		var all []net.Conn
		for i := range 50 {
			all = append(all, e.raw("GET", "/containers/tick/logs?follow=1&stdout=1", "", ""), e.raw("POST", "/containers/tick/attach?stream=1&stdout=1&stdin=1", upgrade, ""))
			if i%2 == 0 {
				all = append(all, e.raw("GET", "/containers/tick/stats?stream=1", "", ""), e.raw("GET", "/events", "", ""),
					e.raw("GET", "/containers/tick/export", "", ""), e.raw("GET", "/containers/tick/archive?path=/", "", ""))
			}
		}
		e.goesOn("tick")
		e.says("tick\n", "ps", "--format", "{{.Names}}")
		e.ok("top", "tick")
		e.ok("stats", "--no-stream", "tick")
		e.ok("cp", "tick:/data/content", e.home)
		e.ok("pause", "tick")
		e.ok("unpause", "tick")
		e.goesOn("tick")
		e.ok("stop", "-t", "0", "tick")
		e.ok("start", "tick")
		e.goesOn("tick")
		for _, c := range all {
			_ = c.Close()
		}
		e.settles(before)
		e.goesOn("tick")
		e.ok("rm", "-f", "tick")
	})
}

// TestAPIHostileWatched: a container that hundreds are attached to, and wait for, can be stopped, and those who are too many are told so.
func TestAPIHostileWatched(t *testing.T) {
	anyBox(t, func(t *testing.T, e *engine) {
		e.ok("run", "-d", "--name", "quiet", "box", "sleep", "1000")
		before := e.belongings()
		var all []net.Conn
		refused := 0
		for range 300 {
			conn := e.raw("POST", "/containers/quiet/attach?stream=1&stdout=1", upgrade, "")
			all = append(all, conn)
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			a, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if a.StatusCode == http.StatusConflict {
				refused++
			} else if a.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("attach: %s", a.Status)
			}
		}
		if refused != 300-256 {
			t.Errorf("%d of 300 are refused", refused)
		}
		for range 100 {
			all = append(all, e.raw("POST", "/containers/quiet/wait", "", ""))
		}
		e.says("sleep 1000\n", "exec", "quiet", "sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline | cut -c1-10")
		e.ok("stop", "-t", "0", "quiet")
		for _, c := range all {
			_ = c.Close()
		}
		e.settles(before)
	})
}

// TestAPIHostileVanishing: clients that go in the middle of everything.
func TestAPIHostileVanishing(t *testing.T) {
	anyBox(t, func(t *testing.T, e *engine) {
		e.ticker("tick")
		e.ok("run", "-d", "-i", "--name", "cat", "box", "cat")
		exec := func(body string) string {
			t.Helper()
			_, answer := e.http("POST", "/containers/tick/exec", http.Header{"Content-Type": {"application/json"}}, []byte(body))
			_, id, _ := strings.Cut(answer, `{"Id":"`)
			id, _, _ = strings.Cut(id, `"`)
			return id
		}
		start := "Content-Type: application/json\r\nContent-Length: 2\r\n"
		before := e.belongings()
		for range 5 {
			for _, c := range []net.Conn{
				e.raw("POST", "/containers/tick/attach?stream=1&stdout=1&stdin=1", upgrade, ""),
				e.raw("POST", "/containers/cat/attach?stream=1&stdout=1&stdin=1", upgrade, "some words without an end"),
				e.raw("POST", "/containers/cat/attach?stream=1&stdout=1&stdin=1", "", "no upgrade asked for"),
				e.raw("POST", "/containers/cat/attach?stream=1&stdout=1&stdin=1", upgrade+"Content-Length: 1000\r\n", "less"),
				e.raw("POST", "/exec/"+exec(`{"Cmd":["cat"],"AttachStdin":true,"AttachStdout":true}`)+"/start", upgrade+start, "{}typed"),
				e.raw("POST", "/exec/"+exec(`{"Cmd":["sh","-c","while ! test -e /tmp/stop; do echo y; sleep 0.01; done"],"AttachStdout":true}`)+"/start", upgrade+start, "{}"),
				e.raw("POST", "/exec/"+exec(`{"Cmd":["sleep","0.2"],"Tty":true,"AttachStdin":true,"AttachStdout":true}`)+"/start", upgrade+start, `{}`),
				e.raw("POST", "/containers/create", "Content-Type: application/json\r\nContent-Length: 100\r\n", `{"Image":"box",`),
				e.raw("PUT", "/containers/tick/archive?path=/tmp", "Content-Length: 1000000\r\n", "the beginning of no archive"),
				e.raw("PUT", "/containers/tick/archive?path=/tmp", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
				e.raw("POST", "/images/load", "Content-Length: 1000000\r\n", "the beginning of no archive"),
				e.raw("POST", "/images/create?fromSrc=-&repo=x", "Content-Length: 1000000\r\n", "the beginning of no archive"),
				e.raw("GET", "/containers/tick/logs?follow=1&stdout=1", "", ""),
				e.raw("GET", "/containers/tick/stats", "", ""),
				e.raw("GET", "/events", "", ""),
				e.raw("GET", "/containers/tick/export", "", ""),
				e.raw("POST", "/containers/tick/wait", "", ""),
				e.raw("POST", "/commit?container=cat", "", ""),
				e.raw("GET", "/containers/json?all=1&size=1", "", ""),
				e.raw("GET", "/_p", "X-Half: a head", ""),
			} {
				time.Sleep(time.Millisecond) // some are read by then, some are not
				_ = c.Close()
			}
		}
		// The programs that print are the container's, and go on.
		e.ok("exec", "tick", "touch", "/tmp/stop")
		e.settles(before)
		e.goesOn("tick")
		e.says("running\n", "inspect", "-f", "{{.State.Status}}", "cat")
		conn := e.raw("POST", "/containers/cat/attach?stream=1&stdout=1&stdin=1", upgrade, "still here\n")
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		for r := bufio.NewReader(conn); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if strings.Contains(line, "still here") {
				break
			}
		}
	})
}

// TestAPIHostileAtOnce: two hundred clients that do the same thing at the same moment.
func TestAPIHostileAtOnce(t *testing.T) {
	anyBox(t, func(t *testing.T, e *engine) {
		e.sleeper("up")
		before := e.belongings()
		var all []net.Conn
		for range 200 {
			conn, err := net.Dial("unix", e.socket)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, conn)
		}
		for _, c := range all {
			if _, err := io.WriteString(c, "POST /containers/create?name=one HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"Image\":\"box\"}"); err != nil {
				t.Fatal(err)
			}
		}
		statuses := map[int]int{}
		for _, c := range all {
			_ = c.SetReadDeadline(time.Now().Add(2 * patience))
			a, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			statuses[a.StatusCode]++
			_ = c.Close()
		}
		if statuses[http.StatusCreated] != 1 || statuses[http.StatusConflict] != 199 {
			t.Errorf("one name, 200 creations: %v", statuses)
		}
		e.settles(before)
		e.says("one\nup\n", "ps", "-a", "--format", "{{.Names}}")
	})
}

// TestAPIHalfClose: a client that has no more to say still hears.
func TestAPIHalfClose(t *testing.T) {
	anyBox(t, func(t *testing.T, e *engine) {
		e.ok("run", "-d", "-i", "--name", "counts", "box", "sh", "-c", "head -c 5; sleep 0.3; echo later")
		conn := e.raw("POST", "/containers/counts/attach?stream=1&stdout=1&stdin=1&logs=1", upgrade, "")
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		r := bufio.NewReader(conn)
		if a, err := http.ReadResponse(r, nil); err != nil || a.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(a, err)
		}
		_, err := io.WriteString(conn, "12345")
		if err == nil {
			err = conn.(*net.UnixConn).CloseWrite()
		}
		out, rerr := io.ReadAll(r)
		if err != nil || rerr != nil || !strings.Contains(string(out), "12345") || !strings.Contains(string(out), "later\n") {
			t.Errorf("%q: %v, %v", out, err, rerr)
		}
	})
}
