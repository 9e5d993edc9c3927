// Package machine boots a virtual machine of the lab under QEMU, lets it carry out a plan, and returns what came of it. It cannot hang: boot
// and the whole run have deadlines, and QEMU is killed at the end of either, by its process id; it dies with this process, too.
//
//	result, err := machine.Run(ctx, &machine.Config{Kernel: vmlinux, Root: disk, Payload: second, LSM: "apparmor", Init: "small", Name: "a", Plan: plan})
//
// The machine has no network. Both disks are opened with snapshot=on: nothing that a guest writes outlives it, and machines that run at the
// same time share them.
package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/vm/wire"
)

// Config says what is booted.
type Config struct {
	Kernel  string        // an ELF vmlinux
	Root    string        // raw image of the root file system
	Payload string        // raw image of the second disk, with the plan
	LSM     string        // none, apparmor, selinux
	Init    string        // small, systemd
	Memory  int           // MiB; 0: 2048
	Boot    time.Duration // until the guest is ready; 0: two minutes
	Total   time.Duration // for everything
	Plan    *wire.Plan
	Name    string // of the plan: .lab/plan-NAME.json of the second disk, so that several machines share one
	Results string // directory for result files; empty: they are dropped
	Console bool   // show the kernel's console on standard error

	// Output gets what jobs print, and Ended how they end, as it happens. Either may be nil.
	Output func(job int, data []byte)
	Ended  func(job int, e wire.Ended)
}

// Result is what came of a run.
type Result struct {
	Booted time.Duration // from the start of QEMU until the guest was ready
	Boots  int           // how often it was booted: see Run
	Jobs   []wire.Ended  // of those that ended
	CPU    time.Duration // that QEMU used: what a run costs, whatever else this machine does
	Memory int64         // that QEMU used at most, in bytes
	Oops   []string      // lines of the console on which the kernel complains of itself
}

// boots is how often a kernel may panic before the guest is ready: the emulator's fault, about one boot in a hundred, in the kernel's patching
// of its own text (do_sync_core; QEMU 7.2). Nothing of a plan has run by then.
const boots = 3

// Run boots, waits until the plan is carried out, and ends the machine. When it fails, the error has the end of the console.
func Run(ctx context.Context, c *Config) (*Result, error) {
	for n := 1; ; n++ {
		result, err := boot(ctx, c)
		if result != nil {
			result.Boots = n
		}
		if n == boots || result == nil || !errors.Is(err, errPanic) || result.Booted != 0 {
			return result, err
		}
	}
}

var errPanic = errors.New("the guest's kernel panicked")

func boot(ctx context.Context, c *Config) (*Result, error) {
	// PR_SET_PDEATHSIG goes by the thread that forked (prctl(2)).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, cancel := context.WithTimeout(ctx, c.Total)
	defer cancel()
	link, far, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer link.Close()
	r := &run{Config: c, link: link, ready: make(chan struct{}), console: newConsole(c.Console), started: time.Now()}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", c.argv()...)
	cmd.ExtraFiles = []*os.File{far}
	cmd.Stdout, cmd.Stderr = r.console, r.console
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.WaitDelay = 2 * time.Second
	err = cmd.Start()
	_ = far.Close()
	if err != nil {
		return nil, fmt.Errorf("start QEMU: %w (Debian: qemu-system-x86)", err)
	}
	frames := make(chan error, 1)
	go func() { frames <- r.frames() }()
	err = r.wait(ctx, frames)
	_ = cmd.Process.Kill() // when all is said there is nothing to shut down: what it wrote is thrown away
	_ = cmd.Wait()
	r.result.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		r.result.Memory = usage.Maxrss << 10
	}
	r.result.Oops = r.console.complaints()
	if err != nil {
		return &r.result, fmt.Errorf("%w\nend of the console:\n%s", err, r.console.tail())
	}
	return &r.result, nil
}

type run struct {
	*Config
	link    *os.File
	console *console
	started time.Time
	ready   chan struct{}
	result  Result
}

// wait waits for the last frame, or for what makes it pointless to wait.
func (r *run) wait(ctx context.Context, frames <-chan error) error {
	limit := r.Boot
	if limit == 0 {
		limit = 2 * time.Minute
	}
	boot := time.NewTimer(limit)
	defer boot.Stop()
	ready := r.ready
	for {
		select {
		case err := <-frames:
			return err
		case <-ready:
			boot.Stop()
			ready = nil
		case <-boot.C:
			return r.giveUp(frames, fmt.Errorf("the guest was not ready after %v", limit))
		case <-r.console.panicked:
			time.Sleep(200 * time.Millisecond) // for the rest of its message
			return r.giveUp(frames, errPanic)
		case <-ctx.Done():
			err := ctx.Err()
			if errors.Is(err, context.DeadlineExceeded) {
				err = fmt.Errorf("the machine was not done after %v", r.Total)
			}
			return r.giveUp(frames, err)
		}
	}
}

// giveUp ends the reader of frames before the result is touched.
func (r *run) giveUp(frames <-chan error, err error) error {
	_ = r.link.SetReadDeadline(time.Now())
	select {
	case <-frames:
	case <-time.After(time.Second):
		_ = r.link.Close()
		<-frames
	}
	return err
}

// frames reads what the guest says.
func (r *run) frames() error {
	for {
		f, err := wire.Read(r.link)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("it ended before its work was done")
			}
			return fmt.Errorf("virtual machine: %w", err)
		}
		switch f.Kind {
		case wire.Ready:
			r.result.Booted = time.Since(r.started)
			close(r.ready)
		case wire.Output:
			if r.Output != nil {
				r.Output(int(f.Job), f.Data)
			}
		case wire.Exit:
			if err := r.ended(f); err != nil {
				return err
			}
		case wire.File:
			if err := r.file(f.Data); err != nil {
				return err
			}
		case wire.Done:
			if len(r.result.Jobs) != len(r.Plan.Jobs) {
				return fmt.Errorf("virtual machine: %d of %d jobs reported", len(r.result.Jobs), len(r.Plan.Jobs))
			}
			return nil
		}
	}
}

func (r *run) ended(f wire.Frame) error {
	var e wire.Ended
	if err := json.Unmarshal(f.Data, &e); err != nil {
		return fmt.Errorf("virtual machine: end of a job: %w", err)
	}
	if int(f.Job) != len(r.result.Jobs) || int(f.Job) >= len(r.Plan.Jobs) {
		return fmt.Errorf("virtual machine: job %d ended out of turn", f.Job)
	}
	r.result.Jobs = append(r.result.Jobs, e)
	if r.Ended != nil {
		r.Ended(int(f.Job), e)
	}
	return nil
}

// file appends a piece to a result file. The guest is not trusted with the name.
func (r *run) file(data []byte) error {
	name, piece, ok := bytes.Cut(data, []byte{0})
	if !ok || !filepath.IsLocal(string(name)) {
		return fmt.Errorf("virtual machine: result file named %q", name)
	}
	if r.Results == "" {
		return nil
	}
	path := filepath.Join(r.Results, string(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(piece)
	return errors.Join(err, f.Close())
}

// socketPair makes the two ends of the virtio-serial port.
func socketPair() (near, far *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	if err := syscall.SetNonblock(fds[0], true); err != nil { // for deadlines
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "guest"), os.NewFile(uintptr(fds[1]), "qemu"), nil
}

// argv is QEMU's command line. On two threads (thread=multi) 6.12 and 7.3 sometimes die in the kernel's text patching.
func (c *Config) argv() []string {
	memory := c.Memory
	if memory == 0 {
		memory = 2048
	}
	accel := []string{"-accel", "tcg,thread=single", "-cpu", "max,la57=off"}
	if os.Getenv("BULKHEAD_VM_ACCEL") == "kvm" {
		accel = []string{"-accel", "kvm", "-cpu", "host"}
	}
	return append(accel,
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-smp", "2", "-m", fmt.Sprint(memory), "-serial", "stdio",
		"-kernel", c.Kernel, "-append", strings.Join(c.words(), " "),
		// The kernel has NVMe built in and numbers namespaces as it finds them, so the other disk is of another kind.
		"-drive", "if=none,id=root,format=raw,snapshot=on,file="+c.Root, "-device", "nvme,drive=root,serial=root",
		"-drive", "if=none,id=payload,format=raw,snapshot=on,file="+c.Payload, "-device", "virtio-blk-pci,drive=payload",
		"-device", "virtio-serial-pci", "-chardev", "socket,id=lab,fd=3", "-device", "virtserialport,chardev=lab,name=lab",
	)
}

// words is the kernel's command line.
func (c *Config) words() []string {
	words := strings.Fields(`console=ttyS0 root=/dev/nvme0n1 rw rootwait quiet mitigations=off tsc=reliable random.trust_cpu=on no_timer_check
		cryptomgr.notests rcupdate.rcu_expedited=1 panic=-1 oops=panic net.ifnames=0 lab.plan=` + c.Name)
	switch c.LSM {
	case "apparmor":
		words = append(words, "lsm=landlock,lockdown,yama,integrity,apparmor,bpf")
	case "selinux":
		words = append(words, "lsm=landlock,lockdown,yama,integrity,selinux,bpf", "enforcing=1")
	default:
		words = append(words, "lsm=landlock,lockdown,yama,integrity,bpf")
	}
	if c.Init == "systemd" {
		return append(words, "systemd.show_status=false", "systemd.log_level=warning", "systemd.journald.forward_to_console=no")
	}
	return append(words, "init=/usr/sbin/lab-init")
}
