package network

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/built"
	"github.com/bulkhead-engine/bulkhead/test/need"
	"github.com/bulkhead-engine/bulkhead/test/netspace"
)

// patience is how long what must happen may take.
const patience = 60 * time.Second

var work string

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Println("skipped: needs root")
		if need.Strict() {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	var err error
	if work, err = os.MkdirTemp("", "bh-network-"); err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(work)
	if err := os.Chmod(work, 0o711); err != nil {
		fmt.Println(err)
		return 1
	}
	for _, name := range []string{"bulkhead", "bulkhead-monitor", "bulkhead-unpack"} {
		if err := built.Program(filepath.Join(work, name), "./cmd/"+name); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	code := m.Run()
	if out, _ := exec.Command("pgrep", "-f", "bulkhead-monitor "+work).Output(); len(out) > 0 {
		fmt.Printf("left behind: monitors: %s", out)
		code = 1
	}
	return code
}

// A host is a machine with an engine.
type host struct {
	*netspace.Space
	t   testing.TB
	dir string
}

// newHost makes a host with the image busybox, and a DNS server that knows the lines given, of dnsmasq's configuration. When the test ends, so do its containers, and nothing may be left of them.
func newHost(t testing.TB, dns ...string) *host {
	t.Helper()
	dir, err := os.MkdirTemp(work, "h-")
	must(t, err)
	must(t, os.Chmod(dir, 0o711))
	h := &host{Space: netspace.New(t), t: t, dir: dir}
	must(t, os.WriteFile(h.path("resolv.conf"), []byte("nameserver 127.0.0.53\nsearch corp.example\n"), 0o644))
	h.dnsmasq(dns)
	tarball := h.path("busybox.tar")
	must(t, os.WriteFile(tarball, busybox(t), 0o600))
	h.bh("import", "-c", `CMD ["sh"]`, tarball, "busybox")
	t.Cleanup(h.close)
	return h
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// command runs on the host: in its network namespace, and with its resolv.conf.
func (h *host) command(words ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	h.t.Cleanup(cancel)
	script := "mount --bind " + h.path("resolv.conf") + " /etc/resolv.conf && exec \"$@\""
	cmd := exec.CommandContext(ctx, need.Program(h.t, "nsenter"), append([]string{"--net=" + h.Path(), need.Program(h.t, "unshare"), "-m", "sh", "-c", script, "sh"}, words...)...)
	cmd.WaitDelay = time.Second
	return cmd
}

// engine is the command with the host's directories.
func (h *host) engine(args ...string) *exec.Cmd {
	return h.command(append([]string{filepath.Join(work, "bulkhead"), "--root", h.path("root"), "--runroot", h.path("run")}, args...)...)
}

// bh runs the command, which must succeed, and returns what it prints.
func (h *host) bh(args ...string) string {
	h.t.Helper()
	out, err := h.try(args...)
	if err != nil {
		h.t.Fatalf("bulkhead %q: %v\n%s", args, err, out)
	}
	return out
}

// try runs the command, and returns all that it prints.
func (h *host) try(args ...string) (string, error) {
	h.t.Helper()
	out, err := h.engine(args...).CombinedOutput()
	return strings.TrimRight(string(out), "\n"), err
}

// run starts a container that sleeps.
func (h *host) run(name string, flags ...string) {
	h.t.Helper()
	h.bh(append(append([]string{"run", "-d", "--name", name}, flags...), "busybox", "sleep", "1000000")...)
}

// dnsmasq is the world's DNS server, at the host's loopback address.
func (h *host) dnsmasq(lines []string) {
	h.t.Helper()
	conf := h.path("dnsmasq.conf")
	text := "no-hosts\nno-resolv\nbind-interfaces\nlisten-address=127.0.0.53\nport=53\nno-daemon\nuser=root\npid-file=\ncache-size=0\nlog-queries\nlog-facility=" + h.path("asked") + "\nhost-record=up.example,192.0.2.77\n" + strings.Join(lines, "\n") + "\n"
	must(h.t, os.WriteFile(conf, []byte(text), 0o600))
	cmd := h.command(need.Program(h.t, "dnsmasq"), "--conf-file="+conf)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	must(h.t, cmd.Start())
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	h.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-gone
	})
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-gone:
			gone <- err
			h.t.Fatalf("dnsmasq: %v: %s", err, said.String())
		default:
		}
		if out, _ := h.command("dig", "+short", "+tries=1", "+time=5", "@127.0.0.53", "up.example").Output(); strings.Contains(string(out), "192.0.2.77") {
			return
		}
	}
	h.t.Fatalf("dnsmasq does not answer: %s", said.String())
}

// asked is what the world's DNS server was asked for, one line each. It writes before it answers.
func (h *host) asked() string {
	h.t.Helper()
	b, err := os.ReadFile(h.path("asked"))
	must(h.t, err)
	return string(b)
}

// close ends all containers, and looks for what is left of them.
func (h *host) close() {
	if out, err := h.try("ps", "-aq"); err != nil {
		h.t.Errorf("ps: %v: %s", err, out)
	} else if ids := strings.Fields(out); len(ids) > 0 {
		if out, err := h.try(append([]string{"rm", "-f", "-v"}, ids...)...); err != nil {
			h.t.Errorf("rm: %v: %s", err, out)
		}
	}
	if links, err := h.Try("ip", "-o", "link"); err != nil || strings.Count(links, "\n") > 1 {
		h.t.Errorf("devices are left: %v: %s", err, links)
	}
	if rules, err := h.Try("nft", "list", "ruleset"); err != nil || strings.TrimSpace(rules) != "" {
		h.t.Errorf("rules are left: %v: %s", err, rules)
	}
	if err := os.RemoveAll(h.dir); err != nil {
		h.t.Error(err)
	}
}

// busybox is a root file system as an archive.
func busybox(t testing.TB) []byte {
	t.Helper()
	program, err := os.ReadFile(need.Program(t, "busybox"))
	must(t, err)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, data []byte) {
		h.Size = int64(len(data))
		must(t, w.WriteHeader(&h))
		_, err := w.Write(data)
		must(t, err)
	}
	for _, dir := range strings.Fields("bin etc tmp var root home data") {
		add(tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, nil)
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, program)
	for _, name := range strings.Fields("sh cat echo ls id sleep touch hostname env grep ping nslookup nc wget ip ifconfig seq head true") {
		add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox", Mode: 0o777}, nil)
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0::/root:/bin/sh\n"))
	must(t, w.Close())
	return b.Bytes()
}
