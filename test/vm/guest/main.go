// Command guest runs the jobs of a plan inside the virtual machine of the lab and tells the host, over a virtio-serial port, what they print,
// how they end, and what they leave in the directory of results.
//
// It is started by /usr/sbin/lab-init of the image, as root, from the second disk, which is mounted at /bulkhead. A job runs as root in a
// group of its own, or as the user with the id 1000: with systemd as a service of the user's own manager, which delegates
// controllers; without, in a group that was made over to the user.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/vm/wire"
)

const (
	planWord = "lab.plan=" // on the kernel's command line
	results  = "/bulkhead/.lab/results"
	portName = "lab"
	// maxResult bounds what is sent of one result file, in bytes.
	maxResult = 64 << 20
)

func main() {
	err := work()
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err) // the console, whose end the host shows when the machine ends before its time
		time.Sleep(time.Second)
	}
	// The host ends the machine when it has read the last frame. Nothing is to wait for if there will be none.
	if err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Fprintln(os.Stderr, "guest: power off:", err)
	}
}

// port is the way to the host.
type port struct {
	mu   sync.Mutex
	file *os.File
	err  error // the first; nothing is sent after it
}

func (p *port) send(f wire.Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = wire.Write(p.file, f)
	}
}

func work() error {
	file, err := openPort()
	if err != nil {
		return err
	}
	defer file.Close()
	p := &port{file: file}
	plan, err := readPlan()
	if err != nil {
		return fmt.Errorf("read the plan: %w", err)
	}
	if err := os.MkdirAll(results, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(results, 0o777); err != nil { // for the user, too
		return err
	}
	p.send(wire.Frame{Kind: wire.Ready})
	r := runner{port: p, plan: plan}
	if err := r.prepare(); err != nil {
		return err
	}
	for i := range plan.Jobs {
		r.job(uint32(i))
	}
	sendResults(p)
	p.send(wire.Frame{Kind: wire.Done})
	return p.err
}

// readPlan reads the plan of this machine: the second disk may be that of several.
func readPlan() (*wire.Plan, error) {
	words, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return nil, err
	}
	for _, word := range strings.Fields(string(words)) {
		name, ok := strings.CutPrefix(word, planWord)
		if !ok {
			continue
		}
		data, err := os.ReadFile(wire.PlanFile("/bulkhead", name))
		if err != nil {
			return nil, err
		}
		plan := &wire.Plan{}
		return plan, json.Unmarshal(data, plan)
	}
	return nil, errors.New("no " + planWord + " on the kernel's command line")
}

// openPort finds the port by its name: there may be no udev to make a link.
func openPort() (*os.File, error) {
	names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err == nil && strings.TrimSpace(string(data)) == portName {
			return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(name)), os.O_RDWR, 0)
		}
	}
	return nil, errors.New("there is no virtio-serial port named " + portName)
}

// sendResults sends the regular files below the directory of results. One that cannot be read is left out, as the host will say.
func sendResults(p *port) {
	_ = filepath.WalkDir(results, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil || info.Size() > maxResult {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		name, _ := filepath.Rel(results, path)
		head := append([]byte(name), 0)
		for {
			n := min(len(data), wire.MaxData-len(head))
			p.send(wire.Frame{Kind: wire.File, Data: append(head[:len(head):len(head)], data[:n]...)})
			if data = data[n:]; len(data) == 0 {
				return nil
			}
		}
	})
}
