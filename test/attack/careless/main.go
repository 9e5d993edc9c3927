// Command careless is a container runtime that makes every mistake of the book on purpose. The attacks of package attack are run
// against it to show that they work, because a test that no runtime fails tells nothing.
//
// It takes the subset of runc's command line that the tests use: run, create, start, exec, kill, delete, state. Its mistakes are
// those of real runtimes: paths are joined as strings, looked at, and used a moment later; the image's links are followed; its
// own program runs inside the container, dumpable and with the caller's descriptors; the working directory is not looked at;
// sysctls are written whatever they are; hooks get the container's environment; seccomp, limits, groups, no_new_privs, keyring,
// terminal and device rules are ignored; a pid in a file is taken for a process; nothing is undone after an error.
//
// Never run it for anything else.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

type record struct {
	PID    int    `json:"pid"`
	Bundle string `json:"bundle"`
}

var stateRoot string

func main() {
	runtime.LockOSThread() // capabilities and namespaces belong to a thread
	if len(os.Args) > 2 && os.Args[1] == "init" {
		inside(os.Args[2], os.Args[3] == "exec")
	}
	flag.StringVar(&stateRoot, "root", "/run/careless", "")
	flag.Parse()
	args := flag.Args()
	sub := flag.NewFlagSet(args[0], flag.ExitOnError)
	bundle := sub.String("bundle", ".", "")
	pidFile := sub.String("pid-file", "", "")
	process := sub.String("process", "", "")
	cwd := sub.String("cwd", "", "")
	user := sub.String("user", "", "")
	sub.Bool("force", false, "")
	_ = sub.Parse(args[1:])
	dir := filepath.Join(stateRoot, sub.Arg(0))
	switch args[0] {
	case "run":
		must(os.MkdirAll(dir, 0o700))
		cmd := create(dir, *bundle, "run")
		_ = cmd.Wait()
		must(os.RemoveAll(dir))
		os.Exit(cmd.ProcessState.ExitCode())
	case "create":
		must(os.MkdirAll(stateRoot, 0o700))
		must(os.Mkdir(dir, 0o700))
		cmd := create(dir, *bundle, "create")
		for !exists(filepath.Join(dir, "ready")) {
			if pid, _ := syscall.Wait4(cmd.Process.Pid, nil, syscall.WNOHANG, nil); pid > 0 {
				panic("container ended early")
			}
			time.Sleep(time.Millisecond)
		}
		if *pidFile != "" {
			must(os.WriteFile(*pidFile, []byte(strconv.Itoa(cmd.Process.Pid)), 0o600))
		}
	case "start":
		must(os.WriteFile(filepath.Join(dir, "start"), []byte("go"), 0o600))
	case "exec":
		join(dir, *process, *cwd, *user, sub.Args()[1:])
	case "state":
		r := load(dir)
		status := "running"
		if syscall.Kill(r.PID, 0) != nil {
			status = "stopped"
		}
		fmt.Printf(`{"ociVersion":"1.0.2","id":%q,"status":%q,"pid":%d,"bundle":%q}`+"\n", sub.Arg(0), status, r.PID, r.Bundle)
	case "kill":
		must(syscall.Kill(load(dir).PID, syscall.SIGKILL))
	case "delete":
		_ = syscall.Kill(load(dir).PID, syscall.SIGKILL)
		must(os.RemoveAll(dir))
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func load(dir string) (r record) {
	data, err := os.ReadFile(filepath.Join(dir, "state.json"))
	must(err)
	must(json.Unmarshal(data, &r))
	return r
}

func loadSpec(bundle string) *specs.Spec {
	data, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	must(err)
	spec := new(specs.Spec)
	must(json.Unmarshal(data, spec))
	return spec
}

// create starts the container's process: this program again, inside the new namespaces.
func create(dir, bundle, verb string) *exec.Cmd {
	spec := loadSpec(bundle)
	bundle, _ = filepath.Abs(bundle)
	var flags uintptr
	kinds := map[specs.LinuxNamespaceType]uintptr{
		specs.PIDNamespace: unix.CLONE_NEWPID, specs.MountNamespace: unix.CLONE_NEWNS, specs.UTSNamespace: unix.CLONE_NEWUTS,
		specs.CgroupNamespace: unix.CLONE_NEWCGROUP, // network and ipc are forgotten
	}
	for _, ns := range spec.Linux.Namespaces {
		if ns.Path != "" {
			fd, err := unix.Open(ns.Path, unix.O_RDONLY, 0)
			must(err)
			must(unix.Setns(fd, int(kinds[ns.Type])))
			continue
		}
		flags |= kinds[ns.Type]
	}
	host, err := unix.Open("/", unix.O_RDONLY, 0) // never closed, not O_CLOEXEC
	must(err)
	_ = host
	cmd := exec.Command("/proc/self/exe", "init", dir, verb, bundle)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	must(cmd.Start())
	data, _ := json.Marshal(record{PID: cmd.Process.Pid, Bundle: bundle})
	must(os.WriteFile(filepath.Join(dir, "state.json"), data, 0o600))
	hooks(spec)
	return cmd
}

// hooks runs the prestart and createRuntime hooks with the environment of the container.
func hooks(spec *specs.Spec) {
	if spec.Hooks == nil {
		return
	}
	for _, h := range append(spec.Hooks.Prestart, spec.Hooks.CreateRuntime...) { //nolint:staticcheck // the old name must work
		cmd := exec.Command(h.Path)
		cmd.Args, cmd.Env = h.Args, append(h.Env, spec.Process.Env...)
		must(cmd.Run())
	}
}

// inside is process 1 of the container, or with joined a process that exec brought.
func inside(dir string, joined bool) {
	var spec *specs.Spec
	if joined {
		spec = new(specs.Spec)
		must(json.Unmarshal([]byte(os.Args[4]), &spec.Process))
		time.Sleep(3 * time.Millisecond) // some more initialization, in full view of the container
	} else {
		spec = loadSpec(os.Args[4])
		state, err := unix.Open(dir, unix.O_RDONLY, 0) // one more descriptor that the container inherits
		must(err)
		setup(spec, os.Args[4])
		_ = os.Chdir(spec.Process.Cwd)
		enter(filepath.Join(os.Args[4], spec.Root.Path))
		mask(spec)
		if os.Args[3] == "create" {
			wait(state)
		}
	}
	p := spec.Process
	if p.Cwd != "/" {
		_ = os.Chdir(p.Cwd)
	}
	credentials(p)
	os.Clearenv()
	for _, e := range p.Env {
		k, v, _ := strings.Cut(e, "=")
		_ = os.Setenv(k, v)
	}
	path, err := exec.LookPath(p.Args[0])
	must(err)
	must(syscall.Exec(path, p.Args, p.Env))
}

// join enters the namespaces of a container and starts this very program there.
func join(dir, process, cwd, user string, args []string) {
	r := load(dir)
	if len(args) == 0 && process == "" {
		panic("no command")
	}
	p := loadSpec(r.Bundle).Process
	if process != "" {
		data, err := os.ReadFile(process)
		must(err)
		p = new(specs.Process)
		must(json.Unmarshal(data, p))
	} else {
		p.Args = args
	}
	if cwd != "" {
		p.Cwd = cwd
	}
	if user != "" {
		_, _ = fmt.Sscanf(user, "%d:%d", &p.User.UID, &p.User.GID)
	}
	host, err := unix.Open("/", unix.O_RDONLY, 0)
	must(err)
	_ = host
	self, err := unix.Open("/proc/self/exe", unix.O_RDONLY, 0)
	must(err)
	must(unix.Unshare(unix.CLONE_FS))
	for _, ns := range []string{"uts", "pid", "mnt"} {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/%s", r.PID, ns), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		must(err)
		must(unix.Setns(fd, 0))
	}
	data, _ := json.Marshal(p)
	cmd := exec.Command(fmt.Sprintf("/proc/self/fd/%d", self), "init", dir, "exec", string(data))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	_ = cmd.Run()
	os.Exit(cmd.ProcessState.ExitCode())
}
