package runflags

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-engine/bulkhead/test/need"
)

// lines that are read by Docker's command and by this package, which must ask for the same. DIR is a directory with the files env, label and profile.
var dockersLines = []string{
	"img", "img sh -c", "-i img cat", "-t img", "-it img sh", "-a stdout img", "-a stdin -i img", "-a STDERR -a stdout img", "--name x img", "--rm img",
	"-e A=b -e C=d=e img", "-e FROM_CALLER img", "-e NOT_SET_ANYWHERE img", "-e A= img", "--env-file DIR/env -e Z=1 img", "-u 1000:1000 img", "--user me img",
	"-w /x img", "-h box --domainname example.org img", "-l a=b -l c img", "--label-file DIR/label -l a=z img", "--annotation a=b img",
	"--entrypoint /bin/x img a b", "--entrypoint= img", "--stop-signal INT --stop-timeout 3 img", "--stop-timeout 0 img", "--init img", "--init=false img",
	"--restart always img", "--restart on-failure:5 img", "--restart unless-stopped img", "--restart no --rm img", "--group-add 12 --group-add audio img",
	"--cap-add NET_ADMIN --cap-add SYS_TIME img", "--cap-drop ALL --cap-add CAP_CHOWN img", "--privileged img", "--security-opt no-new-privileges img",
	"--security-opt no-new-privileges=false img", "--security-opt seccomp=unconfined img", "--security-opt seccomp=DIR/profile img", "--security-opt apparmor=x img",
	"--security-opt label=type:svirt_t --security-opt label=level:s0:c1 img", "--security-opt label=disable img", "--security-opt systempaths=unconfined img",
	"--security-opt label:disable img", "--read-only img", "--userns host img", "--pid host img", "--pid container:web img", "--ipc private img", "--ipc shareable img",
	"--ipc none img", "--uts host img", "--cgroupns private img", "--network none img", "--network host img", "--net container:web img", "--device /dev/fuse img",
	"--device /dev/a:/dev/b img", "--device /dev/a:r img", "--device /dev/a:/dev/b:rw img", "--device-cgroup-rule c_13:*_rwm img", "--sysctl net.core.somaxconn=1 img",
	"-v /a:/b img", "-v /a:/b:ro,Z img", "-v vol:/c:nocopy img", "-v /data img", "-v ./rel:/x img", "--volumes-from web --volumes-from db:ro img",
	"--tmpfs /run img", "--tmpfs /run:size=1m,mode=1777 img", "--mount type=bind,src=/a,dst=/b img", "--mount type=bind,src=/a,dst=/b,readonly img",
	"--mount type=bind,source=/a,target=/b,ro=true,bind-propagation=rslave img", "--mount type=bind,src=/a,dst=/b,bind-recursive=disabled img",
	"--mount type=bind,src=/a,dst=/b,ro,bind-recursive=writable img", "--mount type=bind,src=./rel,dst=/b img", "--mount type=bind,src=/a,dst=/b,ro,bind-recursive=readonly,bind-propagation=rprivate img",
	"--mount type=image,src=busybox,dst=/b,image-subpath=bin img", "--mount source=v,target=/b img",
	"--mount type=volume,src=v,dst=/b,volume-nocopy,volume-label=a=b,volume-opt=type=nfs,volume-driver=local img", "--mount type=volume,src=v,dst=/b,volume-subpath=x img",
	"--mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770 img", "-m 64m img", "-m 1g --memory-swap 2g img", "-m 1g --memory-swap=-1 img",
	"-m 64m --memory-reservation 32m img", "--memory-swappiness 30 img", "--memory-swappiness 0 img", "--cpus 1.5 img", "--cpus .25 img", "-c 512 img",
	"--cpu-period 50000 --cpu-quota 25000 img", "--cpu-rt-period 1000 --cpu-rt-runtime 500 img", "--cpuset-cpus 0-3 --cpuset-mems 0 img", "--pids-limit 100 img",
	"--pids-limit=-1 img", "--blkio-weight 300 img", "--blkio-weight-device /dev/sda:200 img", "--device-read-bps /dev/sda:1mb --device-write-bps /dev/sda:2kb img",
	"--device-read-iops /dev/sda:100 --device-write-iops /dev/sda:200 img", "--shm-size 128m img", "--shm-size 1048576 img", "--ulimit nofile=1024:2048 img",
	"--ulimit nproc=5 --ulimit core=0 img", "--ulimit nofile=1:2 --ulimit nofile=3:4 img", "--oom-kill-disable img", "--oom-score-adj=-500 img", "--cgroup-parent /x img",
	"--add-host a:1.2.3.4 img", "--add-host a=1.2.3.4 img", "--add-host a:::1 img", "--add-host a=[::1] img", "--add-host a:host-gateway img",
	"--dns 1.1.1.1 --dns-search example.org --dns-option ndots:1 img", "--dns-opt rotate img", "--expose 80 --expose 53/udp img", "--expose 8000-8002 img",
	"--log-driver none img", "--log-driver json-file --log-opt max-size=1m --log-opt max-file=2 img", "--log-opt tag={{.Name}} img", "--no-healthcheck img",
	"--health-cmd true --health-interval 5s --health-retries 2 --health-timeout 1s --health-start-period 3s img", "--health-start-interval 2s img",
}

// dockersWrong are lines that both refuse.
var dockersWrong = []string{
	"--cpus x img", "-m lots img", "--device a:b:c:d img", "--device /dev/a:/dev/b:x img", "--device dev img", "--mount type=bind,sauce=/a,dst=/b img",
	"--mount type=volume,dst=/b,tmpfs-size=1m img", "--mount type=bind,src=/a,dst=/b,ro,bind-recursive=readonly img", "--ulimit nofile=a img", "--restart on-failure:x img", "--restart :1 img",
	"--restart always --rm img", "--dns here img", "--add-host box img", "--add-host box:nowhere img", "--env-file /absent img", "--label-file /absent img",
	"--security-opt seccomp=/absent img", "--security-opt seccomp= img", "--security-opt nonsense img", "--device-read-bps sda img", "--device-read-bps sda:1m img",
	"--device-write-iops /dev/sda:x img", "--device-cgroup-rule nonsense img", "--attach nowhere img", "--memory-swappiness 101 img", "--health-interval=-1s img",
	"--no-healthcheck --health-cmd x img", "--log-driver none --log-opt a=b img", "--expose x img", "--expose 5-3 img", "-e =x img", "--pids-limit x img", "--blkio-weight 70000 img",
	"--security-opt seccomp=DIR/env img", "--env-file DIR/badenv img", "--stop-timeout x img", "--init=perhaps img",
}

// recorder answers Docker's command and keeps what it asks for.
type recorder struct {
	mu   sync.Mutex
	body map[string]any
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	w.Header().Set("Api-Version", "1.51")
	w.Header().Set("Ostype", "linux")
	w.Header().Set("Content-Type", "application/json")
	if !strings.HasSuffix(q.URL.Path, "/containers/create") {
		_, _ = io.WriteString(w, "OK")
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.body = nil
	_ = json.NewDecoder(q.Body).Decode(&r.body) // nil is seen
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, `{"Id":"made","Warnings":[]}`)
}

// pruned leaves out what asks for nothing.
func pruned(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			if p := pruned(e); p == nil {
				delete(x, k)
			} else {
				x[k] = p
			}
		}
		if len(x) == 0 {
			return nil
		}
	case []any:
		for i := range x {
			x[i] = pruned(x[i])
		}
		if len(x) == 0 {
			return nil
		}
	case string:
		if x == "" {
			return nil
		}
	case bool:
		if !x {
			return nil
		}
	case float64:
		if x == 0 {
			return nil
		}
	}
	return v
}

// plain takes away what means the same as nothing, and keeps the difference between a set and an empty object of a set (ExposedPorts, Volumes).
func plain(body map[string]any) map[string]any {
	delete(body, "NetworkingConfig")
	host, _ := body["HostConfig"].(map[string]any)
	for k, nothing := range map[string]any{"MemorySwappiness": float64(-1), "NetworkMode": "default"} {
		if host[k] == nothing {
			delete(host, k)
		}
	}
	delete(host, "ConsoleSize")
	for _, at := range []struct {
		in  map[string]any
		key string
	}{{body, "ExposedPorts"}, {body, "Volumes"}} {
		if set, ok := at.in[at.key].(map[string]any); ok {
			for k := range set {
				set[k] = "there"
			}
		}
	}
	if l, ok := body["Env"].([]any); ok { // docker's way through a map (for its proxies) leaves no order
		slices.SortFunc(l, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	}
	for _, k := range []string{"MaskedPaths", "ReadonlyPaths"} { // none is another thing than not said
		if l, ok := host[k].([]any); ok && len(l) == 0 {
			host[k] = "none"
		}
	}
	for _, k := range []string{"MemorySwappiness", "PidsLimit", "StopTimeout", "Init"} {
		for _, m := range []map[string]any{host, body} {
			switch v := m[k].(type) {
			case float64:
				if k != "PidsLimit" || v != 0 {
					m[k] = v + 1e6 // 0 is a value
				}
			case bool:
				m[k] = map[bool]string{true: "yes", false: "no"}[v]
			}
		}
	}
	for _, k := range []string{"CapAdd", "CapDrop"} { // with the prefix or without it
		if l, ok := host[k].([]any); ok {
			for i := range l {
				l[i] = strings.TrimPrefix(l[i].(string), "CAP_")
			}
		}
	}
	pruned(body)
	return body
}

func split(line, dir string) []string {
	out := strings.Fields(strings.ReplaceAll(line, "DIR", dir))
	for i := range out {
		if strings.HasPrefix(out[i], "c_") {
			out[i] = strings.ReplaceAll(out[i], "_", " ")
		}
	}
	return out
}

// TestDockersLines: the same flags come to the same request as Docker's own command makes of them, and what it refuses is refused.
func TestDockersLines(t *testing.T) {
	docker := need.Program(t, "docker")
	dir := t.TempDir()
	for name, text := range map[string]string{
		"env": "\xef\xbb\xbf# comment\nA=1\n\n  B=two words\nFROM_CALLER\nNOT_SET_ANYWHERE\n", "badenv": "A B=1\n", "label": "a=b\n# no\nc\n",
		"profile": "{\n \"defaultAction\": \"SCMP_ACT_ALLOW\"\n}",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("FROM_CALLER", "yes")
	t.Chdir(dir)
	work := make(chan string)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			rec := &recorder{}
			server := httptest.NewServer(rec)
			defer server.Close()
			for line := range work {
				compare(t, rec, docker, server.URL, line, dir)
			}
		})
	}
	for _, line := range append(append([]string{}, dockersLines...), dockersWrong...) {
		work <- line
	}
	close(work)
	all.Wait()
}

// compare has a line read by both.
func compare(t *testing.T, rec *recorder, docker, server, line, dir string) {
	args := split(line, dir)
	cmd := exec.Command(docker, append([]string{"-H", strings.Replace(server, "http", "tcp", 1), "--config", dir, "create"}, args...)...)
	rec.body = nil
	out, failed := cmd.CombinedOutput()
	theirs := rec.body
	q, err := parse(t, args...)
	if (failed != nil) != (err != nil) {
		t.Errorf("%s: %v; docker: %v %s", line, err, failed, out)
		return
	}
	if err != nil {
		return
	}
	data, err := json.Marshal(q.Body())
	if err != nil {
		t.Error(err)
		return
	}
	var ours map[string]any
	if err := json.Unmarshal(data, &ours); err != nil {
		t.Error(err)
		return
	}
	if diff := cmp.Diff(plain(theirs), plain(ours)); diff != "" {
		t.Errorf("%s: docker's (-), ours (+):\n%s", line, diff)
	}
}
