package runflags

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// A Request is what a line asks for.
type Request struct {
	Image  string
	Config container.Config
	Host   container.HostConfig

	Secrets        []Secret
	UIDMap, GIDMap []string
	MountOptions   map[string][]string // of --mount, by target: those that Docker has no field for
	Rootfs         string              // a directory instead of an image, with its options
	Networks       map[string]*network.EndpointSettings
}

// A Body is what is sent to create a container: Docker's, and what Docker has no field for.
type Body struct {
	container.CreateRequest
	Bulkhead *Extra `json:",omitempty"`
}

// Extra is what Docker has no field for.
type Extra struct {
	Secrets        []Secret            `json:",omitempty"`
	UIDMap, GIDMap []string            `json:",omitempty"`
	MountOptions   map[string][]string `json:",omitempty"`
	Rootfs         string              `json:",omitempty"`
}

// Ours is a flag of the line that an engine which is not Bulkhead would pass over, "" if there is none.
func (q *Request) Ours() string {
	switch {
	case len(q.Secrets) > 0:
		return "--secret"
	case len(q.UIDMap)+len(q.GIDMap) > 0:
		return "--uidmap"
	case len(q.MountOptions) > 0:
		return "--mount"
	case q.Rootfs != "":
		return "--rootfs"
	}
	return ""
}

// Body is what is sent.
func (q *Request) Body() *Body {
	b := &Body{CreateRequest: container.CreateRequest{Config: &q.Config, HostConfig: &q.Host, NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: q.Networks}}}
	if len(q.Secrets)+len(q.UIDMap)+len(q.GIDMap)+len(q.MountOptions)+len(q.Rootfs) > 0 {
		b.Bulkhead = &Extra{q.Secrets, q.UIDMap, q.GIDMap, q.MountOptions, q.Rootfs}
	}
	return b
}

// Request returns what the flags and the words after them ask for: the image, and the command.
func (f *Flags) Request(args []string) (*Request, error) {
	if len(args) == 0 {
		return nil, errdef.Errorf(errdef.Invalid, "requires at least 1 argument: the image")
	}
	q := &Request{Image: args[0]}
	q.Config.Image = args[0]
	if f.rootfs {
		path, options, more := strings.Cut(args[0], ":")
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, bad("rootfs", path, err.Error())
		}
		if q.Image, q.Config.Image, q.Rootfs = "", abs, abs; more {
			q.Rootfs += ":" + options
		}
	}
	if len(args) > 1 {
		q.Config.Cmd = args[1:]
	}
	for _, step := range []func(*Request) error{f.program, f.streams, f.isolation, f.devicesAndOptions, f.files, f.amounts, f.names, f.logging, f.health, f.readSecrets} {
		if err := step(q); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// bad is an error of one flag.
func bad(flag, value, why string) error {
	return errdef.Errorf(errdef.Invalid, "--%s %.128q: %s", flag, value, why)
}

func (f *Flags) program(q *Request) error {
	c := &q.Config
	c.Tty, c.OpenStdin, c.User, c.WorkingDir, c.Hostname, c.Domainname, c.StopSignal = f.TTY, f.Interactive, f.user, f.workdir, f.hostname, f.domainname, f.stopSignal
	if f.set.Changed("entrypoint") {
		c.Entrypoint = entrypoint(f.entrypoint)
	}
	if f.set.Changed("stop-timeout") {
		c.StopTimeout = &f.stopTimeout
	}
	q.Host.AutoRemove, q.Host.GroupAdd, q.Host.ContainerIDFile = f.Remove, f.groupAdd, f.CIDFile
	if slices.Contains(f.groupAdd, "keep-groups") {
		return errdef.Errorf(errdef.Unsupported, "--group-add keep-groups: the caller's groups are the host's, and mean nothing inside")
	}
	if f.set.Changed("init") {
		q.Host.Init = &f.init
	}
	if f.umask != "" {
		n, err := strconv.ParseUint(f.umask, 8, 9)
		if err != nil {
			return bad("umask", f.umask, "wants an octal number up to 0777")
		}
		mask := uint32(n)
		q.Host.Umask = &mask
	}
	var err error
	if c.Env, err = Variables(f.envFile, f.env); err != nil {
		return err
	}
	if c.Labels, err = f.labelled(); err != nil {
		return err
	}
	if q.Host.RestartPolicy, err = f.limits.restartPolicy(); err != nil {
		return err
	}
	if f.Remove && !q.Host.RestartPolicy.IsNone() {
		return errdef.Errorf(errdef.Invalid, "conflicting options: cannot specify both --restart and --rm")
	}
	return nil
}

// entrypoint is a word, or Podman's array of JSON.
func entrypoint(text string) []string {
	var words []string
	if strings.HasPrefix(text, "[") && json.Unmarshal([]byte(text), &words) == nil {
		return words
	}
	return []string{text}
}

// streams says which of them are attached.
func (f *Flags) streams(q *Request) error {
	c := &q.Config
	for _, a := range f.Attach {
		switch strings.ToLower(a) {
		case "stdin":
			c.AttachStdin = true
		case "stdout":
			c.AttachStdout = true
		case "stderr":
			c.AttachStderr = true
		default:
			return bad("attach", a, "valid streams are STDIN, STDOUT and STDERR")
		}
	}
	if len(f.Attach) == 0 {
		c.AttachStdout, c.AttachStderr = true, true
	}
	c.AttachStdin = c.AttachStdin || f.Interactive
	c.StdinOnce = c.OpenStdin && c.AttachStdin
	return nil
}

func (f *Flags) isolation(q *Request) error {
	h := &q.Host
	h.CapAdd, h.CapDrop, h.Privileged, h.ReadonlyRootfs = words(f.capAdd), words(f.capDrop), f.privileged, f.readOnly
	h.UsernsMode, h.PidMode, h.IpcMode, h.UTSMode = container.UsernsMode(f.userns), container.PidMode(f.pid), container.IpcMode(f.ipc), container.UTSMode(f.uts)
	if q.UIDMap, q.GIDMap = f.uidmap, f.gidmap; len(f.uidmap)+len(f.gidmap) > 0 && f.userns != "" {
		return errdef.Errorf(errdef.Invalid, "--userns and --uidmap, --gidmap are mutually exclusive")
	}
	h.CgroupnsMode = container.CgroupnsMode(f.cgroupns)
	for _, o := range f.securityOpt {
		key, value, ok := strings.Cut(o, "=")
		if !ok && key != "no-new-privileges" {
			key, value, ok = strings.Cut(o, ":")
		}
		switch {
		case (!ok || value == "") && key != "no-new-privileges":
			return bad("security-opt", o, "wants KEY=VALUE")
		case o == "systempaths=unconfined":
			h.MaskedPaths, h.ReadonlyPaths = []string{}, []string{}
			continue
		case key == "seccomp" && value != "unconfined" && value != "builtin":
			profile, err := profile(value)
			if err != nil {
				return err
			}
			o = "seccomp=" + profile
		}
		h.SecurityOpt = append(h.SecurityOpt, o)
	}
	if f.level != "" {
		h.SecurityOpt = append(h.SecurityOpt, "level="+f.level)
	}
	if len(f.allow) > 0 {
		h.SecurityOpt = append(h.SecurityOpt, "allow="+strings.Join(f.allow, ","))
	}
	return nil
}

// words splits at commas: capabilities may be listed so.
func words(list []string) []string {
	var out []string
	for _, text := range list {
		for _, w := range strings.Split(text, ",") {
			if w = strings.TrimSpace(w); w != "" {
				out = append(out, w)
			}
		}
	}
	return out
}

// profile is a seccomp profile: the file's, or the value itself if that is JSON.
func profile(value string) (string, error) {
	data := []byte(value)
	if !strings.HasPrefix(value, "{") {
		st, err := os.Stat(value)
		if err == nil && st.Size() > maxFile {
			return "", bad("security-opt", "seccomp="+value, "larger than 4 MiB")
		}
		if err == nil {
			data, err = os.ReadFile(value)
		}
		if err != nil {
			return "", errdef.Errorf(errdef.NotFound, "--security-opt: opening seccomp profile (%s): %w", value, err)
		}
	}
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		return "", errdef.Errorf(errdef.Invalid, "--security-opt: seccomp profile (%.128s): %w", value, err)
	}
	return b.String(), nil
}

var deviceRule = regexp.MustCompile(`^[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}$`)

// devicesAndOptions are nodes, their rules, kernel parameters and annotations.
func (f *Flags) devicesAndOptions(q *Request) error {
	h := &q.Host
	for _, r := range f.deviceRules {
		if !deviceRule.MatchString(r) {
			return bad("device-cgroup-rule", r, "wants TYPE MAJOR:MINOR ACCESS, as in c 13:* rwm")
		}
	}
	h.DeviceCgroupRules = f.deviceRules
	for _, d := range f.devices {
		m, err := device(d)
		if err != nil {
			return err
		}
		h.Devices = append(h.Devices, m)
	}
	var err error
	if h.Sysctls, err = pairs("sysctl", f.sysctls, false); err != nil {
		return err
	}
	h.Annotations, err = pairs("annotation", f.annotations, true)
	return err
}

// device reads HOST[:CONTAINER][:rwm].
func device(text string) (container.DeviceMapping, error) {
	parts := strings.Split(text, ":")
	m := container.DeviceMapping{PathOnHost: parts[0], PathInContainer: parts[0], CgroupPermissions: "rwm"}
	mode := func(s string) bool { return s != "" && strings.Trim(s, "rwm") == "" && len(s) <= 3 }
	switch {
	case len(parts) > 3 || parts[0] == "":
		return m, bad("device", text, "wants HOST[:CONTAINER[:rwm]]")
	case len(parts) == 2 && mode(parts[1]):
		m.CgroupPermissions = parts[1]
	case len(parts) == 2:
		m.PathInContainer = parts[1]
	case len(parts) == 3:
		if !mode(parts[2]) {
			return m, bad("device", text, "bad mode specified: "+parts[2])
		}
		m.PathInContainer, m.CgroupPermissions = parts[1], parts[2]
	}
	if !strings.HasPrefix(m.PathOnHost, "/") || !strings.HasPrefix(m.PathInContainer, "/") {
		return m, bad("device", text, "is not an absolute path")
	}
	return m, nil
}

func (f *Flags) amounts(q *Request) error {
	h := &q.Host
	if err := f.limits.apply(&h.Resources); err != nil {
		return err
	}
	if err := amount("shm-size", f.shmSize, &h.ShmSize); err != nil {
		return err
	}
	h.CgroupParent = f.cgroupParent
	var err error
	if h.StorageOpt, err = pairs("storage-opt", f.storageOpt, false); err != nil {
		return err
	}
	if f.set.Changed("oom-kill-disable") {
		h.OomKillDisable = &f.oomKillDisable
	}
	h.OomScoreAdj = f.oomScoreAdj
	for _, text := range f.ulimits {
		u, err := units.ParseUlimit(text)
		if err != nil {
			return bad("ulimit", text, err.Error())
		}
		h.Ulimits = slices.DeleteFunc(h.Ulimits, func(o *container.Ulimit) bool { return o.Name == u.Name }) // the last one holds
		h.Ulimits = append(h.Ulimits, u)
	}
	slices.SortFunc(h.Ulimits, func(a, b *container.Ulimit) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// names are hosts, resolvers and ports.
func (f *Flags) names(q *Request) error {
	h := &q.Host
	h.DNSOptions, h.DNSSearch = f.dnsOptions, f.dnsSearch
	if err := f.networks.apply(q); err != nil {
		return err
	}
	for _, text := range f.addHost {
		name, address, ok := strings.Cut(text, "=")
		if !ok || strings.Contains(name, ":") {
			name, address, ok = strings.Cut(text, ":")
		}
		address = strings.Trim(address, "[]")
		if _, err := netip.ParseAddr(address); !ok || name == "" || err != nil && address != "host-gateway" {
			return bad("add-host", text, "wants HOST:ADDRESS")
		}
		h.ExtraHosts = append(h.ExtraHosts, name+":"+address)
	}
	for _, text := range f.dns {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return bad("dns", text, "is no address")
		}
		h.DNS = append(h.DNS, a)
	}
	for _, text := range f.expose {
		ports, err := network.ParsePortRange(text)
		if err != nil {
			return bad("expose", text, err.Error())
		}
		if q.Config.ExposedPorts == nil {
			q.Config.ExposedPorts = network.PortSet{}
		}
		for p := range ports.All() {
			q.Config.ExposedPorts[p] = struct{}{}
		}
	}
	return nil
}

func (f *Flags) logging(q *Request) error {
	var err error
	q.Host.LogConfig.Type = f.logDriver
	if q.Host.LogConfig.Config, err = pairs("log-opt", f.logOpts, true); err != nil {
		return err
	}
	if f.logDriver == "none" && len(f.logOpts) > 0 {
		return bad("log-opt", f.logOpts[0], "invalid logging opts for driver none")
	}
	return nil
}

// onUnhealthy is the annotation that carries --health-on-failure.
const onUnhealthy = "bulkhead.health-on-failure"

func (f *Flags) health(q *Request) error {
	set := f.healthCmd != "" || f.healthInterval != 0 || f.healthTimeout != 0 || f.healthStartPeriod != 0 || f.healthStartInterval != 0 || f.healthRetries != 0
	if f.healthOnFailure != "" {
		if q.Host.Annotations == nil {
			q.Host.Annotations = map[string]string{}
		}
		q.Host.Annotations[onUnhealthy] = f.healthOnFailure
	}
	if f.noHealth || f.healthCmd == "none" {
		if set && f.noHealth {
			return errdef.Errorf(errdef.Invalid, "--no-healthcheck conflicts with --health-* options")
		}
		q.Config.Healthcheck = &container.HealthConfig{Test: []string{"NONE"}}
		return nil
	}
	if !set {
		return nil
	}
	h := &container.HealthConfig{
		Interval: f.healthInterval, Timeout: f.healthTimeout, StartPeriod: f.healthStartPeriod, StartInterval: f.healthStartInterval, Retries: f.healthRetries,
	}
	for flag, negative := range map[string]bool{
		"interval": h.Interval < 0, "timeout": h.Timeout < 0, "start-period": h.StartPeriod < 0, "start-interval": h.StartInterval < 0, "retries": h.Retries < 0,
	} {
		if negative {
			return errdef.Errorf(errdef.Invalid, "--health-%s cannot be negative", flag)
		}
	}
	if f.healthCmd != "" {
		h.Test = []string{"CMD-SHELL", f.healthCmd}
	}
	q.Config.Healthcheck = h
	return nil
}
