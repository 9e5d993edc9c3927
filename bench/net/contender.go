package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// command runs a program where this one is.
func command(args ...string) (string, error) {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return strings.TrimSpace(string(out)), nil
}

// all runs commands until one fails.
func all(lines ...string) error {
	for _, l := range lines {
		if _, err := command(strings.Fields(l)...); err != nil {
			return err
		}
	}
	return nil
}

// plain is a bridge, with the least that publishes a port.
func plain(w *wires, _ string, _ options) (*contender, error) {
	c := &contender{name: "plain bridge", address: "10.77.0.2", results: map[string][]float64{}, end: func() { _ = all("ip link del plain0") }}
	err := all("ip link add plain0 type bridge", "ip addr add 10.77.0.1/24 dev plain0", "ip link set plain0 up")
	for i, s := range []**space{&c.server, &c.client} {
		if err != nil {
			break
		}
		if *s, err = newSpace(); err != nil {
			break
		}
		port := fmt.Sprintf("plainp%d", i)
		if err = all(fmt.Sprintf("ip link add %s master plain0 type veth peer name eth0 netns %s", port, (*s).path()), "ip link set "+port+" up"); err == nil {
			err = (*s).run(fmt.Sprintf("ip addr add 10.77.0.%d/24 dev eth0", i+2), "ip link set eth0 up", "ip route add default via 10.77.0.1")
		}
	}
	return c, err
}

// rootfs is a root file system with busybox, as a tar file.
func rootfs(work string) (string, error) {
	dir, file := filepath.Join(work, "rootfs"), filepath.Join(work, "rootfs.tar")
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		return "", err
	}
	program, err := exec.LookPath("busybox")
	if err != nil {
		return "", err
	}
	for _, args := range [][]string{{"cp", program, dir + "/bin/busybox"}, {"ln", "-s", "busybox", dir + "/bin/sleep"}, {"ln", "-s", "busybox", dir + "/bin/true"}, {"tar", "-C", dir, "-cf", file, "."}} {
		if _, err := command(args...); err != nil {
			return "", err
		}
	}
	return file, nil
}

// bulkhead is the engine.
func bulkhead(_ *wires, work string, o options) (*contender, error) {
	engine := newEngine(work, o.bin)
	c, err := containers("bulkhead", engine, work)
	if err != nil {
		return nil, err
	}
	c.end = func() {
		_, _ = command(append(engine, "rm", "-f", "server", "client")...)
		_, _ = command(append(engine, "network", "rm", "n")...)
	}
	return c, nil
}

// podman is Debian's, with netavark.
func podman(_ *wires, work string, o options) (*contender, error) {
	if _, err := os.Stat(filepath.Join(o.netavark, "netavark")); err != nil {
		return nil, fmt.Errorf("podman: %w", err)
	}
	conf := filepath.Join(work, "containers.conf")
	text := fmt.Sprintf("[network]\nnetwork_backend = \"netavark\"\nnetwork_config_dir = %q\n[engine]\nhelper_binaries_dir = [%q, \"/usr/lib/podman\"]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n", filepath.Join(work, "pn"), o.netavark)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return nil, err
	}
	if err := os.Setenv("CONTAINERS_CONF", conf); err != nil {
		return nil, err
	}
	engine := []string{"podman", "--root", filepath.Join(work, "p"), "--runroot", filepath.Join(work, "pr"), "--runtime", "runc"}
	c, err := containers("podman, netavark", engine, work)
	end := func() {
		_, _ = command(append(engine, "rm", "-f", "-t", "0", "server", "client")...)
		_, _ = command(append(engine, "network", "rm", "n")...)
	}
	if err != nil {
		end()
		return nil, err
	}
	c.end = end
	return c, nil
}

// containers starts a server and a client with an engine, on a network of their own.
func containers(name string, engine []string, work string) (*contender, error) {
	c := &contender{name: name, published: len(engine) * 100, results: map[string][]float64{}} // ports of its own: both are there at once
	file, err := rootfs(work)
	if err != nil {
		return nil, err
	}
	do := func(args ...string) (out string) {
		if err == nil {
			out, err = command(append(engine[:len(engine):len(engine)], args...)...)
		}
		return out
	}
	do("import", file, "busybox")
	do("network", "create", "n")
	publish := []string{}
	for _, p := range [][2]int{{streamOutside, streamPort}, {echoOutside, echoPort}} {
		for _, host := range []string{"127.0.0.1", "192.0.2.1"} {
			publish = append(publish, "-p", fmt.Sprintf("%s:%d:%d", host, p[0]+c.published, p[1]))
		}
	}
	do(append(append([]string{"run", "-d", "--name", "server", "--network", "n"}, publish...), "busybox", "sleep", "1000000")...)
	do("run", "-d", "--name", "client", "--network", "n", "busybox", "sleep", "1000000")
	c.address = do("inspect", "-f", "{{.NetworkSettings.Networks.n.IPAddress}}", "server")
	for _, s := range []struct {
		name string
		at   **space
	}{{"server", &c.server}, {"client", &c.client}} {
		pid, perr := strconv.Atoi(do("inspect", "-f", "{{.State.Pid}}", s.name))
		if err == nil {
			err = perr
		}
		if err == nil {
			*s.at, err = spaceOf(pid)
		}
	}
	return c, err
}
