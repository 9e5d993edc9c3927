package machine

import (
	"os"
	"strings"
	"sync"
)

// tailLines is how much of a console an error shows.
const tailLines = 60

// console collects what QEMU and the guest's kernel print.
type console struct {
	panicked chan struct{} // closed at the first panic

	mu    sync.Mutex
	show  bool
	part  string   // a line without its end
	lines []string // the last ones
	oops  []string
	panic bool
}

func newConsole(show bool) *console {
	return &console{panicked: make(chan struct{}), show: show}
}

// Write takes what comes; it never fails, as a guest must not stop for its console.
func (c *console) Write(data []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.part += strings.ReplaceAll(string(data), "\r", "")
	for {
		line, rest, ok := strings.Cut(c.part, "\n")
		if !ok {
			break
		}
		c.part = rest
		c.line(line)
	}
	return len(data), nil
}

func (c *console) line(line string) {
	if line == "" {
		return
	}
	if c.show {
		_, _ = os.Stderr.WriteString("console: " + line + "\n")
	}
	c.lines = append(c.lines, line)
	c.lines = c.lines[max(0, len(c.lines)-tailLines):]
	for _, mark := range []string{"WARNING: CPU", "BUG: ", "Oops: ", "rcu: INFO: rcu", "blocked for more than", "soft lockup"} {
		if strings.Contains(line, mark) && len(c.oops) < 20 {
			c.oops = append(c.oops, line)
		}
	}
	if strings.Contains(line, "Kernel panic") && !c.panic {
		c.panic = true
		close(c.panicked)
	}
}

func (c *console) tail() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lines) == 0 && c.part == "" {
		return "(nothing)"
	}
	return strings.Join(append(c.lines[:len(c.lines):len(c.lines)], c.part), "\n")
}

func (c *console) complaints() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.oops
}
