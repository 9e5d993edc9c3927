package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// runc is bare: a bundle of its own default on the directory.
func runc(work, _ string) (*peer, func(), error) {
	dir := filepath.Join(work, "bundle")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, nil, err
	}
	cmd := exec.Command("runc", "spec")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("runc: %w: %s", err, out)
	}
	path := filepath.Join(dir, "config.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	for old, word := range map[string]string{`"terminal": true`: `"terminal": false`, `"sh"`: `"true"`, `"path": "rootfs"`: `"path": "` + filepath.Join(work, "rootfs") + `"`} {
		b = bytes.Replace(b, []byte(old), []byte(word), 1)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return nil, nil, err
	}
	return &peer{name: "runc run", argv: []string{"runc", "--root", filepath.Join(runDir(work), "runc")}, run: []string{"run", "-b", dir, fmt.Sprintf("bench-%d", os.Getpid())}}, nil, nil
}

// podman has its own state, and limits that it may set where CAP_SYS_RESOURCE is missing.
func podman(work, archive string) (*peer, func(), error) {
	p := &peer{
		name: "podman run --rm", argv: []string{"podman", "--root", filepath.Join(work, "p"), "--runroot", filepath.Join(runDir(work), "p"), "--cgroup-manager", "cgroupfs", "--runtime", "runc"},
	}
	limits := []string{"--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--network", "none"}
	p.run = append(append([]string{"run", "--rm"}, limits...), "busybox", "true")
	p.keep = append(append([]string{"run", "-d"}, limits...), "--name", "NAME", "busybox", "sleep", "100000")
	p.remove = []string{"rm", "-f", "-t", "0"}
	if _, err := p.command("import", archive, "busybox"); err != nil {
		return nil, nil, err
	}
	return p, func() {
		_, _ = p.command("rm", "-fa", "-t", "0")
		_ = unix.Unmount(filepath.Join(work, "p", "overlay"), unix.MNT_DETACH)
	}, nil
}

// docker starts a daemon of its own, in namespaces that end with it.
func docker(work, archive string) (*peer, func(), error) {
	dir := filepath.Join(work, "d")
	if err := os.Mkdir(dir, 0o711); err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(dir+"/daemon.json", []byte("{}"), 0o600); err != nil {
		return nil, nil, err
	}
	log, err := os.Create(dir + "/log")
	if err != nil {
		return nil, nil, err
	}
	defer log.Close()
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "dockerd", "--host", "unix://"+dir+"/sock", "--data-root", dir+"/root", "--exec-root", dir+"/run",
		"--pidfile", dir+"/pid", "--config-file", dir+"/daemon.json", "--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--userland-proxy=false")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	end := func() {
		_ = cmd.Process.Kill() // --kill-child ends the rest
		_ = cmd.Wait()
		time.Sleep(500 * time.Millisecond)
	}
	p := &peer{
		name: "docker run --rm", argv: []string{"docker", "--host", "unix://" + dir + "/sock", "--config", dir + "/client"},
		run: []string{"run", "--rm", "--network", "none", "busybox", "true"}, keep: []string{"run", "-d", "--network", "none", "--name", "NAME", "busybox", "sleep", "100000"},
		remove: []string{"rm", "-f"},
	}
	for limit := time.Now().Add(20 * time.Second); time.Now().Before(limit); time.Sleep(200 * time.Millisecond) {
		if _, err = p.command("version"); err == nil {
			_, err = p.command("import", archive, "busybox")
			return p, end, err
		}
	}
	b, _ := os.ReadFile(dir + "/log")
	return nil, end, fmt.Errorf("dockerd does not answer: %s", b[max(0, len(b)-400):])
}
