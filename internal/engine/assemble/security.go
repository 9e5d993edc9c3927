package assemble

import (
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/defaults"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Options are the values of --security-opt. The zero value is not the default: ParseOptions gives that.
type Options struct {
	Level      defaults.Level
	Allow      []string // groups of system calls, by name
	NoNewPrivs *bool    // nil: the level's
	Seccomp    *Profile // of the caller's; nil: the level's
	NoSeccomp  bool
	AppArmor   string   // "": the level's; a profile's name; unconfined
	Labels     []string // what follows label=
	Mask       []string
	Unmask     []string // paths; "ALL" is all masks and read-only paths
}

// maxProfile bounds a seccomp profile that comes with a request, in bytes.
const maxProfile = 1 << 20

// ParseOptions reads --security-opt: Docker's and Podman's values, and level= and allow=. The command line sends the content of a seccomp profile, not
// its path, as Docker's does.
func ParseOptions(list []string) (Options, error) {
	o := Options{Level: defaults.Hardened}
	for _, text := range list {
		key, value, given := strings.Cut(text, "=")
		if !given && !slices.Contains([]string{"no-new-privileges"}, key) {
			key, value, given = strings.Cut(text, ":") // Docker before 1.11
		}
		if err := o.set(key, value, given); err != nil {
			return o, errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "security-opt %.64q: %w", text, err), errdef.Hint(err))
		}
	}
	return o, nil
}

func (o *Options) set(key, value string, given bool) (err error) {
	if key != "no-new-privileges" && value == "" {
		return errdef.Errorf(errdef.Invalid, "says nothing")
	}
	switch key {
	case "no-new-privileges":
		on := true
		if given {
			if on, err = strconv.ParseBool(value); err != nil {
				return errdef.Errorf(errdef.Invalid, "wants true or false")
			}
		}
		o.NoNewPrivs = &on
	case "seccomp":
		return o.seccomp(value)
	case "apparmor":
		o.AppArmor = value
	case "label":
		o.Labels = append(o.Labels, value)
	case "mask":
		o.Mask = append(o.Mask, strings.Split(value, ":")...)
	case "unmask":
		o.Unmask = append(o.Unmask, strings.Split(value, ":")...)
	case "systempaths":
		if value != "unconfined" {
			return errdef.Errorf(errdef.Invalid, "wants unconfined")
		}
		o.Unmask = append(o.Unmask, "ALL")
	case "level":
		o.Level, err = defaults.ParseLevel(value)
		return err
	case "allow":
		o.Allow = append(o.Allow, strings.Split(value, ",")...)
	case "writable-cgroups", "proc-opts":
		return errdef.Errorf(errdef.Unsupported, "this engine does not do it")
	default:
		err := errdef.Errorf(errdef.Invalid, "there is no such option")
		return errdef.WithHint(err, "no-new-privileges, seccomp=, apparmor=, label=, mask=, unmask=, systempaths=, level=, allow=")
	}
	return nil
}

func (o *Options) seccomp(value string) error {
	switch {
	case value == "unconfined":
		o.NoSeccomp, o.Seccomp = true, nil
		return nil
	case value == "builtin":
		o.NoSeccomp, o.Seccomp = false, nil
		return nil
	case len(value) > maxProfile:
		return errdef.Errorf(errdef.Invalid, "the profile has %d bytes, more than %d", len(value), maxProfile)
	case !strings.HasPrefix(strings.TrimSpace(value), "{"):
		err := errdef.Errorf(errdef.Invalid, "neither unconfined, builtin nor a profile")
		return errdef.WithHint(err, "the command line reads the file; over the API the profile itself is sent")
	}
	p, err := ParseProfile([]byte(value))
	if err != nil {
		return err
	}
	o.Seccomp, o.NoSeccomp = p, false
	return nil
}
