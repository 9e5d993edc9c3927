package attack

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKilledRuntime kills the runtime at a random moment of a random command, two hundred times, fewer on a slow machine. After each, delete
// --force works in bounded time, the same id can be created again, and nothing of the first attempt is left. The VM lab's machines are emulated:
// a command takes thirty times as long there.
func TestKilledRuntime(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		b := newBundle(t, "/bin/sleep", "1000")
		b.write(t, p)
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		kills, most, least, moment := 0, 220, 100, 14*time.Millisecond
		if os.Getenv("BULKHEAD_TEST_VM") == "1" {
			most, least, moment = 40, 10, 30*moment
		}
		for until := time.Now().Add(60 * time.Second); kills < most && time.Now().Before(until); kills++ {
			command := []string{"create", "run", "start", "exec", "delete"}[kills%5]
			if reached := p.killed(t, b, command, time.Duration(r.Int64N(int64(moment)))); reached != "" {
				return fmt.Sprintf("kill %d, during %s: %s", kills, command, reached)
			}
		}
		t.Logf("%d kills", kills)
		if kills < least {
			t.Errorf("only %d kills in the time", kills)
		}
		return ""
	})
}

// killed starts one command of a container's life, kills it after the delay, and checks that all can be healed.
func (p *program) killed(t *testing.T, b *bundle, command string, delay time.Duration) string {
	t.Helper()
	id := newID()
	create := []string{"create", "--bundle", b.dir, id}
	if command != "create" && command != "run" {
		if out, code := p.call(t, create...); code != 0 {
			return "create before: " + out
		}
		if command != "start" {
			if out, code := p.call(t, "start", id); code != 0 {
				return "start before: " + out
			}
		}
	}
	args := map[string][]string{
		"create": create, "run": {"run", "--bundle", b.dir, id}, "start": {"start", id},
		"exec": {"exec", id, "/bin/sleep", "1000"}, "delete": {"delete", "--force", id},
	}[command]
	cmd := p.command(context.Background(), args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(delay)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()

	if out, code := p.call(t, "delete", "--force", id); code != 0 {
		return "delete --force: " + out
	}
	if left := leftoversOf(p, patience); len(left) > 0 {
		return fmt.Sprintf("after delete --force: %v", left)
	}
	if out, code := p.call(t, create...); code != 0 {
		return "create of the same id: " + out
	}
	if out, code := p.call(t, "delete", "--force", id); code != 0 {
		return "second delete --force: " + out
	}
	return ""
}

// leftoversOf is leftovers for the runtime under test; of the careless one only processes count.
func leftoversOf(p *program, patience time.Duration) []string {
	if p == target {
		return leftovers(patience)
	}
	var list []string
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		list = list[:0]
		for _, pid := range marked(p) {
			list = append(list, "process "+strconv.Itoa(pid))
		}
		if len(list) == 0 {
			break
		}
	}
	return list
}

// TestReusedPID: a container died unseen, and its pid belongs to somebody else now. No command may touch that one.
func TestReusedPID(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		for range 5 {
			b := newBundle(t, "/bin/sleep", "1000")
			id, pid := p.start(t, b)
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			for syscall.Kill(pid, 0) == nil {
				time.Sleep(time.Millisecond)
			}
			stranger := startAt(t, pid)
			if stranger == nil {
				continue // somebody else was faster
			}
			_, _ = p.call(t, "kill", id, "KILL")
			state, _ := p.call(t, "state", id)
			_, _ = p.call(t, "delete", "--force", id)
			time.Sleep(20 * time.Millisecond)
			err := stranger.Process.Signal(syscall.Signal(0))
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			_ = stranger.Process.Kill()
			_ = stranger.Wait()
			if err != nil || strings.Contains(string(status), "State:\tZ") {
				return "a stranger with the container's old pid was killed"
			}
			if strings.Contains(state, `"running"`) {
				return "a stranger with the container's old pid passes for the container: " + state
			}
			return ""
		}
		if strict {
			t.Error("the pid could not be had again in five tries")
		}
		t.Skip("the pid could not be had again in five tries")
		return ""
	})
}

// startAt starts a process that gets the given pid, or returns nil. The kernel continues after ns_last_pid (pid_namespaces(7)).
func startAt(t *testing.T, pid int) *exec.Cmd {
	t.Helper()
	for range 100 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0o644); err != nil {
			t.Skipf("ns_last_pid: %v", err)
		}
		cmd := exec.Command("/bin/busybox", "sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if cmd.Process.Pid == pid {
			return cmd
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	return nil
}

// TestStoppedRuntime stops a command of the runtime, with whatever lock it holds. Others answer in bounded time, and all is well
// once the stopped one is gone. There is no attack on the careless runtime: it takes no lock.
func TestStoppedRuntime(t *testing.T) {
	b := newBundle(t, "/bin/sleep", "1000")
	b.write(t, target)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 8 {
		id := newID()
		cmd := target.command(context.Background(), []string{"create", "run"}[i%2], "--bundle", b.dir, id)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(r.IntN(12000)) * time.Microsecond)
		if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Log(err) // a create that has ended
		}
		for _, args := range [][]string{{"state", id}, {"list"}, {"kill", id, "KILL"}, {"delete", "--force", id}} {
			started := time.Now()
			out, code := target.call(t, args...)
			if took := time.Since(started); took > 12*time.Second {
				t.Errorf("%s took %v beside a stopped %s", args[0], took, cmd.Args[3])
			}
			t.Logf("%s: exit status %d: %.200s", args[0], code, out)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		target.remove(t, id)
		if left := leftovers(patience); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if t.Failed() {
			return // each further round would only take its full patience again
		}
	}
}
