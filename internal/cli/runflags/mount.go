package runflags

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/mount"
)

// files are volumes, mounts and file systems in memory.
func (f *Flags) files(q *Request) error {
	for _, v := range f.volumes {
		source, rest, ok := strings.Cut(v, ":")
		switch {
		case v == "":
			return bad("volume", v, "wants [SOURCE:]DESTINATION[:OPTIONS]")
		case !ok:
			if q.Config.Volumes == nil {
				q.Config.Volumes = map[string]struct{}{}
			}
			q.Config.Volumes[v] = struct{}{}
			continue
		case strings.HasPrefix(source, "."): // of the caller's directory
			if abs, err := filepath.Abs(source); err == nil {
				source = abs
			}
		}
		q.Host.Binds = append(q.Host.Binds, source+":"+rest)
	}
	q.Host.VolumesFrom = f.volumesFrom
	for _, text := range f.mounts {
		if err := f.mount(q, text); err != nil {
			return err
		}
	}
	for _, t := range f.tmpfs {
		dest, options, _ := strings.Cut(t, ":")
		if q.Host.Tmpfs == nil {
			q.Host.Tmpfs = map[string]string{}
		}
		q.Host.Tmpfs[dest] = options
	}
	if f.readOnly && f.readOnlyTmpfs {
		f.writable(q)
	}
	return f.zone(q)
}

// writable puts file systems in memory where programs write that do not know that they cannot, as Podman does, and where the line puts nothing else.
func (f *Flags) writable(q *Request) {
	taken := map[string]bool{}
	for _, b := range q.Host.Binds {
		if parts := strings.Split(b, ":"); len(parts) > 1 {
			taken[filepath.Clean(parts[1])] = true
		}
	}
	for _, m := range q.Host.Mounts {
		taken[filepath.Clean(m.Target)] = true
	}
	for v := range q.Config.Volumes {
		taken[filepath.Clean(v)] = true
	}
	if q.Host.Tmpfs == nil {
		q.Host.Tmpfs = map[string]string{}
	}
	for dest, options := range map[string]string{"/run": "mode=755", "/tmp": "mode=1777", "/var/tmp": "mode=1777"} {
		if _, there := q.Host.Tmpfs[dest]; !there && !taken[dest] {
			q.Host.Tmpfs[dest] = options
		}
	}
}

// zone shows the container the host's data of a time zone.
func (f *Flags) zone(q *Request) error {
	const zones = "/usr/share/zoneinfo/"
	path := zones + f.timezone
	switch {
	case f.timezone == "":
		return nil
	case f.timezone == "local":
		path = "/etc/localtime"
		if p, err := filepath.EvalSymlinks(path); err == nil {
			path = p
		}
	case filepath.Clean(path) != path || !strings.HasPrefix(path, zones) || strings.Contains(path, ":"):
		return bad("tz", f.timezone, "wants Area/City, or local")
	}
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
		err := errdef.Errorf(errdef.NotFound, "--tz %.128q: %s has no data of it", f.timezone, path)
		return errdef.WithHint(err, "install tzdata on the host, or say -e TZ="+f.timezone+" for an image that has it")
	}
	q.Host.Mounts = append(q.Host.Mounts, mount.Mount{Type: mount.TypeBind, Source: path, Target: "/etc/localtime", ReadOnly: true})
	return nil
}

// mount adds what a value of --mount says.
func (f *Flags) mount(q *Request, text string) error {
	m, more, err := parseMount(text)
	if err != nil {
		return err
	}
	q.Host.Mounts = append(q.Host.Mounts, m)
	if len(more) > 0 {
		if q.MountOptions == nil {
			q.MountOptions = map[string][]string{}
		}
		q.MountOptions[m.Target] = more
	}
	return nil
}

// parseMount reads a value of --mount: fields of CSV, each KEY or KEY=VALUE. More are Podman's options that Docker has no field for, as -v has them.
func parseMount(text string) (m mount.Mount, more []string, err error) {
	m.Type = mount.TypeVolume
	fields, err := csv.NewReader(strings.NewReader(strings.TrimSpace(text))).Read()
	if err != nil {
		return m, nil, bad("mount", text, "wants KEY=VALUE,...")
	}
	sub := ""
	for _, field := range fields {
		key, value, given := strings.Cut(field, "=")
		option, known, err := podmans(key, value, given)
		if known && err == nil {
			if option != "" {
				more = append(more, option)
			}
			continue
		}
		switch key = strings.ToLower(key); {
		case err != nil:
		case key == "subpath" && given:
			sub = value
		case given && value == "":
			err = errdef.Errorf(errdef.Invalid, "invalid value for '%s': value is empty", key)
		case strings.TrimSpace(key) != key || strings.TrimSpace(value) != value:
			err = errdef.Errorf(errdef.Invalid, "'%s': white space has no place there", field)
		case strings.HasPrefix(key, "bind-"):
			err = bindField(&m, key, value, given)
		case strings.HasPrefix(key, "volume-"):
			err = volumeField(&m, key, value, given)
		case strings.HasPrefix(key, "tmpfs-"):
			err = tmpfsField(&m, key, value)
		default:
			err = mountField(&m, key, value, given)
		}
		if err != nil {
			return m, nil, bad("mount", text, err.Error())
		}
	}
	switch {
	case sub != "" && m.Type == mount.TypeImage:
		m.ImageOptions = &mount.ImageOptions{Subpath: sub}
	case sub != "" && m.Type == mount.TypeVolume:
		if m.VolumeOptions == nil {
			m.VolumeOptions = &mount.VolumeOptions{}
		}
		m.VolumeOptions.Subpath = sub
	case sub != "":
		return m, nil, bad("mount", text, "subpath is for volumes and images")
	}
	if m.Type == mount.TypeImage && !m.ReadOnly && slices.Contains(fields, "rw") || slices.Contains(fields, "rw=true") && m.Type == mount.TypeImage {
		more = append(more, "rw")
	}
	if err := mixed(&m); err != nil {
		return m, nil, bad("mount", text, err.Error())
	}
	return m, more, nil
}

// podmans reads a key that Docker's command does not know: what it is as an option of -v.
func podmans(key, value string, given bool) (option string, known bool, err error) {
	switch key {
	case "U", "chown", "tmpcopyup", "notmpcopyup", "exec", "noexec", "dev", "nodev", "suid", "nosuid", "z", "Z":
		on, err := truth(key, value, given)
		if err != nil || !on {
			return "", true, err
		}
		return strings.Replace(key, "chown", "U", 1), true, nil
	case "shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable":
		return key, !given, nil
	case "relabel":
		switch value {
		case "shared":
			return "z", true, nil
		case "private":
			return "Z", true, nil
		}
		return "", true, errdef.Errorf(errdef.Invalid, "relabel wants shared or private")
	case "idmap":
		if given {
			return "idmap=" + value, true, nil
		}
		return "idmap", true, nil
	case "no-dereference", "glob":
		return "", true, errdef.Errorf(errdef.Unsupported, "%s is not supported: name what is to be mounted", key)
	}
	return "", false, nil
}

// mixed refuses options of another type.
func mixed(m *mount.Mount) error {
	for _, o := range []struct {
		there bool
		kind  mount.Type
		name  string
	}{
		{m.BindOptions != nil, mount.TypeBind, "bind"},
		{m.VolumeOptions != nil, mount.TypeVolume, "volume"},
		{m.TmpfsOptions != nil, mount.TypeTmpfs, "tmpfs"},
		{m.ImageOptions != nil, mount.TypeImage, "image"},
	} {
		if o.there && m.Type != o.kind {
			return errdef.Errorf(errdef.Invalid, "cannot mix '%s-*' options with mount type '%s'", o.name, m.Type)
		}
	}
	if m.Target == "" {
		return errdef.Errorf(errdef.Invalid, "target is required")
	}
	if b := m.BindOptions; b != nil && b.ReadOnlyForceRecursive && m.ReadOnly && b.Propagation != mount.PropagationRPrivate {
		return errdef.Errorf(errdef.Invalid, "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction")
	}
	if b := m.BindOptions; b != nil && !m.ReadOnly && (b.ReadOnlyNonRecursive || b.ReadOnlyForceRecursive) {
		return errdef.Errorf(errdef.Invalid, "option 'bind-recursive' with 'writable' or 'readonly' requires 'readonly' to be specified in conjunction")
	}
	return nil
}

// truth reads a boolean value; a key alone is true.
func truth(key, value string, given bool) (bool, error) {
	if !given {
		return true, nil
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		return false, errdef.Errorf(errdef.Invalid, "invalid value for '%s': %q is neither true nor false", key, value)
	}
	return b, nil
}

func mountField(m *mount.Mount, key, value string, given bool) error {
	var err error
	switch key {
	case "readonly", "ro":
		m.ReadOnly, err = truth(key, value, given)
		return err
	case "rw":
		on, err := truth(key, value, given)
		m.ReadOnly = !on
		return err
	}
	if !given {
		return errdef.Errorf(errdef.Invalid, "invalid field '%s' must be a key=value pair", key)
	}
	switch key {
	case "type":
		m.Type = mount.Type(strings.ToLower(value))
	case "source", "src":
		m.Source = value
		if strings.HasPrefix(value, ".") {
			if abs, err := filepath.Abs(value); err == nil {
				m.Source = abs
			}
		}
	case "target", "dst", "destination":
		m.Target = value
	case "consistency":
		m.Consistency = mount.Consistency(strings.ToLower(value))
	case "image-subpath":
		m.ImageOptions = &mount.ImageOptions{Subpath: value}
	default:
		return errdef.Errorf(errdef.Invalid, "unexpected key '%s'", key)
	}
	return nil
}

func bindField(m *mount.Mount, key, value string, given bool) error {
	if m.BindOptions == nil {
		m.BindOptions = &mount.BindOptions{}
	}
	var err error
	switch b := m.BindOptions; key {
	case "bind-propagation":
		b.Propagation = mount.Propagation(strings.ToLower(value))
	case "bind-nonrecursive":
		b.NonRecursive, err = truth(key, value, given)
	case "bind-create-src":
		b.CreateMountpoint, err = truth(key, value, given)
	case "bind-recursive":
		switch value {
		case "enabled":
			if *b == (mount.BindOptions{}) {
				m.BindOptions = nil
			}
		case "disabled":
			b.NonRecursive = true
		case "writable":
			b.ReadOnlyNonRecursive = true
		case "readonly":
			b.ReadOnlyForceRecursive = true
		default:
			err = errdef.Errorf(errdef.Invalid, "invalid value for %s: %s (must be enabled, disabled, writable, or readonly)", key, value)
		}
	default:
		err = errdef.Errorf(errdef.Invalid, "unexpected key '%s'", key)
	}
	return err
}

func volumeField(m *mount.Mount, key, value string, given bool) error {
	if m.VolumeOptions == nil {
		m.VolumeOptions = &mount.VolumeOptions{}
	}
	v := m.VolumeOptions
	driver := func() *mount.Driver {
		if v.DriverConfig == nil {
			v.DriverConfig = &mount.Driver{}
		}
		return v.DriverConfig
	}
	pair := func(to *map[string]string) {
		k, text, _ := strings.Cut(value, "=")
		if *to == nil {
			*to = map[string]string{}
		}
		(*to)[k] = text
	}
	var err error
	switch key {
	case "volume-nocopy":
		v.NoCopy, err = truth(key, value, given)
	case "volume-subpath":
		v.Subpath = value
	case "volume-label":
		pair(&v.Labels)
	case "volume-driver":
		driver().Name = value
	case "volume-opt":
		pair(&driver().Options)
	default:
		err = errdef.Errorf(errdef.Invalid, "unexpected key '%s'", key)
	}
	return err
}

func tmpfsField(m *mount.Mount, key, value string) error {
	if m.TmpfsOptions == nil {
		m.TmpfsOptions = &mount.TmpfsOptions{}
	}
	switch key {
	case "tmpfs-size":
		n, err := units.RAMInBytes(value)
		if err != nil {
			return errdef.Errorf(errdef.Invalid, "invalid value for %s: %s", key, value)
		}
		m.TmpfsOptions.SizeBytes = n
	case "tmpfs-mode":
		n, err := strconv.ParseUint(value, 8, 12)
		if err != nil {
			return errdef.Errorf(errdef.Invalid, "invalid value for %s: %s: wants an octal number", key, value)
		}
		m.TmpfsOptions.Mode = os.FileMode(n)
	default:
		return errdef.Errorf(errdef.Invalid, "unexpected key '%s'", key)
	}
	return nil
}
