package network

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/need"
	"github.com/bulkhead-engine/bulkhead/test/netspace"
)

// wire gives a host another one beside it: the host is 192.0.2.1 and 2001:db8::1, the other one .2, with more addresses.
func (h *host) wire(addrs ...string) *netspace.Space {
	h.t.Helper()
	lan := netspace.New(h.t)
	h.Run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", lan.Path())
	for i, s := range []*netspace.Space{h.Space, lan} {
		s.Run("ip", "addr", "add", fmt.Sprintf("192.0.2.%d/24", i+1), "dev", "eth0")
		s.Run("ip", "-6", "addr", "add", fmt.Sprintf("2001:db8::%d/64", i+1), "dev", "eth0", "nodad")
		s.Run("ip", "link", "set", "eth0", "up")
	}
	for _, a := range addrs {
		lan.Run("ip", "addr", "add", a+"/32", "dev", "eth0")
		h.Run("ip", "route", "add", a+"/32", "via", "192.0.2.2")
	}
	for _, s := range []string{"iptables", "ip6tables"} { // a host where bridges are not looked into, as most are
		h.Sysctl("bridge/bridge-nf-call-"+s, "0")
	}
	h.t.Cleanup(func() { h.Run("ip", "link", "del", "eth0") }) // before it is looked at what is left
	return lan
}

// serveWeb has a container answer each connection to a port with a word.
func (h *host) serveWeb(container, word string, port int) {
	h.t.Helper()
	h.bh("exec", "-d", container, "sh", "-c", fmt.Sprintf("while :; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\n%s' | nc -l -p %d; done", word, port))
}

// curl asks until there is the answer, or it has taken too long.
func curl(t *testing.T, s *netspace.Space, url, want string) {
	t.Helper()
	need.Program(t, "curl")
	var out string
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if out, err = s.Try("curl", "-g", "-s", "-m", "5", url); err == nil && out == want {
			return
		}
	}
	t.Errorf("curl %s: %q, %v; want %q", url, out, err, want)
}

// noCurl asks, and must not get an answer.
func noCurl(t *testing.T, s *netspace.Space, url string) {
	t.Helper()
	if out, err := s.Try("curl", "-g", "-s", "-m", "1", url); err == nil {
		t.Errorf("curl %s: %q", url, out)
	}
}

// TestPorts publishes ports, and has real clients ask for them from where they may and may not.
func TestPorts(t *testing.T) {
	h := newHost(t)
	lan := h.wire()
	h.bh("network", "create", "--ipv6", "web")
	h.run("aa", "--network", "web", "-p", "8080:80", "-p", "0.0.0.0:8081:80", "-p", "[::]:8081:80")
	h.run("bb", "-p", "192.0.2.1:9000-9001:81-82", "-p", "80")
	h.serveWeb("aa", "a", 80)
	h.serveWeb("bb", "b", 81)
	h.serveWeb("bb", "b80", 80)

	curl(t, h.Space, "http://127.0.0.1:8080/", "a")
	curl(t, h.Space, "http://[::1]:8080/", "a")
	curl(t, h.Space, "http://192.0.2.1:8081/", "a")
	curl(t, h.Space, "http://192.0.2.1:9000/", "b")
	curl(t, lan, "http://192.0.2.1:8081/", "a")
	curl(t, lan, "http://[2001:db8::1]:8081/", "a")
	curl(t, lan, "http://192.0.2.1:9000/", "b")
	noCurl(t, lan, "http://192.0.2.1:8080/")
	noCurl(t, lan, "http://[2001:db8::1]:8080/")

	random := strings.Split(h.bh("port", "bb", "80"), "\n")[0]
	curl(t, h.Space, "http://"+random+"/", "b80")
	if out := h.bh("exec", "bb", "wget", "-q", "-O", "-", "http://192.0.2.1:8081/"); out != "a" {
		t.Errorf("from another container: %q", out)
	}
	if out, err := h.try("run", "--rm", "-p", "192.0.2.1:9000:80", "busybox", "true"); err == nil || !strings.Contains(out, "taken") {
		t.Errorf("a taken port: %v: %s", err, out)
	}
	// The host's firewall is asked, and what it lets in is let in.
	h.Run("nft", "add table inet mine; add chain inet mine in { type filter hook input priority 0; policy drop; }; add rule inet mine in iif lo accept; add rule inet mine in ct state established accept; add rule inet mine in ip saddr 192.0.2.2 tcp dport 9000 accept")
	curl(t, lan, "http://192.0.2.1:9000/", "b")
	noCurl(t, lan, "http://192.0.2.1:8081/")
	h.Run("nft", "delete table inet mine")
	curl(t, lan, "http://192.0.2.1:8081/", "a")
	// Somebody flushes everything, and it comes back.
	h.Run("nft", "flush ruleset")
	curl(t, lan, "http://192.0.2.1:8081/", "a")
	curl(t, h.Space, "http://127.0.0.1:8080/", "a")
	noCurl(t, lan, "http://192.0.2.1:8080/")
	// A restart of the container keeps its ports.
	h.bh("restart", "-t", "0", "bb")
	h.serveWeb("bb", "again", 81)
	curl(t, lan, "http://192.0.2.1:9000/", "again")
	h.bh("rm", "-f", "bb")
	noCurl(t, lan, "http://192.0.2.1:9000/")
	h.run("cc", "-p", "192.0.2.1:9000:80")
}

// TestEgress holds containers to policies, and tells what was refused.
func TestEgress(t *testing.T) {
	h := newHost(t, "host-record=good.example,198.51.100.1", "host-record=bad.example,198.51.100.2", "host-record=rebind.example,169.254.169.254")
	lan := h.wire("198.51.100.1", "198.51.100.2", "169.254.169.254")
	for _, port := range []string{":80", ":81"} {
		lan.Serve("lan", "tcp", port)
	}
	h.run("held", "--egress", "good.example:80", "--egress", "rebind.example")
	h.run("none", "--egress", "none")
	h.run("free")
	h.run("meta", "--egress", "metadata")
	ask := func(container, to string) string {
		t.Helper()
		out, _ := h.try("exec", container, "sh", "-c", "nc -w 3 "+to+" </dev/null || echo no")
		return out
	}
	for _, c := range []struct{ from, to, want string }{
		{"free", "198.51.100.2 80", "lan 192.0.2.1"},
		{"free", "169.254.169.254 80", "no"},
		{"free", "192.0.2.1 22", "no"},
		{"meta", "169.254.169.254 80", "lan 192.0.2.1"},
		{"meta", "198.51.100.2 80", "lan 192.0.2.1"},
		{"held", "198.51.100.1 80", "no"}, // before its name was asked for
		{"held", "good.example 80", "lan 192.0.2.1"},
		{"held", "198.51.100.1 80", "lan 192.0.2.1"},
		{"held", "good.example 81", "no"},
		{"held", "198.51.100.2 80", "no"},
		{"held", "bad.example 80", "no"},
		{"held", "rebind.example 80", "no"},
		{"held", "169.254.169.254 80", "no"},
		{"none", "198.51.100.1 80", "no"},
		{"none", "good.example 80", "no"},
	} {
		if got := ask(c.from, c.to); !strings.Contains(got, c.want) {
			t.Errorf("%s to %s: %s; want %s", c.from, c.to, got, c.want)
		}
	}
	h.Run("nft", "flush ruleset") // what was learned comes back too
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if got := ask("held", "198.51.100.1 80"); strings.Contains(got, "lan") && strings.Contains(h.Run("nft", "list", "ruleset"), "table bridge bulkhead") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the rules do not come back")
		}
	}
	if got := ask("held", "198.51.100.2 80"); !strings.Contains(got, "no") {
		t.Errorf("after a flush: %s", got)
	}
	var out string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) { // it is written a moment later
		out = h.bh("why", "held")
		if strings.Contains(out, "198.51.100.2:80 tcp") && strings.Contains(out, "bad.example") && strings.Contains(out, "198.51.100.1:81 tcp") {
			break
		}
	}
	for _, want := range []string{"198.51.100.2:80 tcp", "egress: good.example:80 rebind.example", "bad.example", "the policy does not name it", "rebind.example", "198.51.100.1:81 tcp", "169.254.169.254:80 tcp"} {
		if !strings.Contains(out, want) {
			t.Errorf("why: no %q in\n%s", want, out)
		}
	}
	if !regexp.MustCompile(`198\.51\.100\.1:81 tcp +good\.example`).MatchString(out) {
		t.Errorf("why: without the name:\n%s", out)
	}
	for words, want := range map[string]string{"http://x.example": "URL", "10.0.0.1/8": "did you mean", "169.254.169.254": "closed", "one": "one word"} {
		if out, err := h.try("run", "--rm", "--egress", words, "busybox", "true"); err == nil || !strings.Contains(out, want) {
			t.Errorf("--egress %s: %v: %s", words, err, out)
		}
	}
}
