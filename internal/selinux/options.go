package selinux

import (
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/selinux/category"
)

// A Kind is what a container's first process is like: the policy may have a type for each (container_init_t, container_kvm_t).
type Kind uint8

// The kinds. A policy without a type for one uses that of Plain.
const (
	Plain Kind = iota // a program
	Init              // an init system such as systemd, which manages cgroups
	KVM               // a virtual machine monitor
)

// Options are what a user asks of a container's labels. The zero value is the strict one: the policy's type for containers and categories of its own.
type Options struct {
	Disable  bool   // no process label: the policy decides by who starts the container
	Nested   bool   // the inside sees SELinux and may label files and processes, as far as the policy lets its type
	User     string // of the process and the files
	Role     string
	Type     string // of the process
	Level    string // of the process and the files; shared with whoever asks for the same
	FileType string // of the files
	Kind     Kind   // set by the engine; Type overrules it
}

// MaxOption bounds the length of one value, in bytes.
const MaxOption = 256

const optionHint = "label takes disable, nested, user:USER, role:ROLE, type:TYPE, level:LEVEL, filetype:TYPE"

// ParseOptions reads the values of --security-opt label=..., each without "label=". Of a key that is given twice the last counts, as with Docker.
// Errors are of kind Invalid: an unknown key, with the list of those that exist; a value that can be none; disable beside
// something that it would undo, where Docker silently drops the other.
func ParseOptions(values []string) (Options, error) {
	var o Options
	for _, v := range values {
		if err := o.add(v); err != nil {
			return Options{}, errdef.WithHint(err, optionHint)
		}
	}
	if other := o.asks(); o.Disable && other != "" {
		err := errdef.Errorf(errdef.Invalid, "label=disable: contradicts label=%s", other)
		return Options{}, errdef.WithHint(err, "give one of them")
	}
	return o, nil
}

func (o *Options) add(v string) error {
	switch v {
	case "disable":
		o.Disable = true
		return nil
	case "nested":
		o.Nested = true
		return nil
	}
	key, value, given := strings.Cut(v, ":")
	field := map[string]*string{"user": &o.User, "role": &o.Role, "type": &o.Type, "level": &o.Level, "filetype": &o.FileType}[key]
	if field == nil || !given {
		return errdef.Errorf(errdef.Invalid, "label=%.64q: there is no such option", v)
	}
	if err := checkPart(key, value); err != nil {
		return err
	}
	*field = value
	return nil
}

// checkPart holds one part of a label to what a policy can have: names in user, role and type, and a range of levels.
func checkPart(key, value string) error {
	bad := func(why string) error { return errdef.Errorf(errdef.Invalid, "label=%s:%.64q: %s", key, value, why) }
	switch {
	case value == "":
		return bad("empty")
	case len(value) > MaxOption:
		return bad("longer than 256 bytes")
	case key == "level":
		if _, err := category.ParseLevel(value); err != nil {
			return bad(err.Error())
		}
		return nil
	}
	for _, c := range []byte(value) {
		if c != '_' && c != '.' && c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return bad("has a byte that no name of a policy has")
		}
	}
	return nil
}

// Without is what the options come to on a host without SELinux: an error of kind Unsupported if they ask for a label.
func (o *Options) Without() error {
	what := o.asks()
	if what == "" {
		return nil
	}
	err := errdef.Errorf(errdef.Unsupported, "label=%s: SELinux is not enabled on this host", what)
	return errdef.WithHint(err, "boot with selinux=1 and a policy, or take the option away")
}

// asks names one thing that needs SELinux to be in force, "" if there is none.
func (o *Options) asks() string {
	for _, f := range []struct{ key, value string }{
		{"user:", o.User},
		{"role:", o.Role},
		{"type:", o.Type},
		{"level:", o.Level},
		{"filetype:", o.FileType},
	} {
		if f.value != "" {
			return f.key + f.value
		}
	}
	if o.Nested {
		return "nested"
	}
	return ""
}

// OptionsOf returns the options that give another container the process label of one: for containers that share the namespaces of it
// (--pid container:, --ipc container:) and so have to share its categories. An empty label, of a container with label=disable, gives Disable.
func OptionsOf(process string) (Options, error) {
	if process == "" {
		return Options{Disable: true}, nil
	}
	c, err := parseLabel(process)
	if err != nil {
		return Options{}, err
	}
	return Options{User: c.user, Role: c.role, Type: c.kind, Level: c.level}, nil
}
