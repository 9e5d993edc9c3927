package network

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// tryIn runs a program in a container.
func (h *host) tryIn(container string, words ...string) (string, error) {
	return h.try(append([]string{"exec", container}, words...)...)
}

// ends is what inspect says of a container's networks.
func (h *host) ends(container string) map[string]struct{ IPAddress, GlobalIPv6Address, MacAddress, Gateway, IPv6Gateway string } {
	h.t.Helper()
	out := map[string]struct{ IPAddress, GlobalIPv6Address, MacAddress, Gateway, IPv6Gateway string }{}
	text := h.bh("inspect", "-f", "{{json .NetworkSettings.Networks}}", container)
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		h.t.Fatalf("%s: %v", text, err)
	}
	return out
}

// serve has a container answer with its name at a port.
func (h *host) serve(container, port string) {
	h.t.Helper()
	h.bh("exec", "-d", container, "sh", "-c", "while true; do echo "+container+" | nc -l -p "+port+" -w 30; done")
	h.eventually("a server in "+container, func() error {
		_, err := h.tryIn(container, "sh", "-c", "netstat -ltn | grep -q :"+port)
		return err
	})
}

// answers waits until what serve serves is got from a container: between two answers nobody listens for a moment.
func (h *host) answers(from, to, want string) {
	h.t.Helper()
	h.eventually(from+" asks "+to, func() error {
		out, err := h.tryIn(from, "nc", "-w", "20", to, "8000")
		if err == nil && out != want {
			err = fmt.Errorf("%q, want %q", out, want)
		}
		return err
	})
}

// eventually waits until something is so.
func (h *host) eventually(what string, f func() error) {
	h.t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	h.t.Errorf("%s: %v", what, err)
}

// empty waits until the host has no device but its loopback, no tables, and no files of networks.
func (h *host) empty() {
	h.t.Helper()
	h.eventually("nothing is left", func() error {
		links, err := h.Try("ip", "-o", "link")
		if err != nil || strings.Count(strings.TrimSpace(links), "\n") != 0 {
			return fmt.Errorf("links: %s", links)
		}
		if rules, err := h.Try("nft", "list", "tables"); err != nil || strings.TrimSpace(rules) != "" {
			return fmt.Errorf("tables: %s", rules)
		}
		left, err := os.ReadDir(h.path("run/network"))
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		for _, e := range left {
			if e.Name() != "lock" && e.Name() != "forwarding" {
				return fmt.Errorf("files: %s", e.Name())
			}
		}
		return nil
	})
}

// TestBridge: two containers on a network with both families, the host, the default network, and what inspect, ps and network inspect say of them.
func TestBridge(t *testing.T) {
	h := newHost(t)
	h.bh("network", "create", "--ipv6", "--subnet", "10.66.0.0/24", "--subnet", "fd66::/64", "--label", "who=me", "web")
	h.run("one", "--network", "web", "--ip", "10.66.0.77", "--ip6", "fd66::77", "--mac-address", "02:aa:bb:cc:dd:ee")
	h.run("two", "--network", "name=web,alias=zwei,driver-opt=com.docker.network.endpoint.ifname=up0")
	if e := h.ends("one")["web"]; e.IPAddress != "10.66.0.77" || e.GlobalIPv6Address != "fd66::77" || e.MacAddress != "02:aa:bb:cc:dd:ee" || e.Gateway != "10.66.0.1" || e.IPv6Gateway != "fd66::1" {
		t.Errorf("one: %+v", e)
	}
	h.serve("one", "8000")
	for _, to := range []string{"one", "10.66.0.77", "fd66::77"} {
		h.answers("two", to, "one")
	}
	if out, err := h.tryIn("two", "ip", "-o", "addr", "show", "up0"); err != nil || !strings.Contains(out, "10.66.0.2/24") || !strings.Contains(out, "fd66::2/64") {
		t.Errorf("up0: %q, %v", out, err)
	}
	h.run("alone")
	h.run("apart")
	h.serve("apart", "8000")
	address := h.ends("apart")["bridge"].IPAddress
	if out, err := h.tryIn("alone", "nc", "-w", "1", address, "8000"); err == nil {
		t.Errorf("containers of the default network reach each other: %q", out)
	}
	if out, err := h.tryIn("two", "nc", "-w", "1", address, "8000"); err == nil {
		t.Errorf("one segment reaches another: %q", out)
	}
	if out := h.bh("network", "inspect", "-f", "{{range .Containers}}{{.Name}} {{end}}", "web"); out != "one two " && out != "two one " {
		t.Errorf("network inspect: %q", out)
	}
	if out, err := h.try("network", "rm", "web"); err == nil || !strings.Contains(out, "active endpoints") {
		t.Errorf("a network in use is removed: %q", out)
	}
	if out := h.bh("ps", "-q", "--filter", "network=web"); strings.Count(out, "\n") != 1 {
		t.Errorf("ps by network: %q", out)
	}
	h.bh("rm", "-f", "one", "two", "alone", "apart")
	h.bh("network", "rm", "web")
	h.empty()
}

// TestConnect connects and disconnects running and stopped containers, with restarts between.
func TestConnect(t *testing.T) {
	h := newHost(t)
	h.bh("network", "create", "--subnet", "10.66.1.0/24", "first")
	h.bh("network", "create", "--subnet", "10.66.2.0/24", "--internal", "-o", "com.docker.network.container_iface_prefix=in", "second")
	h.run("box", "--network", "first")
	h.run("other", "--network", "second")
	h.serve("other", "8000")
	reach := func() error {
		out, err := h.tryIn("box", "nc", "-w", "2", "other", "8000")
		if err != nil || out != "other" {
			return fmt.Errorf("%q, %w", out, err)
		}
		return nil
	}
	if err := reach(); err == nil {
		t.Error("a network that it is not in is reached")
	}
	h.bh("network", "connect", "--ip", "10.66.2.50", "--alias", "kiste", "second", "box")
	h.eventually("after connect", reach)
	if out, err := h.try("network", "connect", "second", "box"); err == nil || !strings.Contains(out, "already exists") {
		t.Errorf("connected twice: %q", out)
	}
	if routes, err := h.tryIn("box", "ip", "route"); err != nil || !strings.Contains(routes, "default via 10.66.1.1 ") || strings.Contains(routes, "via 10.66.2.1 ") {
		t.Errorf("an internal network has the default route: %s", routes)
	}
	h.bh("restart", "-t", "0", "box")
	h.eventually("after a restart", reach)
	if e := h.ends("box"); e["second"].IPAddress != "10.66.2.50" || e["first"].IPAddress != "10.66.1.2" {
		t.Errorf("after a restart: %+v", e)
	}
	h.bh("rename", "other", "fremd")
	h.eventually("by its new name", func() error {
		out, err := h.tryIn("box", "nc", "-w", "2", "fremd", "8000")
		if err == nil && out != "other" {
			err = fmt.Errorf("%q", out)
		}
		return err
	})
	h.bh("rename", "fremd", "other")
	h.bh("network", "disconnect", "second", "box")
	if err := reach(); err == nil {
		t.Error("still connected")
	}
	if out, err := h.try("network", "disconnect", "second", "box"); err == nil || !strings.Contains(out, "not connected") {
		t.Errorf("disconnected twice: %q", out)
	}
	h.bh("stop", "-t", "0", "box")
	h.bh("network", "connect", "second", "box")
	h.bh("start", "box")
	h.eventually("connected while stopped", reach)
	h.bh("network", "disconnect", "first", "box")
	if links, err := h.tryIn("box", "ip", "-o", "link"); err != nil || strings.Contains(links, ": eth") || !strings.Contains(links, ": in0") {
		t.Errorf("interfaces: %s", links)
	}
	for _, c := range [][]string{{"network", "connect", "none", "box"}, {"network", "connect", "absent", "box"}, {"network", "connect", "first", "absent"}} {
		if out, err := h.try(c...); err == nil {
			t.Errorf("%v: %s", c, out)
		}
	}
	h.bh("rm", "-f", "box", "other")
	h.bh("network", "prune", "-f")
	if out := h.bh("network", "ls", "-q", "--filter", "type=custom"); out != "" {
		t.Errorf("after prune: %q", out)
	}
	h.empty()
}

// TestModes: none, host, container:NAME, and the level untrusted.
func TestModes(t *testing.T) {
	h := newHost(t)
	h.run("base")
	address := h.ends("base")["bridge"].IPAddress
	count := func(flags ...string) string {
		return h.bh(append(append([]string{"run", "--rm"}, flags...), "busybox", "ip", "-o", "addr")...)
	}
	if out := count("--network", "none"); strings.Contains(out, "eth0") {
		t.Errorf("none: %s", out)
	}
	if out := h.bh("run", "--rm", "--level", "untrusted", "busybox", "ls", "/sys/class/net"); out != "lo" {
		t.Errorf("untrusted: %s", out)
	}
	if out := count("--network", "container:base"); !strings.Contains(out, address+"/") {
		t.Errorf("container: %s", out)
	}
	if out := count("--network", "host"); !strings.Contains(out, " bh-") {
		t.Errorf("host: %s", out)
	}
	for _, bad := range [][]string{{"--network", "absent"}, {"--network", "none", "-p", "80"}, {"--network", "container:base", "--ip", "10.0.0.1"}, {"--network", "none", "--network", "host"}, {"--ip", "1.2.3.4"}} {
		if out, err := h.try(append(append([]string{"run", "--rm"}, bad...), "busybox", "true")...); err == nil {
			t.Errorf("%v: %s", bad, out)
		}
	}
	h.bh("rm", "-f", "base")
	h.empty()
}

// TestKilledMonitor kills monitors where they stand, and looks that the next command heals what they have left.
func TestKilledMonitor(t *testing.T) {
	h := newHost(t)
	h.bh("network", "create", "--subnet", "10.66.3.0/24", "web")
	h.run("victim", "--network", "web", "--ip", "10.66.3.9")
	h.run("witness", "--network", "web")
	pid := h.bh("inspect", "-f", "{{.Bulkhead.Monitor}}", "victim")
	if n, err := strconv.Atoi(pid); err != nil || n <= 1 {
		t.Fatalf("monitor %q", pid)
	}
	h.Run("kill", "-9", pid)
	h.eventually("the victim is found dead", func() error {
		if out := h.bh("inspect", "-f", "{{.State.Status}}", "victim"); out != "exited" {
			return fmt.Errorf("it is %s", out)
		}
		return nil
	})
	if out := h.bh("network", "inspect", "-f", "{{range .Containers}}{{.Name}}{{end}}", "web"); out != "witness" {
		t.Errorf("connected: %q", out)
	}
	h.run("heir", "--network", "web", "--ip", "10.66.3.9")
	h.serve("heir", "8000")
	h.answers("witness", "10.66.3.9", "heir")
	h.bh("rm", "-f", "victim", "witness", "heir")
	h.empty()
}

// TestKilledStarts kills monitors at any moment of their starts and ends: nothing is left when the containers are removed, and the addresses are free.
func TestKilledStarts(t *testing.T) {
	h := newHost(t)
	h.bh("network", "create", "--subnet", "10.66.6.0/28", "web")
	const n = 12
	for i := range n {
		name := fmt.Sprintf("victim%d", i)
		h.bh("create", "--name", name, "--network", "web", "-p", "9000:80", "busybox", "sleep", "1000000")
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = h.try("start", name) // it may be killed, or not
		}()
		h.eventually("a monitor", func() error {
			out, err := exec.Command("pgrep", "-f", "bulkhead-monitor "+h.path("run")+"/").Output()
			if err != nil {
				return err
			}
			time.Sleep(time.Duration(i*i) * time.Millisecond) // the moment is what differs; none of them is asked for
			for _, pid := range strings.Fields(string(out)) {
				_ = exec.Command("kill", "-9", pid).Run() // it may have gone
			}
			return nil
		})
		<-done
		h.eventually("it is removed", func() error {
			out, err := h.try("rm", "-f", name)
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
	h.run("heir", "--network", "web", "-p", "9000:80")
	if a := h.ends("heir")["web"].IPAddress; a != "10.66.6.2" {
		t.Errorf("the lowest address is not free: %s", a)
	}
	h.bh("rm", "-f", "heir")
	h.empty()
}

// TestMany starts and connects many at once.
func TestMany(t *testing.T) {
	h := newHost(t)
	h.bh("network", "create", "--subnet", "10.66.4.0/24", "one")
	h.bh("network", "create", "--subnet", "10.66.5.0/24", "two")
	const n, rounds = 6, 16 // some hundred connects and disconnects
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if out, err := h.try("run", "-d", "--name", "c"+strconv.Itoa(i)+"x", "--network", "one", "busybox", "sleep", "1000000"); err != nil {
				t.Errorf("%d: %v: %s", i, err, out)
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for i := range n {
		a := h.ends("c" + strconv.Itoa(i) + "x")["one"].IPAddress
		if a == "" || seen[a] {
			t.Errorf("address %q of %d", a, i)
		}
		seen[a] = true
	}
	for i := range n {
		wg.Go(func() {
			for range rounds / 2 {
				for _, word := range []string{"connect", "disconnect"} {
					if out, err := h.try("network", word, "two", "c"+strconv.Itoa(i)+"x"); err != nil {
						t.Errorf("%s %d: %v: %s", word, i, err, out)
					}
				}
			}
		})
	}
	wg.Wait()
	if ends, _ := filepath.Glob(h.path("run/network/*/endpoints/*")); len(ends) != n {
		t.Errorf("ends: %v", ends)
	}
	if out := h.Run("sh", "-c", "ip -o link | grep -c master"); strings.TrimSpace(out) != strconv.Itoa(n) {
		t.Errorf("ports of bridges: %s", out)
	}
	for i := range n {
		h.bh("rm", "-f", "c"+strconv.Itoa(i)+"x")
	}
	h.empty()
}
