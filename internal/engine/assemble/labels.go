package assemble

import (
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Labels are the SELinux labels that the engine has chosen for a container. The zero value is that of a host without SELinux.
type Labels struct {
	Process string // "" with a Mount: the container is not confined by SELinux
	Mount   string // of its files
	Off     string // which flag took the Process, as pid=host; "": label=disable
	// Show are directories of the host that label=nested shows at the same place, and Nested says that the files of a tmpfs may have labels of their own.
	Show   []string
	Nested bool
}

// labels puts them into the configuration. Which they are is known by now: what was asked for and cannot be had was refused when they were drawn; here it is on a host without.
func (b *build) labels() error {
	l, p := &b.r.Facts.Labels, b.spec.Process
	p.SelinuxLabel, b.spec.Linux.MountLabel = l.Process, l.Mount
	for _, o := range b.o.Labels {
		if o != "disable" && l.Mount == "" {
			err := errdef.Errorf(errdef.Unsupported, "security-opt label=%.128s: SELinux is not enabled on this host", o)
			return errdef.WithHint(err, "leave it away: other layers confine the container")
		}
		if lost := loosens(o); lost != "" {
			b.weaker("security-opt label="+o, lost)
		}
	}
	if l.Mount != "" && l.Process == "" && l.Off != "" && !b.r.Host.Privileged {
		b.weaker(l.Off, "SELinux, whose policy lets no container look at the host's processes")
	}
	for _, dir := range l.Show {
		below := func(path string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
		b.spec.Linux.MaskedPaths = slices.DeleteFunc(b.spec.Linux.MaskedPaths, below)
		b.spec.Linux.ReadonlyPaths = slices.DeleteFunc(b.spec.Linux.ReadonlyPaths, below)
	}
	return nil
}

// loosens says what a value of label= gives up, "" for one that gives up nothing.
func loosens(option string) string {
	key, _, _ := strings.Cut(option, ":")
	switch key {
	case "disable":
		return "SELinux"
	case "type", "role", "user":
		return "the " + key + " that the policy has for containers"
	case "level":
		return "categories that no other container has: who has the same level may use its files"
	case "nested":
		return "that SELinux is out of sight, and that no label can be set inside"
	}
	return ""
}

// shown are the mounts of label=nested, and the label of a tmpfs where files may have their own: the root alone gets it, and what is made below takes it from there.
func (b *build) shown() {
	l := &b.r.Facts.Labels
	for _, dir := range l.Show {
		b.replace(specs.Mount{Destination: dir, Type: "bind", Source: dir, Options: []string{"bind", "rprivate", "nosuid", "noexec", "nodev"}})
	}
	if !l.Nested {
		return
	}
	for i := range b.spec.Mounts {
		if m := &b.spec.Mounts[i]; m.Type == "tmpfs" {
			m.Options = append(slices.Clone(m.Options), `rootcontext="`+l.Mount+`"`)
		}
	}
}
