package verify

import (
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Compare says of everything that was declared whether the facts are so. The facts are those of Read for the same declaration.
func Compare(d *Declared, f *Facts) *Report {
	c := &comparison{d: d, f: f, r: &Report{ID: d.ID, Name: d.Name, PID: d.PID, Processes: len(f.Processes), Checks: []Check{}}, expected: map[string]int{}, claimed: map[int]bool{}}
	c.namespaces()
	c.ids()
	for i := range f.Processes {
		c.process(&f.Processes[i], i == 0)
	}
	if f.More > 0 {
		c.unknown("process", "more processes", "all are looked at", strconv.Itoa(f.More)+" more were not")
	}
	c.mounts()
	c.protected()
	c.devices()
	c.undeclared()
	c.limits()
	c.inner()
	c.modules()
	return c.r
}

// linux is the Linux part of the configuration, empty if there is none.
func (c *comparison) linux() *specs.Linux {
	if l := c.d.Spec.Linux; l != nil {
		return l
	}
	return &specs.Linux{}
}

// namespace returns how a namespace was declared; false if it is the host's.
func (c *comparison) namespace(kind specs.LinuxNamespaceType) (specs.LinuxNamespace, bool) {
	for _, n := range c.linux().Namespaces {
		if n.Type == kind {
			return n, true
		}
	}
	return specs.LinuxNamespace{}, false
}

func (c *comparison) hasUserNS() bool {
	_, ok := c.namespace(specs.UserNamespace)
	return ok
}

// mayNest reports whether processes inside may make namespaces of their own, and so be elsewhere by themselves.
func (c *comparison) mayNest() bool {
	if c.mayMount() {
		return true
	}
	p := c.linux().Seccomp
	if p == nil {
		return true
	}
	for _, r := range p.Syscalls {
		for _, name := range r.Names {
			if r.Action == specs.ActAllow && (name == "unshare" || name == "clone3" || name == "clone" && len(r.Args) == 0) {
				return true
			}
		}
	}
	return p.DefaultAction == specs.ActAllow
}

// mayMount reports whether processes inside may change their mounts.
func (c *comparison) mayMount() bool { return c.bounding().Has(capSysAdmin) }
