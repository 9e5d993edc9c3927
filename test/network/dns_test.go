package network

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/netspace"
)

// lookup asks a container's resolver, and returns what nslookup says.
func (h *host) lookup(container, name string) string {
	h.t.Helper()
	out, _ := h.try("exec", container, "nslookup", name) // its exit code says less than what it prints
	return out
}

// TestNames has containers find each other by all their names, as they come and go, and nobody else's.
func TestNames(t *testing.T) {
	h := newHost(t, "host-record=www.corp.example,192.0.2.1")
	h.bh("network", "create", "front_net")
	h.bh("network", "create", "back")
	h.run("web", "--network", "front_net", "--network-alias", "site", "--hostname", "box")
	h.run("db", "--network", "back")
	h.run("both", "--network", "front_net", "--network", "back")
	address := func(container, network string) string {
		t.Helper()
		return h.bh("inspect", "-f", "{{(index .NetworkSettings.Networks \""+network+"\").IPAddress}}", container)
	}
	web, db := address("web", "front_net"), address("db", "back")
	for _, c := range []struct{ from, name, want string }{
		{"both", "web.", web},
		{"both", "db.", db},
		{"both", "web.front_net.", web},
		{"both", "site.", web},
		{"both", "box.", web},
		{"web", "both.", address("both", "front_net")},
		{"web", "web.", web},
		{"db", "both.", address("both", "back")},
		{"web", "db.", "NXDOMAIN"},
		{"db", "web.", "NXDOMAIN"},
		{"web", "nobody.", "NXDOMAIN"},
		{"web", "nobody.front_net.", "NXDOMAIN"},
		{"web", "www.corp.example.", "192.0.2.1"},
		{"both", web, "web.front_net"},
	} {
		if got := h.lookup(c.from, c.name); !strings.Contains(got, c.want) {
			t.Errorf("%s asks for %s: want %s\n%s", c.from, c.name, c.want, got)
		}
	}
	h.bh("exec", "-d", "web", "sh", "-c", "while :; do echo hello | nc -l -p 7000; done")
	if out := h.bh("exec", "both", "sh", "-c", "until nc -w 5 web 7000; do sleep 0.1; done"); !strings.Contains(out, "hello") {
		t.Errorf("a connection by name: %s", out)
	}
	if out := h.bh("exec", "web", "cat", "/etc/hosts"); !strings.Contains(out, web+"\tbox") {
		t.Errorf("its own name: %s", out)
	}
	for _, name := range []string{"nobody", "web", "db"} {
		if strings.Contains(h.asked(), " "+name+" from") {
			t.Errorf("%s has left the machine: %s", name, h.asked())
		}
	}
	// They come and go.
	before := h.bh("exec", "db", "cat", "/etc/hosts")
	h.bh("exec", "db", "sh", "-c", "echo 10.99.99.99 mine >>/etc/hosts")
	h.bh("network", "connect", "--alias", "store", "front_net", "db")
	if got := h.lookup("web", "store."); !strings.Contains(got, address("db", "front_net")) {
		t.Errorf("after connect: %s", got)
	}
	if out := h.bh("exec", "db", "cat", "/etc/hosts"); !strings.Contains(out, address("db", "front_net")) || !strings.Contains(out, address("db", "back")) || !strings.Contains(out, "mine") {
		t.Errorf("/etc/hosts after connect: %s", out)
	}
	h.bh("network", "disconnect", "front_net", "db")
	if out := h.bh("exec", "db", "cat", "/etc/hosts"); strings.Replace(out, "10.99.99.99 mine\n", "", 1) != before {
		t.Errorf("/etc/hosts after disconnect: %q, before: %q", out, before)
	}
	if got := h.lookup("web", "store."); !strings.Contains(got, "NXDOMAIN") {
		t.Errorf("after disconnect: %s", got)
	}
	h.bh("rm", "-f", "both")
	if got := h.lookup("web", "both."); !strings.Contains(got, "NXDOMAIN") {
		t.Errorf("after removal: %s", got)
	}
}

// TestHostChanges has the host ask somebody else while a container runs: it asks him too, and looks in the new domain.
func TestHostChanges(t *testing.T) {
	h := newHost(t, "host-record=www.new.example,192.0.2.2")
	h.run("plain")
	h.run("given", "--dns", "127.0.0.53", "--dns-search", "new.example", "--dns-option", "ndots:1", "--dns-option", "timeout:9")
	if got := h.bh("exec", "plain", "cat", "/etc/resolv.conf"); got != "nameserver 127.0.0.11\nsearch corp.example\noptions ndots:0" {
		t.Errorf("resolv.conf: %q", got)
	}
	if got := h.bh("exec", "given", "cat", "/etc/resolv.conf"); got != "nameserver 127.0.0.11\nsearch new.example\noptions ndots:1 timeout:9" {
		t.Errorf("resolv.conf of flags: %q", got)
	}
	if got := h.lookup("plain", "www.new.example."); !strings.Contains(got, "192.0.2.2") {
		t.Errorf("before: %s", got)
	}
	// The monitor has a mount namespace of its own, in which the file is this one.
	must(t, os.WriteFile(h.path("resolv.conf"), []byte("nameserver 127.0.0.54\nsearch new.example\n"), 0o644))
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if got := h.lookup("plain", "www.new.example."); !strings.Contains(got, "192.0.2.2") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the host's new server is not asked")
		}
	}
	if got := h.bh("exec", "plain", "cat", "/etc/resolv.conf"); got != "nameserver 127.0.0.11\nsearch new.example\noptions ndots:0" {
		t.Errorf("resolv.conf after the change: %q", got)
	}
	if got := h.lookup("given", "www.new.example."); !strings.Contains(got, "192.0.2.2") {
		t.Errorf("a container with servers of its own: %s", got)
	}
}

// TestDefaultNetwork: on the network of containers that ask for none, nobody is seen by name, and the world is.
func TestDefaultNetwork(t *testing.T) {
	h := newHost(t, "host-record=www.corp.example,192.0.2.1")
	h.run("one", "--add-host", "added:10.9.8.7", "--add-host", "machine:host-gateway")
	h.run("two")
	if got := h.lookup("one", "two."); !strings.Contains(got, "NXDOMAIN") {
		t.Errorf("a neighbour on the default network: %s", got)
	}
	if got := h.lookup("one", "one."); strings.Contains(got, "NXDOMAIN") {
		t.Errorf("itself: %s", got)
	}
	if got := h.lookup("one", "www.corp.example."); !strings.Contains(got, "192.0.2.1") {
		t.Errorf("the world: %s", got)
	}
	gateway := h.bh("inspect", "-f", "{{.NetworkSettings.Networks.bridge.Gateway}}", "one")
	if out := h.bh("exec", "one", "cat", "/etc/hosts"); !strings.Contains(out, "10.9.8.7\tadded\n") || !strings.Contains(out, gateway+"\tmachine") {
		t.Errorf("/etc/hosts: %s", out)
	}
	if strings.Contains(h.asked(), " two from") {
		t.Errorf("a name has left the machine: %s", h.asked())
	}
	h.bh("network", "create", "--internal", "inside")
	h.run("three", "--network", "inside")
	if got := h.lookup("three", "www.corp.example."); !strings.Contains(got, "NXDOMAIN") {
		t.Errorf("the world from an internal network: %s", got)
	}
	// After a restart of its program all is as before.
	h.bh("restart", "-t", "0", "one")
	if got := h.lookup("one", "www.corp.example."); !strings.Contains(got, "192.0.2.1") {
		t.Errorf("the world after a restart: %s", got)
	}
}

// TestSharedNetwork: who shares the network of another container finds what that one finds, in its own files.
func TestSharedNetwork(t *testing.T) {
	h := newHost(t, "host-record=www.corp.example,192.0.2.1")
	h.bh("network", "create", "front")
	h.run("web", "--network", "front", "--add-host", "added:10.9.8.7")
	h.run("beside", "--network", "container:web")
	if got := h.lookup("beside", "www.corp.example."); !strings.Contains(got, "192.0.2.1") {
		t.Errorf("the world: %s", got)
	}
	for _, file := range []string{"/etc/hosts", "/etc/resolv.conf"} {
		if one, other := h.bh("exec", "web", "cat", file), h.bh("exec", "beside", "cat", file); one != other {
			t.Errorf("%s: %q and %q", file, one, other)
		}
	}
	for _, flag := range []string{"--dns=192.0.2.1", "--dns-search=x.example", "--add-host=x:192.0.2.1"} {
		if out, err := h.try("run", "--rm", "--network", "container:web", flag, "busybox", "true"); err == nil || !strings.Contains(out, "conflicting options") {
			t.Errorf("%s: %v: %s", flag, err, out)
		}
	}
}

// TestEgressByName lets a container reach one name, on one port, and nothing else: not another name, not the same host's other address, not another port.
func TestEgressByName(t *testing.T) {
	h := newHost(t, "host-record=shop.example,203.0.113.1", "host-record=other.example,203.0.113.2", "cname=www.shop.example,shop.example")
	lan := netspace.New(t)
	h.Run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", lan.Path())
	t.Cleanup(func() { h.Run("ip", "link", "del", "eth0") })
	h.Run("ip", "addr", "add", "203.0.113.100/24", "dev", "eth0")
	h.Run("ip", "link", "set", "eth0", "up")
	for _, a := range []string{"203.0.113.1/24", "203.0.113.2/24"} {
		lan.Run("ip", "addr", "add", a, "dev", "eth0")
	}
	lan.Run("ip", "link", "set", "eth0", "up")
	for _, at := range []string{"203.0.113.1:80", "203.0.113.1:81", "203.0.113.2:80"} {
		lan.Serve("lan", "tcp", at)
	}
	h.run("open")
	h.run("held", "--egress", "shop.example:80")
	h.run("wide", "--egress", "*.shop.example")
	reach := func(from, host, port string) bool {
		t.Helper()
		out, _ := h.try("exec", from, "sh", "-c", "nc -w 3 "+host+" "+port+" </dev/null")
		return strings.Contains(out, "lan")
	}
	for _, c := range []struct {
		from, host, port string
		want             bool
	}{
		{"open", "203.0.113.1", "80", true},
		{"open", "other.example", "80", true},
		{"held", "203.0.113.1", "80", false}, // nothing was learned yet
		{"held", "other.example", "80", false},
		{"held", "shop.example", "80", true},
		{"held", "203.0.113.1", "80", true},
		{"held", "203.0.113.1", "81", false},
		{"held", "203.0.113.2", "80", false},
		{"wide", "shop.example", "80", false},
		{"wide", "www.shop.example", "81", true},
		{"wide", "203.0.113.2", "80", false},
	} {
		got := reach(c.from, c.host, c.port)
		for end := time.Now().Add(patience); c.want && !got && time.Now().Before(end); {
			got = reach(c.from, c.host, c.port)
		}
		if got != c.want {
			t.Errorf("%s reaches %s:%s: %v", c.from, c.host, c.port, got)
		}
	}
}
