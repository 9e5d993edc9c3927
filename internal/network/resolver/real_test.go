package resolver

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// text makes TXT records for dnsmasq, of 250 bytes each.
func text(name, letters string) string {
	var b strings.Builder
	for _, c := range letters {
		b.WriteString("txt-record=" + name + ".example," + strings.Repeat(string(c), 250) + "\n")
	}
	return b.String()
}

// TestDig asks with the tool of the trade, by UDP and TCP.
func TestDig(t *testing.T) {
	host, inside := namespace(t), namespace(t)
	world(t, host, "127.0.0.53", "host-record=www.example,192.0.2.1,2001:db8::1", "cname=alias.example,www.example", text("long", "xyzvwu"), text("middle", "xyz"), "ptr-record=9.9.9.9.in-addr.arpa,nine.example", "local=/example/")
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver 127.0.0.53\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, host, inside, orders{Conf: conf})
	for _, c := range []struct {
		args string
		want string // lines of +short, sorted
	}{
		{"web", "10.1.0.2 10.2.0.2"},
		{"web AAAA", "fd01::2"},
		{"web.app", "10.2.0.2"},
		{"-x 10.1.0.2", "web.front_end."},
		{"-x fd01::2", "web.front_end."},
		{"-x 9.9.9.9", "nine.example."},
		{"www.example A", "192.0.2.1"},
		{"www.example AAAA", "2001:db8::1"},
		{"WWW.example A", "192.0.2.1"},
		{"alias.example", "192.0.2.1 www.example."},
		{"localhost", "127.0.0.1"},
	} {
		for _, how := range []string{"+notcp", "+tcp", "+noedns", "+dnssec"} {
			got := strings.Fields(dig(t, inside, append(strings.Fields(c.args), "+short", how)...))
			slices.Sort(got)
			if strings.Join(got, " ") != c.want {
				t.Errorf("dig %s %s: %q, want %q", how, c.args, got, c.want)
			}
		}
	}
	for _, c := range []struct{ args, status, flags string }{
		{"web MX", "NOERROR", "qr aa rd ra"},
		{"nobody", "NXDOMAIN", "qr aa rd ra"},
		{"nobody.example", "NXDOMAIN", ""},
		{"www.example MX", "NOERROR", ""},
		{"-c CH -t TXT version.bind", "REFUSED", ""},
		{"+noedns +opcode=NOTIFY web", "NOTIMP", ""},
		{"+edns=1 +noednsneg web", "BADVERS", ""},
	} {
		out := dig(t, inside, strings.Fields(c.args)...)
		if !strings.Contains(out, "status: "+c.status) || !strings.Contains(out, "flags: "+c.flags) || strings.Contains(out, "WARNING") {
			t.Errorf("dig %s: want %s, flags %s\n%s", c.args, c.status, c.flags, out)
		}
	}
	// What is cut comes by TCP, the client's and ours; what fits only into the client's is fetched by TCP for it.
	for _, how := range []string{"+bufsize=4096", "+bufsize=512", "+noedns", "+tcp"} {
		if out := dig(t, inside, "long.example", "TXT", "+short", how); strings.Count(out, "x") != 250 || strings.Count(out, "u") != 250 {
			t.Errorf("a long answer, %s: %s", how, out)
		}
	}
	if out := dig(t, inside, "long.example", "TXT", "+bufsize=4096", "+ignore"); strings.Contains(out, " tc ") || !strings.Contains(out, "uuuu") {
		t.Errorf("a long answer by UDP: %s", out)
	}
	if out := dig(t, inside, "middle.example", "TXT", "+noedns", "+ignore"); !strings.Contains(out, " tc rd ra") {
		t.Errorf("an answer that does not fit: %s", out)
	}
}

// TestLibraries asks as programs do: glibc's resolver, busybox.
func TestLibraries(t *testing.T) {
	host, inside := namespace(t), namespace(t)
	world(t, host, "127.0.0.53", "host-record=www.corp.example,192.0.2.1,2001:db8::1")
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// glibc asks for addresses of the families that the machine has beyond loopback.
	output(t, inside, "ip", "addr", "add", "10.1.0.9/16", "dev", "lo")
	output(t, inside, "ip", "addr", "add", "fd01::9/64", "dev", "lo")
	hostConf := write("host", "nameserver 127.0.0.53\nsearch corp.example\n")
	run(t, host, inside, orders{Conf: hostConf})
	conf := write("inside", string(ContainerConf(ParseConf([]byte("search corp.example\n")), nil, nil).Bytes()))
	hosts := write("hosts", string(HostsFile([]Host{{addrs("10.9.9.9")[0], []string{"added"}}}, OwnHosts(addrs("10.1.0.9"), "me", "corp.example"))))
	nss := write("nsswitch", "hosts: files dns\n")
	in := func(words ...string) string {
		t.Helper()
		script := "mount --bind " + conf + " /etc/resolv.conf && mount --bind " + hosts + " /etc/hosts && mount --bind " + nss + " /etc/nsswitch.conf && exec \"$@\""
		return output(t, inside, "unshare", append([]string{"-m", "sh", "-c", script, "sh"}, words...)...)
	}
	for name, want := range map[string]string{"web": "10.1.0.2", "www": "192.0.2.1", "www.corp.example": "192.0.2.1", "added": "10.9.9.9", "me": "10.1.0.9", "me.corp.example": "10.1.0.9"} {
		if out := in("getent", "ahostsv4", name); !strings.Contains(out, want) {
			t.Errorf("getent ahostsv4 %s: %s", name, out)
		}
	}
	if out := in("getent", "ahostsv6", "web"); !strings.Contains(out, "fd01::2") {
		t.Errorf("getent ahostsv6: %s", out)
	}
	if out := in("getent", "hosts", "10.1.0.2"); !strings.Contains(out, "web.front_end") {
		t.Errorf("getent hosts 10.1.0.2: %s", out)
	}
	if out := in("busybox", "nslookup", "web."); !strings.Contains(out, "10.1.0.2") {
		t.Errorf("busybox nslookup: %s", out)
	}
	if out := in("env", "RES_OPTIONS=use-vc", "getent", "ahostsv4", "www.corp.example"); !strings.Contains(out, "192.0.2.1") {
		t.Errorf("getent by TCP: %s", out)
	}
}

// TestPolicy holds a container to one name: the world's server is not asked for any other.
func TestPolicy(t *testing.T) {
	host, inside := namespace(t), namespace(t)
	log := filepath.Join(t.TempDir(), "log")
	world(t, host, "127.0.0.53", "log-queries", "log-facility="+log, "host-record=ok.example,192.0.2.1", "host-record=bad.example,192.0.2.2", "host-record=trap.example,169.254.169.254", "cname=alias.example,bad.example")
	m := run(t, host, inside, orders{Servers: addrPorts("127.0.0.53:53"), Allowed: []string{"ok.example", "alias.example", "trap.example"}})
	for _, c := range []struct{ args, status, has string }{
		{"ok.example", "NOERROR", "192.0.2.1"},
		{"alias.example", "NOERROR", "192.0.2.2"},
		{"web", "NOERROR", "10.1.0.2"},
		{"bad.example", "NXDOMAIN", "EDE: 15 (Blocked)"},
		{"trap.example", "NXDOMAIN", "EDE: 15 (Blocked)"},
		{"secret.ok.example TXT", "NXDOMAIN", "EDE: 15 (Blocked)"},
		{"-x 192.0.2.1", "NXDOMAIN", "EDE: 15 (Blocked)"},
		{"ok.example HTTPS", "NOERROR", "ANSWER: 0"},
		{"+tcp secret.example TXT", "NXDOMAIN", "EDE: 15 (Blocked)"},
	} {
		out := dig(t, inside, strings.Fields(c.args)...)
		if !strings.Contains(out, "status: "+c.status) || !strings.Contains(out, c.has) {
			t.Errorf("dig %s: want %s, %s\n%s", c.args, c.status, c.has, out)
		}
	}
	asked, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(asked), "ok.example") || strings.Contains(string(asked), "secret") || strings.Contains(string(asked), "] bad.example") || strings.Contains(string(asked), "web") {
		t.Errorf("what left the machine: %s", asked)
	}
	for _, want := range []string{"learned ok.example [192.0.2.1]\n", "learned alias.example [192.0.2.2]\n", "refused bad.example false true\n", "refused trap.example true true\n"} {
		m.expect(t, want)
	}
}

// TestInternal asks from networks that do not lead outside.
func TestInternal(t *testing.T) {
	host, inside := namespace(t), namespace(t)
	run(t, host, inside, orders{Inside: true, Servers: addrPorts("127.0.0.53:53")})
	if out := dig(t, inside, "web", "+short"); !strings.Contains(out, "10.1.0.2") {
		t.Errorf("web: %s", out)
	}
	if out := dig(t, inside, "www.example"); !strings.Contains(out, "NXDOMAIN") {
		t.Errorf("www.example: %s", out)
	}
}

func addrPorts(texts ...string) (out []netip.AddrPort) {
	for _, s := range texts {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

// BenchmarkStart is what a container pays before its program runs.
func BenchmarkStart(b *testing.B) {
	inside := make([]*os.File, b.N)
	for i := range inside {
		inside[i] = namespace(b)
	}
	b.ResetTimer()
	for i := range b.N {
		s, err := Start(int(inside[i].Fd()), Config{Names: table()})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s.Close()
		b.StartTimer()
	}
}
