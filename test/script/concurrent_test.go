package script

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// prepare makes a bundle whose program sleeps.
func prepare(t *testing.T, edits ...string) (bundle, root, id string) {
	t.Helper()
	requireRoot(t)
	dir := t.TempDir()
	bundle, root, id = filepath.Join(dir, "b"), filepath.Join(dir, "root"), newPrefix()
	if err := mkbundle(append([]string{bundle, `process.args=["sleep","60"]`}, edits...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkClean(t, root, id) })
	return bundle, root, id
}

// expected are the errors that somebody who comes too late or too early may get.
var expected = []string{
	"ended by signal killed before it was created", // delete --force came while it was being made
	"already exists", "does not exist", "not running", "has stopped", "already running", "not stopped", "in a stopped container", "in the creating state",
	"in the paused state", "not paused", "in a paused container", "the container's process has ended", "does not listen", "broken pipe",
	"others make and remove it all the time", "has ended meanwhile",
	"wait for a lock: context deadline exceeded", // of a slow machine, where fifty stand in line
}

// TestConcurrent lets fifty callers do everything at once to one container. Each call must succeed or say why not, and in the end one
// delete --force leaves nothing.
func TestConcurrent(t *testing.T) {
	bundle, root, prefix := prepare(t)
	id := prefix + "one"
	var wg sync.WaitGroup
	var said [50]string
	begin := time.Now()
	for i := range said {
		wg.Go(func() {
			var args []string
			switch i % 10 {
			case 0, 1, 2:
				args = []string{"create", "-b", bundle, id}
			case 3:
				args = []string{"start", id}
			case 4:
				args = []string{"kill", id, "KILL"}
			case 5:
				args = []string{"delete", id}
			case 6:
				args = []string{"delete", "--force", id}
			case 7:
				args = []string{"state", id}
			case 8:
				args = []string{"exec", id, "true"}
			case 9:
				args = []string{"run", "-d", "-b", bundle, id}
			}
			time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond)
			from := time.Since(begin)
			out, code := quiet(t, root, args...)
			said[i] = fmt.Sprintf("%v to %v: %q: %d: %s", from.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond), args, code, strings.TrimSpace(out))
			if code != 0 && !allowed(out) && !(args[0] == "exec" && (code == 137 || code == 255)) {
				t.Errorf("%q: exit status %d: %s", args[:1], code, out)
			}
		})
	}
	wg.Wait()
	if out, code := quiet(t, root, "delete", "--force", id); code != 0 {
		t.Errorf("delete --force: %d: %s", code, out)
	}
	if out, code := quiet(t, root, "create", "-b", bundle, id); code != 0 {
		t.Errorf("create afterwards: %d: %s", code, out)
	}
	if out, code := quiet(t, root, "delete", id); code != 0 {
		t.Errorf("delete afterwards: %d: %s", code, out)
	}
	if t.Failed() {
		t.Log(strings.Join(said[:], "\n"))
	}
}

func allowed(out string) bool {
	for _, text := range expected {
		if strings.Contains(out, text) {
			return true
		}
	}
	return false
}

// quiet is rt with files for output, which a container may keep open.
func quiet(t *testing.T, root string, args ...string) (string, int) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Error(err)
		return "", -1
	}
	defer f.Close()
	cmd := program(root, args...)
	cmd.Stdout, cmd.Stderr = f, f
	err = cmd.Run()
	if cmd.ProcessState == nil {
		return err.Error(), -1
	}
	out, _ := os.ReadFile(f.Name())
	return string(out), cmd.ProcessState.ExitCode()
}

// TestKilled kills the program at any moment of a create, start, run, exec and delete. Whatever is left must be gone after delete --force, or
// be cleaned up by the next create of that name. The VM lab's machines are emulated: a command takes thirty times as long there.
func TestKilled(t *testing.T) {
	hook := `hooks.createRuntime=[{"path":"/bin/true"}]`
	kills, moment := 60, 12*time.Millisecond
	if os.Getenv("BULKHEAD_TEST_VM") == "1" {
		kills, moment = 12, 30*moment
	}
	for name, edits := range map[string][]string{"plain": nil, "hooks": {hook}, "shared": {
		`linux.namespaces=[{"type":"mount"},{"type":"uts"},{"type":"ipc"},{"type":"network"}]`,
	}} {
		t.Run(name, func(t *testing.T) {
			bundle, root, prefix := prepare(t, edits...)
			steps := map[string][]string{
				"create": {"create", "-b", bundle}, "run": {"run", "-d", "-b", bundle}, "delete": {"delete", "--force"}, "start": {"start"}, "exec": {"exec"},
			}
			for i := range kills {
				id := fmt.Sprintf("%s%s%d", prefix, name, i%4)
				step := []string{"create", "run", "delete", "create", "start", "exec"}[i%6]
				if step == "start" || step == "delete" || step == "exec" {
					quiet(t, root, "delete", "--force", id)
					if out, code := quiet(t, root, "create", "-b", bundle, id); code != 0 {
						t.Fatalf("create: %d: %s", code, out)
					}
				}
				args := append(append([]string{}, steps[step]...), id)
				if step == "exec" {
					args = append(args, "sleep", "60")
				}
				killAfter(t, root, time.Duration(rand.Int64N(int64(moment))), args)
				if step == "create" || step == "run" {
					out, code := quiet(t, root, "create", "-b", bundle, id)
					if code != 0 && !strings.Contains(out, "already exists") {
						t.Errorf("create after a killed %s: %d: %s", step, code, out)
					}
				}
				if out, code := quiet(t, root, "delete", "--force", id); code != 0 {
					t.Errorf("delete --force after a killed %s: %d: %s", step, code, out)
				}
				if left := cgroups(id); left != nil {
					t.Fatalf("after a killed %s: %q", step, left)
				}
			}
		})
	}
}

// killAfter starts the program and kills it after a while.
func killAfter(t *testing.T, root string, d time.Duration, args []string) {
	t.Helper()
	cmd := program(root, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(d)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}
