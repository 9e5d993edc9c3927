package selinux

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	policy "github.com/opencontainers/selinux/go-selinux"
	policylabel "github.com/opencontainers/selinux/go-selinux/label"
	"golang.org/x/sys/unix"
)

// A Mode is how SELinux is in force.
type Mode uint8

// The modes.
const (
	Disabled   Mode = iota // not in the kernel, turned off, or no policy is loaded
	Permissive             // what the policy denies is only logged: nothing is confined
	Enforcing
)

// String returns the word that getenforce(8) prints.
func (m Mode) String() string { return [...]string{"Disabled", "Permissive", "Enforcing"}[m] }

// Current asks the kernel. Whether SELinux is on cannot change while a machine runs; the mode can, and is asked each time.
func Current() Mode {
	if !policy.GetEnabled() {
		return Disabled
	}
	if policy.EnforceMode() == policy.Permissive {
		return Permissive
	}
	return Enforcing
}

// Labels are those of one container.
type Labels struct {
	Process string // process.selinuxLabel of config.json; "" without SELinux and with label=disable
	Mount   string // linux.mountLabel, and the label of the container's files; "" without SELinux
	Level   string // of both, for Release; "" if the container has none of its own
	Nested  bool   // see Nesting
}

// Nesting is what label=nested changes in the configuration of a container besides its labels.
type Nesting struct {
	// Show are directories of the host to bind at the same place, writable, and not to mask: programs inside take SELinux for switched off
	// unless they see selinuxfs, which a container's own sysfs does not have. What may be done there is up to the container's type.
	Show []string
	// MountOption is the option by which the mount label is put on the container's root (an overlay) and on its tmpfs mounts. With "context"
	// all files of a mount have that label for good and setxattr(2) gives EOPNOTSUPP; "rootcontext" labels the root only, and the files
	// below take their own from there. A mount with such an option does not get linux.mountLabel from the runtime. In config.json and
	// mount(2) the label stands in double quotes, for it has a comma; fsconfig(2) takes it as it is.
	MountOption string
}

// Nesting returns what the engine has to change for these labels; for labels without Nested nothing, and the option is context.
func (l Labels) Nesting() Nesting {
	if l.Nested {
		return Nesting{Show: []string{"/sys/fs/selinux"}, MountOption: "rootcontext"}
	}
	return Nesting{MountOption: "context"}
}

// A parsed label: user:role:type or user:role:type:level, where the level may have colons of its own.
type parts struct{ user, role, kind, level string }

func parseLabel(s string) (parts, error) {
	part := strings.SplitN(s, ":", 4)
	if len(part) < 3 || part[0] == "" || part[1] == "" || part[2] == "" || strings.ContainsAny(s, "\x00\n\r ") || len(s) > 4095 {
		return parts{}, errdef.Errorf(errdef.Invalid, "selinux label %.128q: not user:role:type:level", s)
	}
	c := parts{user: part[0], role: part[1], kind: part[2]}
	if len(part) == 4 {
		c.level = part[3]
	}
	return c, nil
}

func (c parts) String() string {
	s := c.user + ":" + c.role + ":" + c.kind
	if c.level != "" {
		s += ":" + c.level
	}
	return s
}

// defaults returns the labels of the policy's contexts file (/usr/share/containers/selinux/contexts, else lxc_contexts), without categories.
func defaults(kind Kind) (process, file parts, err error) {
	p, f, err := policylabel.InitLabels(nil)
	if err == nil {
		policy.ReleaseLabel(p) // the library's own reservation, which other processes do not see
		p, err = policy.SetProcessKind(p, [...]policy.ProcessKind{policy.ProcessKindRegular, policy.ProcessKindInit, policy.ProcessKindKVM}[kind])
	}
	if err == nil && (p == "" || f == "") {
		err = errors.New("it names no label for processes or none for files")
	}
	if err == nil {
		process, err = parseLabel(p)
	}
	if err == nil {
		file, err = parseLabel(f)
	}
	if err != nil {
		err = errdef.Errorf(errdef.Unsupported, "selinux: labels for containers in the policy's lxc_contexts: %w", err)
		return parts{}, parts{}, errdef.WithHint(err, "install the policy for containers (container-selinux; Debian: selinux-policy-default), or take label=disable")
	}
	return process, file, nil
}

// Check asks the kernel whether the loaded policy has a label. If not the error is of kind Invalid and names the part that is wrong; without
// SELinux it is of kind Unsupported.
func Check(label string) error {
	c, err := parseLabel(label)
	if err != nil {
		return err
	}
	if Current() == Disabled {
		err := errdef.Errorf(errdef.Unsupported, "selinux label %q: SELinux is not enabled on this host", label)
		return errdef.WithHint(err, "boot with selinux=1 and a policy, or take label= away")
	}
	err = policy.SecurityCheckContext(label)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EINVAL):
		part, value := c.refused()
		err = errdef.Errorf(errdef.Invalid, "selinux label %q: the loaded policy does not have %s", label, part)
		return errdef.WithHint(err, "take label="+value+" away or name one that exists: `seinfo` lists them")
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return errdef.Errorf(errdef.Denied, "selinux label %q: ask the kernel: %w", label, err)
	}
	return errdef.Errorf(errdef.Internal, "selinux label %q: ask the kernel: %w", label, err)
}

// refused finds the part of a label that the policy does not know, by putting each into a label that it does know.
func (c parts) refused() (what, option string) {
	good, err := policy.CurrentLabel()
	if err != nil {
		return "this label", "..."
	}
	g, err := parseLabel(good)
	if err != nil {
		return "this label", "..."
	}
	// object_r goes with every user and type, as the role of files: such a label is good if its parts exist.
	for _, t := range []struct {
		key, value string
		label      parts
	}{
		{"user", c.user, parts{c.user, "object_r", g.kind, "s0"}},
		{"type", c.kind, parts{g.user, "object_r", c.kind, "s0"}},
		{"level", c.level, parts{"system_u", "object_r", g.kind, c.level}},
	} {
		if policy.SecurityCheckContext(t.label.String()) != nil {
			return fmt.Sprintf("%s %q", t.key, t.value), t.key + ":" + t.value
		}
	}
	return fmt.Sprintf("role %q with user %q and type %q", c.role, c.user, c.kind), "role:" + c.role
}

// Unlabelled returns the label that a program with a file label gets when this process starts it without asking for one: what
// label=disable means on this host. Container policies have a rule that makes it spc_t for the domains of engines; elsewhere it is the label of
// the engine itself, often unconfined_t.
func Unlabelled(file string) (string, error) {
	if Current() == Disabled {
		return "", nil
	}
	own, err := policy.CurrentLabel()
	if err != nil {
		return "", errdef.Errorf(errdef.Internal, "selinux: label of this process: %w", err)
	}
	got, err := policy.ComputeCreateContext(own, file, "process")
	if err != nil {
		return "", errdef.Errorf(errdef.Internal, "selinux: label of a process started from %q: %w", file, err)
	}
	return got, nil
}
