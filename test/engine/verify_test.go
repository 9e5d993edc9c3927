package engine

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/verify"
	api "github.com/moby/moby/api/types/container"
)

// A judged is a check of `verify --format json`.
type judged struct{ Area, What, Declared, Found, Verdict, Hint string }

// verified is the report of a container: what differs, and how much does not.
func (l *line) verified(name string) (differs []judged, good int) {
	l.t.Helper()
	r := l.do("", "verify", "--format", "json", name)
	var report struct{ Checks []judged }
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		l.t.Fatalf("verify %s: %v: %+v", name, err, r)
	}
	for _, c := range report.Checks {
		switch c.Verdict {
		case "differs":
			differs = append(differs, c)
		case "ok":
			good++
		}
	}
	if want := map[bool]int{false: 0, true: 1}[len(differs) > 0]; r.code != want {
		l.t.Errorf("verify %s: %d differences, exit status %d", name, len(differs), r.code)
	}
	return differs, good
}

// started runs a container in the background and returns its first process.
func (l *line) started(name string, args ...string) (pid string) {
	l.t.Helper()
	if r := l.do("", append([]string{"run", "-d", "--name", name}, args...)...); r.code != 0 {
		l.t.Fatalf("run %v: %+v", args, r)
	}
	for range 100 { // the first process executes the program when the monitor has told us
		r := l.do("", "verify", "--format", "{{.PID}}", name)
		if pid = strings.TrimSpace(r.out); pid != "" {
			return pid
		}
		time.Sleep(20 * time.Millisecond)
	}
	l.t.Fatalf("%s does not run", name)
	return ""
}

// v1 is flags that need a controller of the first version, none where there is none.
func v1(flags string) string {
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.swappiness"); err != nil {
		return ""
	}
	return flags
}

// TestVerifyHealthy: nobody has touched these containers, and verify says so.
func TestVerifyHealthy(t *testing.T) {
	l := newLine(t)
	l.started("first", "busybox", "sleep", "1000")
	for _, flags := range []string{
		"", "--level compat", "--level untrusted", "--privileged", "--read-only", "-v DIR/shared:/data", "-v DIR/shared:/data:ro", "-v vol:/data", "-v /data", "-v DIR/hosts:/etc/hosts",
		"--tmpfs /t:size=1m,mode=700 --tmpfs /x:exec", "--mount type=bind,source=DIR/shared,target=/data,bind-propagation=rslave", "-m 64m --cpus 0.5 --pids-limit 50", "--cpuset-cpus 0 --cpu-shares 512", "-m 100m --memory-swap -1 --memory-reservation 50m", v1("--memory-swappiness 10 -m 100m"),
		"--userns host", "--network host", "--network none", "--network host --userns host --pid host --ipc host --uts host --cgroupns host", "--pid host --userns host", "--ipc host --userns host", "--pid host", "--ipc host", "--device /dev/zero:/dev/empty", "--uts host", "--cgroupns host",
		"--network container:first", "--pid container:first --userns host", "--sysctl net.ipv4.ip_forward=1 --sysctl kernel.msgmax=4096",
		"--cap-drop ALL", "--cap-add NET_ADMIN", "--cap-add SYS_ADMIN", "-u 33:33 --group-add 44", "--ulimit nofile=64:64", "--oom-score-adj 500", "-t", "--init", "--device /dev/zero", "--device /dev/zero:/dev/empty --userns host",
		"--security-opt seccomp=unconfined", "--security-opt no-new-privileges=false", "--security-opt unmask=ALL", "--security-opt mask=/etc:/data", "--shm-size 1m", "--hostname box --domainname example",
		"--level compat --userns host", "--level untrusted --userns host --network host", "--allow userns", "-v /:/host:ro", "--device-cgroup-rule=c~13:*~rwm",
	} {
		words := strings.Fields(strings.ReplaceAll(flags, "DIR", l.dir))
		for i := range words {
			words[i] = strings.ReplaceAll(words[i], "~", " ") // of rules for devices
		}
		if err := os.WriteFile(l.dir+"/hosts", []byte("127.0.0.1 localhost\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r := l.do("", append(append([]string{"run", "-d", "--name", "cc"}, words...), "busybox", "sleep", "1000")...)
		if r.code != 0 {
			t.Errorf("%s: %+v", flags, r)
			l.do("", "rm", "-f", "cc")
			continue
		}
		differs, good := l.verified("cc")
		if len(differs) > 0 || good < 20 {
			t.Errorf("%s: %d are as declared, and %+v", flags, good, differs)
		}
		if strings.Contains(flags, "container:first") { // the one that is joined is as it was
			if differs, _ := l.verified("first"); len(differs) > 0 {
				t.Errorf("%s: the other: %+v", flags, differs)
			}
		}
		if r := l.do("", "rm", "-f", "cc"); r.code != 0 {
			t.Fatalf("%s: %+v", flags, r)
		}
	}
}

// TestVerifyLiving: what a container does to itself is no difference.
func TestVerifyLiving(t *testing.T) {
	const background = "sleep 1000 </dev/null >/dev/null 2>&1 &"
	l := newLine(t)
	for _, script := range []string{
		"sleep 1000 & sleep 1000 & exec sleep 1000",
		"chown 33 /data; exec busybox su www -s /bin/sh -c 'sleep 1000'", // the program steps down
		"ulimit -n 64; echo 900 >/proc/self/oom_score_adj; exec sleep 1000",
		"rm /etc/hosts /dev/null 2>/dev/null; mkdir -p /dev/x; ln -s / /dev/y; cd /tmp; exec sleep 1000",
		"exec 7</etc; exec 8</proc/self/ns/net; cd /proc; exec sleep 1000",
	} {
		r := l.do("", "run", "-d", "--name", "cc", "busybox", "sh", "-c", script)
		if r.code != 0 {
			t.Fatalf("%+v", r)
		}
		for _, args := range [][]string{{"exec", "cc", "sh", "-c", background}, {"exec", "-u", "33", "cc", "sh", "-c", background}} {
			if r := l.do("", args...); r.code != 0 {
				t.Errorf("%s: %v: %+v: %+v", script, args, r, l.do("", "logs", "cc"))
			}
		}
		time.Sleep(100 * time.Millisecond)
		if differs, _ := l.verified("cc"); len(differs) > 0 {
			t.Errorf("%s: %+v", script, differs)
		}
		l.do("", "rm", "-f", "cc")
	}
	if r := l.do("", "verify", "cc"); r.code != 125 || !strings.Contains(r.problems, "no such container") {
		t.Errorf("%+v", r)
	}
	l.do("", "create", "--name", "cc", "busybox", "true")
	if r := l.do("", "verify", "cc"); r.code != 125 || !strings.Contains(r.problems, "not running") {
		t.Errorf("%+v", r)
	}
}

// TestVerifyUpdated: limits that the engine itself has changed are those that count.
func TestVerifyUpdated(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	id := e.create(func(q *option.Create) { q.Host.Memory, q.Host.MemorySwap = 64<<20, 64<<20 }, "sleep", "1000")
	if err := e.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Update(ctx, id, api.UpdateConfig{Resources: api.Resources{Memory: 100 << 20, MemorySwap: 200 << 20}}); err != nil {
		t.Fatal(err)
	}
	r, err := e.Verify(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if bad := r.Differences(); len(bad) > 0 {
		t.Errorf("%+v", bad)
	}
	if !slices.ContainsFunc(r.Checks, func(c verify.Check) bool { return c.What == "memory.limit" && c.Found == "104857600" }) {
		t.Errorf("%+v", r.Checks)
	}
}

// TestVerifySecrets: secrets are mounted as declared, explained, and their data is in neither answer.
func TestVerifySecrets(t *testing.T) {
	e := newEngine(t)
	e.inMemory()
	ctx := context.Background()
	q := option.Create{
		Config:  api.Config{Image: "busybox", Cmd: []string{"sleep", "1000"}},
		Secrets: []option.Secret{{Name: "a", Data: []byte("hidden-1")}, {Name: "b", Target: "/etc/b", Data: []byte("hidden-2")}, {Name: "c", Env: true, Target: "C", Data: []byte("hidden-3")}},
	}
	ahead, err := e.ExplainCreate(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	made, err := e.Create(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	r, err := e.Verify(ctx, made.ID)
	if err != nil {
		t.Fatal(err)
	}
	running, err := e.Explain(ctx, made.ID)
	if err != nil {
		t.Fatal(err)
	}
	if bad := r.Differences(); len(bad) > 0 {
		t.Errorf("%+v", bad)
	}
	for _, answer := range []any{r, ahead, running} {
		data, err := json.Marshal(answer)
		if err != nil || strings.Contains(string(data), "hidden-") || !strings.Contains(string(data), "/run/secrets") || !strings.Contains(string(data), "/etc/b") {
			t.Errorf("%v: %s", err, data)
		}
	}
}

// TestVerifyStopped: filters are read back, and the program goes on; a process under another filter is found.
func TestVerifyStopped(t *testing.T) {
	l := newLine(t)
	profile := filepath.Join(l.dir, "p.json")
	if err := os.WriteFile(profile, []byte(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["acct"],"action":"SCMP_ACT_ERRNO"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	l.started("cc", "busybox", "sh", "-c", "sleep 1000 & i=0; while sleep 0.01; do i=$((i+1)); echo $i; done; echo stopped")
	for range 20 {
		r := l.do("", "verify", "--stop", "--all", "cc")
		if r.code != 0 || !strings.Contains(r.out, "what the filter decides") || strings.Contains(r.out, "differs") {
			t.Fatalf("%+v", r)
		}
	}
	if r := l.do("", "logs", "cc"); strings.Contains(r.out, "stopped") || r.problems != "" {
		t.Errorf("%+v", r)
	}
	other := l.started("other", "--security-opt", "seccomp="+profile, "busybox", "sleep", "1000")
	if r := l.do("", "verify", "--stop", "other"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	id := strings.TrimSpace(l.do("", "ps", "-q", "--no-trunc", "--filter", "name=cc").out)
	cmd := exec.Command("sh", "-c", prelude+"echo $PID >$(cg pids)/cgroup.procs")
	cmd.Env = append(os.Environ(), "PID="+other, "ID="+id)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if r := l.do("", "verify", "--stop", "cc"); r.code != 1 || !strings.Contains(r.out, "1 filters, none of which is this one") {
		t.Errorf("%+v", r)
	}
	l.do("", "rm", "-f", "other")
	l.do("", "pause", "cc")
	if r := l.do("", "verify", "--stop", "cc"); r.code != 0 || !strings.Contains(r.out, "does not stop") {
		t.Errorf("%+v", r)
	}
	l.do("", "unpause", "cc")
	if r := l.do("", "verify", "--stop", "cc"); r.code != 0 || strings.Contains(r.out, "does not stop") {
		t.Errorf("%+v", r)
	}
}

// TestVerifyRestless: a container whose processes come and go all the time, with names that speak to terminals, has no difference, and the answer comes.
func TestVerifyRestless(t *testing.T) {
	l := newLine(t)
	const script = `cp /bin/busybox "/tmp/$(printf 'sleep\033[2J')"; ln -s /bin/busybox /tmp/sleep; while :; do for i in 1 2 3 4 5; do (printf 'x\033[31m' >/proc/self/comm; exec sleep 0.02) & done; sleep 0.01; done`
	l.started("cc", "--pids-limit", "100", "busybox", "sh", "-c", script)
	many := false
	for range 10 {
		for _, flag := range []string{"--stop=false", "--stop"} {
			r := l.do("", "verify", flag, "--all", "cc")
			if r.code != 0 || strings.Contains(r.out, "\x1b") {
				t.Fatalf("%s: %+v", flag, r)
			}
			many = many || strings.Contains(r.out, " processes as declared")
		}
	}
	if !many {
		t.Error("it had one process whenever it was looked at")
	}
}
