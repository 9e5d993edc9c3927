package api

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestAPIPs: which containers are listed, and what is said of them.
func TestAPIPs(t *testing.T) {
	eachBox(t, func(t *testing.T, e *engine) {
		e.ok("create", "--name", "made", "--network", "none", "-l", "tier=db", "box", "true")
		e.exits(3, "run", "--name", "ended", "-l", "tier=web", "-v", "data:/data", "box", "sh", "-c", "echo x > /tmp/x; exit 3")
		id := e.sleeper("up", "-l", "tier=web", "-l", "more")
		e.sleeper("held")
		e.ok("pause", "held")
		list := func(args ...string) string {
			t.Helper()
			got := strings.Fields(e.ok(append([]string{"ps", "--format", "{{.Names}}"}, args...)...))
			slices.Sort(got)
			return strings.Join(got, " ")
		}
		for _, c := range []struct{ want, args string }{
			{"held up", ""},
			{"ended held made up", "-a"},
			{"held", "-n 1"},
			{"held", "-l"},
			{"ended up", "-a -f label=tier=web"},
			{"up", "-f label=more"},
			{"ended", "-a -f label=tier=web -f exited=3"},
			{"ended", "-f status=exited"},
			{"made", "-f status=created"},
			{"held", "-f status=paused"},
			{"held up", "-f status=running -f status=paused"},
			{"up", "-a -f name=^/?up$"},
			{"made", "-a -f name=ad"},
			{"up", "-a -f id=" + id[:20]},
			{"ended made", "-a -f before=up"},
			{"held", "-a -f since=up"},
			{"ended held made up", "-a -f ancestor=box"},
			{"", "-a -f ancestor=no-such-image"},
			{"ended", "-a -f volume=data"},
			{"ended", "-a -f volume=/data"},
			{"made", "-a -f network=none"},
			{"ended held made up", "-a -f health=none"},
		} {
			if got := list(strings.Fields(c.args)...); got != c.want {
				t.Errorf("ps %s: %q, want %q", c.args, got, c.want)
			}
		}
		e.fails([]string{"ps", "-f", "nonsense=x"}, "nonsense")
		e.fails([]string{"ps", "-f", "status=nonsense"}, "nonsense")
		e.fails([]string{"ps", "-f", "exited=x"}, "")
		e.fails([]string{"ps", "-f", "since=no-such"}, "o such container")
		e.says(id[:12]+"|box|running|more,tier=web\n", "ps", "-f", "name=up", "--format", "{{.ID}}|{{.Image}}|{{.State}}|more,tier={{.Label \"tier\"}}")
		if got := e.ok("ps", "-a", "--format", "{{.Names}} {{.Status}}"); !regexp.MustCompile(`(?m)^ended Exited \(3\) .* ago$`).MatchString(got) || !strings.Contains(got, "(Paused)") || !strings.Contains(got, "made Created") {
			t.Errorf("status: %s", got)
		}
		if got := e.ok("ps", "-as", "--format", "{{.Names}} {{.Size}}"); !regexp.MustCompile(`(?m)^ended [1-9].*B \(virtual .*MB\)$`).MatchString(got) {
			t.Errorf("sizes: %s", got)
		}
		if got := e.ok("ps", "--no-trunc", "-f", "name=up"); !strings.Contains(got, id) || !strings.Contains(got, "trap 'exit 0' TERM") {
			t.Errorf("ps --no-trunc: %s", got)
		}
	})
}

// TestAPILook: top, stats, inspect, port.
func TestAPILook(t *testing.T) {
	eachBox(t, func(t *testing.T, e *engine) {
		id := e.sleeper("up", "-m", "64m", "--cpus", "0.5", "--pids-limit", "50", "--cap-drop", "ALL", "--cap-add", "CHOWN", "-v", "data:/data:ro", "--restart", "on-failure:2")
		if got := e.ok("top", "up"); !strings.HasPrefix(got, "UID ") || !strings.Contains(got, "trap 'exit 0' TERM") {
			t.Errorf("top: %s", got)
		}
		if got := e.ok("top", "up", "-o", "pid,comm"); !strings.HasPrefix(got, "PID ") || !regexp.MustCompile(`\n[0-9]+ +(sh|busybox)`).MatchString(got) {
			t.Errorf("top -o pid,comm: %s", got)
		}
		e.fails([]string{"top", "up", "--nonsense"}, "")
		fields := strings.Split(strings.TrimSpace(e.ok("stats", "--no-stream", "--format", "{{.Name}}|{{.PIDs}}|{{.MemUsage}}|{{.CPUPerc}}", "up")), "|")
		if n, err := strconv.Atoi(fields[1]); len(fields) != 4 || fields[0] != "up" || err != nil || n < 1 || !strings.HasSuffix(fields[2], "/ 64MiB") || !strings.HasSuffix(fields[3], "%") {
			t.Errorf("stats: %q", fields)
		}
		e.says(id+" running 67108864 500000000 50 on-failure up\n", "inspect", "-f",
			"{{.Id}} {{.State.Status}} {{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}} {{slice .Name 1}}", "up")
		e.says("volume data /data false\n", "inspect", "-f", "{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}}{{end}}", "up")
		if got := e.ok("inspect", "-s", "-f", "{{.SizeRootFs}}", "up"); len(got) < 6 {
			t.Errorf("inspect -s: %q", got)
		}
		e.says("", "port", "up")
		var all []map[string]any
		if err := json.Unmarshal([]byte(e.ok("inspect", "up")), &all); err != nil || len(all) != 1 {
			t.Fatalf("inspect: %v", err)
		}
		for _, key := range []string{"Id", "Created", "Path", "Args", "State", "Image", "LogPath", "Name", "RestartCount", "Driver", "HostConfig", "Mounts", "Config", "NetworkSettings"} {
			if _, ok := all[0][key]; !ok {
				t.Errorf("inspect has no %s", key)
			}
		}
		// What is said is so.
		for script, want := range map[string]string{
			"cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null | head -1": "67108864\n",
			"cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null | head -1":                  "50\n",
			"grep CapEff /proc/1/status | tr -d '\\t'":                                                        "CapEff:0000000000000001\n",
			"touch /data/x 2>/dev/null || echo read-only":                                                     "read-only\n",
		} {
			e.says(want, "exec", "up", "sh", "-c", script)
		}
	})
}

// TestAPISecurity: a profile from a file, an init, a health check.
func TestAPISecurity(t *testing.T) {
	eachBox(t, func(t *testing.T, e *engine) {
		profile := filepath.Join(e.home, "profile.json")
		if err := os.WriteFile(profile, []byte(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":55}]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := e.exits(1, "run", "--rm", "--security-opt", "seccomp="+profile, "box", "mkdir", "/tmp/x"); !strings.Contains(r.err, "No anode") {
			t.Errorf("a profile of its own: %+v", r)
		}
		e.exits(125, "run", "--rm", "--security-opt", "seccomp="+profile+".none", "box")
		e.exits(125, "run", "--rm", "--security-opt", "no-such-option=1", "box")
		e.exits(125, "run", "--rm", "--cap-add", "NO_SUCH_CAP", "box")
		if got := e.ok("run", "--rm", "--init", "box", "sh", "-c", "echo $$"); got == "1\n" {
			t.Error("with --init the program is the first process")
		}
		e.sleeper("sick", "--health-cmd", "test ! -e /tmp/sick", "--health-interval", "200ms", "--health-retries", "2", "--health-timeout", "20s")
		health := func(want string) {
			t.Helper()
			e.until("health "+want, func() bool { return e.try("inspect", "-f", "{{.State.Health.Status}}", "sick").out == want+"\n" })
		}
		health("healthy")
		e.says("sick\n", "ps", "-f", "health=healthy", "--format", "{{.Names}}")
		e.ok("exec", "sick", "touch", "/tmp/sick")
		health("unhealthy")
		if got := e.ok("ps", "--format", "{{.Status}}"); !strings.Contains(got, "(unhealthy)") {
			t.Errorf("ps: %q", got)
		}
		if got := e.ok("inspect", "-f", "{{range .State.Health.Log}}{{.ExitCode}} {{end}}", "sick"); !strings.Contains(got, "1 ") {
			t.Errorf("results: %q", got)
		}
	})
}

// TestAPIContainerEvents: what is told of a container's life.
func TestAPIContainerEvents(t *testing.T) {
	eachBox(t, func(t *testing.T, e *engine) {
		since := strconv.FormatInt(time.Now().Unix(), 10)
		e.sleeper("up", "-l", "tier=web")
		e.ok("exec", "up", "true")
		e.ok("pause", "up")
		e.ok("unpause", "up")
		e.ok("stop", "up")
		e.ok("rm", "up")
		e.ok("create", "--name", "other", "box")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		told := func(format string, filters ...string) string {
			args := []string{"events", "--since", since, "--until", strconv.FormatInt(time.Now().Unix()+1, 10), "--format", format}
			for _, f := range filters {
				args = append(args, "-f", f)
			}
			out, err := e.command(ctx, args...).Output()
			if err != nil {
				t.Fatal(err)
			}
			return strings.Join(strings.Fields(string(out)), " ")
		}
		got := told("{{.Action}}", "container=up", "event=create", "event=start", "event=pause", "event=unpause", "event=kill", "event=die", "event=stop", "event=destroy")
		if got != "create start pause unpause kill die stop destroy" {
			t.Errorf("events of a life: %q", got)
		}
		if got := told("{{.Action}}", "container=up", "event=exec_create", "event=exec_start", "event=exec_die"); got != "exec_create: true exec_start: true exec_die" {
			t.Errorf("events of a program: %q", got)
		}
		if got := told("{{.Actor.Attributes.name}}", "type=container", "label=tier=web", "event=create"); got != "up" {
			t.Errorf("by label: %q", got)
		}
		if got := told("{{.Actor.Attributes.exitCode}}", "event=die", "image=box"); got != "0" {
			t.Errorf("the exit code: %q", got)
		}
		if got := told("{{.Action}}", "container=no-such"); got != "" {
			t.Errorf("of no container: %q", got)
		}
	})
}

// TestAPIWait: the conditions, by the API itself.
func TestAPIWait(t *testing.T) {
	anyBox(t, func(t *testing.T, e *engine) {
		e.sleeper("up")
		e.sleeper("fleeting", "--rm")
		e.exits(5, "run", "--name", "ended", "box", "sh", "-c", "exit 5")
		wait := func(name, condition string) chan string {
			answer := make(chan string, 1)
			go func() {
				_, body := e.http(http.MethodPost, "/v1.51/containers/"+name+"/wait?condition="+condition, nil, nil)
				answer <- strings.TrimSpace(body)
			}()
			return answer
		}
		for _, condition := range []string{"", "not-running"} {
			if got := <-wait("ended", condition); got != `{"StatusCode":5}` {
				t.Errorf("%q of one that has ended: %s", condition, got)
			}
		}
		waits := []chan string{wait("up", "not-running"), wait("up", "next-exit"), wait("fleeting", "removed"), wait("fleeting", "next-exit")}
		time.Sleep(100 * time.Millisecond) // that they wait is likely then; whatever they do, the answer is the same
		e.ok("stop", "up", "fleeting")
		for i, w := range waits {
			select {
			case got := <-w:
				if got != `{"StatusCode":0}` && i < 2 || !strings.HasPrefix(got, `{"StatusCode":0`) && !strings.Contains(got, "o such container") {
					t.Errorf("wait %d: %s", i, got)
				}
			case <-time.After(patience):
				t.Fatalf("wait %d does not end", i)
			}
		}
		next := wait("ended", "next-exit")
		e.until("the next exit", func() bool {
			e.ok("start", "ended")
			select {
			case got := <-next:
				if got != `{"StatusCode":5}` {
					t.Errorf("next-exit: %s", got)
				}
				return true
			case <-time.After(100 * time.Millisecond):
				return false
			}
		})
		if status, body := e.http(http.MethodPost, "/containers/ended/wait?condition=nonsense", nil, nil); status != http.StatusBadRequest || !strings.Contains(body, "nonsense") {
			t.Errorf("a condition that there is not: %d %s", status, body)
		}
		removed := wait("ended", "removed")
		e.ok("rm", "-f", "ended")
		select {
		case <-removed:
		case <-time.After(patience):
			t.Error("removed: it does not end")
		}
	})
}

// TestAPIContainerPrune: those that have ended, by filters.
func TestAPIContainerPrune(t *testing.T) {
	eachBox(t, func(t *testing.T, e *engine) {
		e.ok("run", "--name", "kept", "-l", "keep", "box", "true")
		id := strings.TrimSpace(e.ok("create", "--name", "made", "box"))
		e.sleeper("up")
		if got := e.ok("container", "prune", "-f", "--filter", "label!=keep"); !strings.Contains(got, id) || !strings.Contains(got, "Total reclaimed space:") {
			t.Errorf("prune: %q", got)
		}
		if got := strings.Fields(e.ok("ps", "-a", "--format", "{{.Names}}")); !slices.Equal(got, []string{"up", "kept"}) {
			t.Errorf("left: %q", got)
		}
		e.ok("container", "prune", "-f", "--filter", "until=1h")
		e.ok("container", "prune", "-f")
		e.says("up\n", "ps", "-a", "--format", "{{.Names}}")
		e.fails([]string{"container", "prune", "-f", "--filter", "nonsense=1"}, "nonsense")
	})
}
