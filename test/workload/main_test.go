package workload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/built"
	"github.com/bulkhead-engine/bulkhead/test/netspace"
)

var (
	strict = os.Getenv("BULKHEAD_TEST_STRICT") == "1"
	server *engine // has the images, pulled
)

func TestMain(m *testing.M) {
	bootstrapped() // from the machine's network, which the rest has not
	netspace.Alone()
	os.Exit(runAll(m))
}

// bootstrapped makes the root file system, if there is none of the last time. What goes wrong is said when it is needed.
func bootstrapped() {
	if work, err := os.MkdirTemp("/var/tmp", "bh-workload-"); err == nil && os.Geteuid() == 0 {
		_, _ = debian(work)
		_ = os.RemoveAll(work)
	}
}

func runAll(m *testing.M) int {
	for _, program := range []string{"mmdebstrap", "docker-registry", "unshare"} {
		if _, err := exec.LookPath(program); err != nil || os.Geteuid() != 0 {
			fmt.Println("skipped: needs root and", program, "(make needs)")
			if strict {
				return 1
			}
			return 0
		}
	}
	work, err := os.MkdirTemp("/var/tmp", "bh-workload-") // a gigabyte
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(work)
	begin := time.Now()
	if err := prepare(work); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Printf("images made, pushed and pulled in %.0f s\n", time.Since(begin).Seconds())
	code := m.Run()
	if r, err := server.try("ps", "-aq"); err != nil || r.code != 0 || r.out != "" {
		fmt.Printf("left behind: containers: %+v, %v\n", r, err)
		_, _ = server.try(append([]string{"rm", "-f"}, strings.Fields(r.out)...)...)
		code = 1
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), work) {
		fmt.Println("left behind: a mount", err)
		code = 1
	}
	return code
}

// prepare builds the programs and the images.
func prepare(work string) error {
	if err := os.Chmod(work, 0o711); err != nil {
		return err
	}
	for _, name := range []string{"bulkhead", "bulkhead-monitor", "bulkhead-unpack"} {
		if err := built.Program(filepath.Join(work, name), "./cmd/"+name); err != nil {
			return err
		}
	}
	archive, err := debian(work)
	if err != nil {
		return err
	}
	address, stop, err := registry(filepath.Join(work, "registry"))
	if err != nil {
		return err
	}
	defer stop()
	for _, dir := range []string{"maker", "server"} {
		if err := os.Mkdir(filepath.Join(work, dir), 0o711); err != nil {
			return err
		}
	}
	maker := &engine{program: filepath.Join(work, "bulkhead"), dir: filepath.Join(work, "maker")}
	if err := maker.make(archive, address); err != nil {
		return err
	}
	if err := os.RemoveAll(maker.dir); err != nil {
		return err
	}
	server = &engine{program: maker.program, dir: filepath.Join(work, "server")}
	for _, r := range recipes {
		if err := server.must("pull", "-q", address+"/"+r.name); err != nil {
			return err
		}
		if err := server.must("tag", address+"/"+r.name, r.name); err != nil {
			return err
		}
	}
	return nil
}

// An engine is a command with directories of its own.
type engine struct{ program, dir string }

// A result is what a command left.
type result struct {
	out, problems string
	code          int
}

// limit bounds one command: an import unpacks half a gigabyte.
const limit = 2 * time.Minute

// try runs a command. The error says that it could not be run at all or did not end.
func (e *engine) try(args ...string) (result, error) { return e.feed("", args...) }

func (e *engine) feed(stdin string, args ...string) (result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, e.program, append([]string{"--root", filepath.Join(e.dir, "root"), "--runroot", filepath.Join(e.dir, "run")}, args...)...)
	var out, problems bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = strings.NewReader(stdin), &out, &problems, time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		return result{}, fmt.Errorf("%v: %w: %s%s", args, err, out.String(), problems.String())
	}
	return result{out.String(), problems.String(), cmd.ProcessState.ExitCode()}, nil
}

// must runs a command that has to work.
func (e *engine) must(args ...string) error {
	r, err := e.try(args...)
	if err == nil && r.code != 0 {
		err = fmt.Errorf("bulkhead %s: exit %d: %s%s", strings.Join(args, " "), r.code, r.out, r.problems)
	}
	return err
}
