package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// slow stands in front of a registry and lets blobs through in drops.
func slow(t *testing.T, host string, drop int, pause time.Duration) (string, *atomic.Int64) {
	t.Helper()
	var sent atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})
	proxy.ModifyResponse = func(r *http.Response) error {
		if strings.Contains(r.Request.URL.Path, "/blobs/") && r.ContentLength > 100_000 {
			r.Body = &dropper{r.Body, drop, pause, &sent}
		}
		return nil
	}
	proxy.FlushInterval = -1
	return serve(t, proxy), &sent
}

type dropper struct {
	io.ReadCloser
	size  int
	pause time.Duration
	sent  *atomic.Int64
}

func (d *dropper) Read(p []byte) (int, error) {
	time.Sleep(d.pause)
	n, err := d.ReadCloser.Read(p[:min(len(p), d.size)])
	d.sent.Add(int64(n))
	return n, err
}

// published brings an image with one large layer into a registry.
func published(t *testing.T, size int) (host, name string) {
	t.Helper()
	host = registry(t, "")
	l := newLayout(t)
	l.publish(l.image(v1.Image{}, rootfs(t, 1, size)), host+"/box:1")
	return host, "/box:1"
}

// TestCLIInterrupt: a pull that is interrupted ends within a second, with the status of the signal, and the next one goes on where it was.
func TestCLIInterrupt(t *testing.T) {
	host, name := published(t, 4<<20)
	for _, c := range []struct {
		signal syscall.Signal
		code   int
	}{{syscall.SIGINT, 130}, {syscall.SIGTERM, 143}} {
		t.Run(c.signal.String(), func(t *testing.T) {
			front, sent := slow(t, host, 64<<10, 20*time.Millisecond)
			e := newEngine(t)
			cmd := e.command(t.Context(), "pull", front+name)
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for range 1000 {
				if sent.Load() > 3<<20 {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			began := time.Now()
			if err := cmd.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			code := status(t, cmd.Wait())
			if took := time.Since(began); code != c.code || took > time.Second {
				t.Errorf("exit %d after %v, want %d within a second: %s%s", code, took, c.code, out.String(), errs.String())
			}
			r := e.try("image", "fsck")
			if r.code != 0 || !strings.Contains(r.out, "partial sha256:") || !strings.Contains(r.out, "the next pull goes on from there") {
				t.Errorf("no partial content is left: %+v", r)
			}
			before := sent.Load()
			e.ok("pull", "-q", front+name)
			if got := sent.Load() - before; got > 3<<20 { // of 5.3 MB
				t.Errorf("the next pull has fetched %d bytes: it has not gone on where the first was", got)
			}
			e.clean()
			if entries, err := os.ReadDir(e.root + "/snapshots/stage"); err != nil || len(entries) > 0 {
				t.Errorf("left behind: %v %v", entries, err)
			}
		})
	}
}

// TestCLIInterruptTerminal: ^C goes to all processes of the terminal, the one that unpacks among them. Nothing is said of what that leads to.
func TestCLIInterruptTerminal(t *testing.T) {
	host, name := published(t, 4<<20)
	front, sent := slow(t, host, 64<<10, 20*time.Millisecond)
	e := newEngine(t)
	for range 8 {
		before := sent.Load()
		p := e.terminal("--log-level=error", "pull", front+name)
		for range 400 {
			if sent.Load()-before > 200<<10 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		p.Write("\x03")
		if code := p.End(); code != 130 || strings.Contains(p.Text(), "bulkhead: ") {
			t.Errorf("exit %d: %q", code, p.Text())
		}
	}
	e.clean()
}

// TestCLIInterruptWaiting: a command that waits for its standard input ends, too.
func TestCLIInterruptWaiting(t *testing.T) {
	e := newEngine(t)
	for _, args := range [][]string{{"load"}, {"import", "-"}, {"image", "prune"}, {"login", "-u", "alice", "--password-stdin", "localhost:1"}} {
		cmd := e.command(t.Context(), args...)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
		began := time.Now()
		_ = cmd.Process.Signal(syscall.SIGINT)
		if code, took := status(t, cmd.Wait()), time.Since(began); code != 130 || took > time.Second {
			t.Errorf("%v: exit %d after %v", args, code, took)
		}
		_ = in.Close()
	}
	e.clean()
	if left, err := filepath.Glob(filepath.Join(e.root, "load-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestCLIReaderGone: `pull | head -1` ends when nobody reads, as a shell says of one who got SIGPIPE, silently, and leaves what can be gone on with.
func TestCLIReaderGone(t *testing.T) {
	host, name := published(t, 2<<20)
	front, _ := slow(t, host, 64<<10, 20*time.Millisecond)
	e := newEngine(t)
	script := fmt.Sprintf(`set -o pipefail; timeout 30 %s --root %s pull %s%s | head -1; echo "${PIPESTATUS[*]}"`, program, e.root, front, name)
	cmd := exec.Command("bash", "-c", script)
	cmd.Env = e.env
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || string(out) != "1: Pulling from box\n141 0\n" {
		t.Errorf("%q %v", out, err)
	}
	if strings.Contains(errs.String(), "broken pipe") || strings.Contains(errs.String(), "nobody") {
		t.Errorf("it says %q", errs.String())
	}
	if entries, err := os.ReadDir(e.root + "/snapshots/stage"); err != nil || len(entries) > 0 {
		t.Errorf("it did not end by itself: left behind: %v %v", entries, err)
	}
	e.clean()
	e.ok("pull", "-q", front+name)
	e.clean()
	for i := range 40 {
		imported(e, fmt.Sprintf("name%d", i), 1)
	}
	script = fmt.Sprintf(`%s --root %s images | true; echo ${PIPESTATUS[0]}`, program, e.root)
	for range 5 {
		out, err := exec.Command("bash", "-c", script).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != "141" && got != "0" {
			t.Errorf("%q %v", out, err)
		}
	}
}

// TestCLIFullDisk: a pull, a load and an import that find no room say so, and leave a store that is whole; with room the pull goes on.
func TestCLIFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a small disk can be mounted by root only")
	}
	host, name := published(t, 6<<20)
	e := newEngine(t)
	script := fmt.Sprintf(`set -u
mount --make-rprivate /
mkdir -p %[2]s && mount -t tmpfs -o size=9m,mode=0700 none %[2]s
b="%[1]s --root %[2]s"
$b pull -q %[3]s%[4]s; echo "pull $?"
$b image fsck | tail -1
$b images -q
mount -o remount,size=40m %[2]s
$b pull -q %[3]s%[4]s; echo "pull $?"
mount -o remount,size=18m %[2]s
$b save %[3]s%[4]s > %[2]s/../archive.tar; echo "save $?"
mkdir %[2]s/small && mount -t tmpfs -o size=1m none %[2]s/small
$b save -o %[2]s/small/archive.tar %[3]s%[4]s; echo "save -o $?" $(ls -A %[2]s/small | wc -l)
umount %[2]s/small && rmdir %[2]s/small
$b rmi %[3]s%[4]s | head -1
mount -o remount,size=5m %[2]s
$b load -i %[2]s/../archive.tar; echo "load $?"
$b image fsck | tail -1
`, program, e.root, host, name)
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	cmd.Env = e.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, errs.String())
	}
	got := string(out)
	for _, want := range []string{"pull 1\n", " 0 problems\n" + host + name + "\npull 0\n", "save 0\n", "save -o 1 0\n", "Untagged: " + host + name + "\n", "load 1\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s%s", want, got, errs.String())
		}
	}
	if n := strings.Count(got, " 0 problems\n"); n != 2 {
		t.Errorf("fsck is clean %d times of 2:\n%s%s", n, got, errs.String())
	}
	if n := strings.Count(errs.String(), "no space left on device"); n != 3 {
		t.Errorf("a full disk is told of %d times of 3: %s", n, errs.String())
	}
}

// TestCLIKilled: a pull that is killed is gone on with.
func TestCLIKilled(t *testing.T) {
	host, name := published(t, 3<<20)
	front, sent := slow(t, host, 64<<10, 10*time.Millisecond)
	e := newEngine(t)
	for i := range 4 {
		cmd := e.command(t.Context(), "pull", "-q", front+name)
		before := sent.Load()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for range 400 {
			if sent.Load()-before > int64(i)*300_000 {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		e.clean()
	}
	e.ok("pull", "-q", front+name)
	e.clean()
}
