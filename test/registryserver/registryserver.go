// Package registryserver starts Debian's registry (docker-registry, the distribution project's) for the time of a test or a measurement.
//
//	r, err := registryserver.Start(dir, "auth: ...")     // dir: for its data, its configuration and its log
//	defer r.Close()
//	name := r.Address + "/box:1"
//
// It listens on a port of 127.0.0.1 that the kernel chooses, and ends with the process that started it, however that ends.
package registryserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// Program is its name.
const Program = "docker-registry"

// A Server is one that runs.
type Server struct {
	Address string // host:port
	cmd     *exec.Cmd
	log     *os.File
}

var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:[0-9]+)`)

// Start starts one with its data below dir, and more lines of configuration below those of every server.
func Start(dir, more string) (*Server, error) {
	path, err := exec.LookPath(Program)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog:\n  level: info\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: %s\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:0\n%s",
		filepath.Join(dir, "data"), more)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	s := &Server{}
	if s.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		return nil, err
	}
	s.cmd = exec.Command(path, "serve", config)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(err, s.log.Close())
	}
	for range 400 {
		said, err := os.ReadFile(s.log.Name())
		if m := listening.FindSubmatch(said); m != nil {
			s.Address = string(m[1])
			return s, nil
		}
		if err != nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	said, _ := os.ReadFile(s.log.Name())
	s.Close()
	return nil, fmt.Errorf("the registry does not come up: %s", said)
}

// Close ends it.
func (s *Server) Close() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	_ = s.log.Close()
}
