package runflags

import (
	"bufio"
	"encoding/csv"
	"math/big"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
)

// maxFile bounds what is read on the side of the client, in bytes.
const maxFile = 4 << 20

// A Request is what a line asks for.
type Request struct {
	Image  string
	Config container.Config
	Host   container.HostConfig
}

// Request returns what the flags and the words after them ask for: the image, and the command.
func (f *Flags) Request(args []string) (*Request, error) {
	if len(args) == 0 {
		return nil, errdef.Errorf(errdef.Invalid, "requires at least 1 argument: the image")
	}
	q := &Request{Image: args[0]}
	q.Config.Cmd, q.Config.Image = args[1:], args[0]
	for _, step := range []func(*Request) error{f.program, f.isolation, f.files, f.limits, f.blkio, f.rest} {
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
		c.Entrypoint = []string{f.entrypoint}
	}
	if f.set.Changed("stop-timeout") {
		c.StopTimeout = &f.stopTimeout
	}
	q.Host.AutoRemove, q.Host.GroupAdd = f.Remove, f.groupAdd
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
	if c.Env, err = f.variables(); err != nil {
		return err
	}
	if c.Labels, err = f.labelled(); err != nil {
		return err
	}
	name, most, limited := strings.Cut(f.restart, ":")
	q.Host.RestartPolicy.Name = container.RestartPolicyMode(name)
	if limited {
		if q.Host.RestartPolicy.MaximumRetryCount, err = strconv.Atoi(most); err != nil {
			return bad("restart", f.restart, "maximum retry count must be an integer")
		}
	}
	return nil
}

// lines reads a file of lines; # begins a comment.
func lines(flag, path string) ([]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, errdef.Errorf(errdef.NotFound, "--%s: %w", flag, err)
	}
	defer file.Close()
	if st, err := file.Stat(); err != nil || st.Size() > maxFile {
		return nil, bad(flag, path, "larger than 4 MiB")
	}
	var out []string
	s := bufio.NewScanner(file)
	s.Buffer(nil, maxFile)
	for s.Scan() {
		if l := strings.TrimLeft(s.Text(), " \t"); l != "" && !strings.HasPrefix(l, "#") {
			out = append(out, l)
		}
	}
	if s.Err() != nil {
		return nil, errdef.Errorf(errdef.Invalid, "--%s %s: %w", flag, path, s.Err())
	}
	return out, nil
}

// variables are those of files and then those of flags. A name alone stands for the caller's own variable, if there is one.
func (f *Flags) variables() ([]string, error) {
	var all []string
	for _, path := range f.envFile {
		more, err := lines("env-file", path)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	var out []string
	for _, v := range append(all, f.env...) {
		name, _, assigned := strings.Cut(v, "=")
		if name == "" || strings.ContainsAny(name, " \t\n") {
			return nil, bad("env", v, "wants NAME=VALUE")
		}
		if !assigned {
			value, set := os.LookupEnv(name)
			if !set {
				continue
			}
			v = name + "=" + value
		}
		out = append(out, v)
	}
	return out, nil
}

func (f *Flags) labelled() (map[string]string, error) {
	var all []string
	for _, path := range f.labelFile {
		more, err := lines("label-file", path)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return pairs("label", append(all, f.labels...), true)
}

// pairs reads KEY=VALUE; a key alone has no value if that may be.
func pairs(flag string, list []string, alone bool) (map[string]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	out := map[string]string{}
	for _, text := range list {
		key, value, ok := strings.Cut(text, "=")
		if key == "" || !ok && !alone {
			return nil, bad(flag, text, "wants KEY=VALUE")
		}
		out[key] = value
	}
	return out, nil
}

func (f *Flags) isolation(q *Request) error {
	h := &q.Host
	h.CapAdd, h.CapDrop, h.Privileged, h.ReadonlyRootfs = f.capAdd, f.capDrop, f.privileged, f.readOnly
	h.UsernsMode, h.PidMode, h.IpcMode, h.UTSMode = container.UsernsMode(f.userns), container.PidMode(f.pid), container.IpcMode(f.ipc), container.UTSMode(f.uts)
	h.CgroupnsMode, h.NetworkMode = container.CgroupnsMode(f.cgroupns), container.NetworkMode(f.network)
	for _, o := range f.securityOpt {
		key, value, _ := strings.Cut(o, "=")
		if key == "seccomp" && value != "unconfined" && value != "builtin" && !strings.HasPrefix(value, "{") {
			data, err := os.ReadFile(value)
			if err != nil {
				return errdef.Errorf(errdef.NotFound, "--security-opt: opening seccomp profile (%s): %w", value, err)
			}
			o = "seccomp=" + string(data)
		}
		h.SecurityOpt = append(h.SecurityOpt, o)
	}
	if f.level != "" {
		h.SecurityOpt = append(h.SecurityOpt, "level="+f.level)
	}
	if len(f.allow) > 0 {
		h.SecurityOpt = append(h.SecurityOpt, "allow="+strings.Join(f.allow, ","))
	}
	h.DeviceCgroupRules = f.deviceRules
	for _, d := range f.devices {
		parts := strings.Split(d, ":")
		m := container.DeviceMapping{PathOnHost: parts[0], PathInContainer: parts[0], CgroupPermissions: "rwm"}
		switch {
		case len(parts) > 3 || parts[0] == "":
			return bad("device", d, "wants HOST[:CONTAINER[:rwm]]")
		case len(parts) == 2 && strings.Trim(parts[1], "rwm") == "":
			m.CgroupPermissions = parts[1]
		case len(parts) >= 2:
			m.PathInContainer = parts[1]
		}
		if len(parts) == 3 {
			m.CgroupPermissions = parts[2]
		}
		h.Devices = append(h.Devices, m)
	}
	var err error
	if h.Sysctls, err = pairs("sysctl", f.sysctls, false); err != nil {
		return err
	}
	h.Annotations, err = pairs("annotation", f.annotations, false)
	return err
}

func (f *Flags) files(q *Request) error {
	for _, v := range f.volumes {
		if !strings.Contains(v, ":") {
			if q.Config.Volumes == nil {
				q.Config.Volumes = map[string]struct{}{}
			}
			q.Config.Volumes[v] = struct{}{}
			continue
		}
		q.Host.Binds = append(q.Host.Binds, v)
	}
	for _, t := range f.tmpfs {
		dest, options, _ := strings.Cut(t, ":")
		if q.Host.Tmpfs == nil {
			q.Host.Tmpfs = map[string]string{}
		}
		q.Host.Tmpfs[dest] = options
	}
	for _, text := range f.mounts {
		m, err := parseMount(text)
		if err != nil {
			return err
		}
		q.Host.Mounts = append(q.Host.Mounts, m)
	}
	return nil
}

// parseMount reads a value of --mount: fields of CSV, each KEY or KEY=VALUE.
func parseMount(text string) (mount.Mount, error) {
	m := mount.Mount{Type: mount.TypeVolume}
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return m, bad("mount", text, "wants KEY=VALUE,...")
	}
	for _, field := range fields {
		if err := mountField(&m, field); err != nil {
			return m, bad("mount", text, err.Error())
		}
	}
	if m.Target == "" {
		return m, bad("mount", text, "target is required")
	}
	return m, nil
}

// mountField sets what one field of --mount says.
func mountField(m *mount.Mount, field string) error {
	key, value, given := strings.Cut(field, "=")
	on := true
	if given {
		if b, err := strconv.ParseBool(value); err == nil {
			on = b
		}
	}
	switch key = strings.ToLower(key); key {
	case "type":
		m.Type = mount.Type(strings.ToLower(value))
	case "source", "src":
		m.Source = value
	case "target", "dst", "destination":
		m.Target = value
	case "readonly", "ro":
		m.ReadOnly = on
	case "bind-propagation", "bind-nonrecursive", "bind-create-src":
		if m.BindOptions == nil {
			m.BindOptions = &mount.BindOptions{}
		}
		switch key {
		case "bind-propagation":
			m.BindOptions.Propagation = mount.Propagation(strings.ToLower(value))
		case "bind-nonrecursive":
			m.BindOptions.NonRecursive = on
		default:
			m.BindOptions.CreateMountpoint = on
		}
	case "volume-nocopy":
		m.VolumeOptions = &mount.VolumeOptions{NoCopy: on}
	case "tmpfs-size", "tmpfs-mode":
		return tmpfsField(m, key, value)
	case "consistency": // Docker Desktop's
	default:
		return errdef.Errorf(errdef.Invalid, "unexpected key '%s'", key)
	}
	return nil
}

func tmpfsField(m *mount.Mount, key, value string) error {
	if m.TmpfsOptions == nil {
		m.TmpfsOptions = &mount.TmpfsOptions{}
	}
	if key == "tmpfs-size" {
		n, err := units.RAMInBytes(value)
		m.TmpfsOptions.SizeBytes = n
		return err
	}
	n, err := strconv.ParseUint(value, 8, 12)
	if err != nil {
		return errdef.Errorf(errdef.Invalid, "tmpfs-mode wants an octal number")
	}
	m.TmpfsOptions.Mode = os.FileMode(n)
	return nil
}

// amount reads bytes with a unit.
func amount(flag, text string, to *int64) error {
	if text == "" {
		return nil
	}
	n, err := units.RAMInBytes(text)
	if err != nil {
		return bad(flag, text, "wants a number of bytes, with b, k, m or g")
	}
	*to = n
	return nil
}

func (f *Flags) limits(q *Request) error {
	r := &q.Host.Resources
	for _, a := range []struct {
		flag, text string
		to         *int64
	}{{"memory", f.memory, &r.Memory}, {"memory-reservation", f.memoryReservation, &r.MemoryReservation}, {"shm-size", f.shmSize, &q.Host.ShmSize}} {
		if err := amount(a.flag, a.text, a.to); err != nil {
			return err
		}
	}
	if f.memorySwap == "-1" {
		r.MemorySwap = -1
	} else if err := amount("memory-swap", f.memorySwap, &r.MemorySwap); err != nil {
		return err
	}
	if f.set.Changed("memory-swappiness") {
		r.MemorySwappiness = &f.swappiness
	}
	if f.cpus != "" {
		n, ok := new(big.Rat).SetString(f.cpus)
		if !ok {
			return bad("cpus", f.cpus, "wants a number of processors, such as 1.5")
		}
		nano := n.Mul(n, big.NewRat(1e9, 1))
		if !nano.IsInt() || !nano.Num().IsInt64() {
			return bad("cpus", f.cpus, "is too precise")
		}
		r.NanoCPUs = nano.Num().Int64()
	}
	r.CPUShares, r.CPUPeriod, r.CPUQuota, r.CPURealtimePeriod, r.CPURealtimeRuntime = f.cpuShares, f.cpuPeriod, f.cpuQuota, f.cpuRTPeriod, f.cpuRTRuntime
	r.CpusetCpus, r.CpusetMems, r.CgroupParent = f.cpusetCpus, f.cpusetMems, f.cgroupParent
	if f.set.Changed("pids-limit") {
		r.PidsLimit = &f.pidsLimit
	}
	if f.set.Changed("oom-kill-disable") {
		r.OomKillDisable = &f.oomKillDisable
	}
	q.Host.OomScoreAdj = f.oomScoreAdj
	for _, text := range f.ulimits {
		u, err := units.ParseUlimit(text)
		if err != nil {
			return bad("ulimit", text, err.Error())
		}
		r.Ulimits = append(r.Ulimits, u)
	}
	return nil
}

func (f *Flags) blkio(q *Request) error {
	r := &q.Host.Resources
	r.BlkioWeight = f.blkioWeight
	for _, text := range f.blkioWeightDevice {
		path, number, ok := strings.Cut(text, ":")
		n, err := strconv.ParseUint(number, 10, 16)
		if !ok || err != nil || n < 10 || n > 1000 {
			return bad("blkio-weight-device", text, "wants DEVICE:WEIGHT, 10 to 1000")
		}
		r.BlkioWeightDevice = append(r.BlkioWeightDevice, &blkiodev.WeightDevice{Path: path, Weight: uint16(n)})
	}
	for _, t := range []struct {
		flag  string
		from  []string
		to    *[]*blkiodev.ThrottleDevice
		bytes bool
	}{
		{"device-read-bps", f.readBps, &r.BlkioDeviceReadBps, true},
		{"device-write-bps", f.writeBps, &r.BlkioDeviceWriteBps, true},
		{"device-read-iops", f.readIOps, &r.BlkioDeviceReadIOps, false},
		{"device-write-iops", f.writeIOps, &r.BlkioDeviceWriteIOps, false},
	} {
		for _, text := range t.from {
			path, number, ok := strings.Cut(text, ":")
			n, err := int64(0), error(nil)
			if t.bytes {
				n, err = units.RAMInBytes(number)
			} else {
				n, err = strconv.ParseInt(number, 10, 63)
			}
			if !ok || err != nil || n < 0 {
				return bad(t.flag, text, "wants DEVICE:NUMBER")
			}
			*t.to = append(*t.to, &blkiodev.ThrottleDevice{Path: path, Rate: uint64(n)})
		}
	}
	return nil
}

func (f *Flags) rest(q *Request) error {
	h := &q.Host
	h.ExtraHosts, h.DNSOptions, h.DNSSearch = f.addHost, f.dnsOptions, f.dnsSearch
	for _, text := range f.addHost {
		if host, address, ok := strings.Cut(text, ":"); !ok || host == "" || address == "" {
			return bad("add-host", text, "wants HOST:ADDRESS")
		}
	}
	for _, text := range f.dns {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return bad("dns", text, "is no address")
		}
		h.DNS = append(h.DNS, a)
	}
	for _, text := range f.expose {
		port, err := network.ParsePort(text)
		if err != nil {
			return bad("expose", text, err.Error())
		}
		if q.Config.ExposedPorts == nil {
			q.Config.ExposedPorts = network.PortSet{}
		}
		q.Config.ExposedPorts[port] = struct{}{}
	}
	switch f.logDriver {
	case "", "json-file", "none":
	default:
		return errdef.Errorf(errdef.Unsupported, "--log-driver %.32q: json-file and none are there", f.logDriver)
	}
	var err error
	h.LogConfig.Type = f.logDriver
	h.LogConfig.Config, err = pairs("log-opt", f.logOpts, false)
	for key := range h.LogConfig.Config {
		if key != "max-size" && key != "max-file" {
			return errdef.Errorf(errdef.Unsupported, "--log-opt %.64q: max-size and max-file are there", key)
		}
	}
	if f.noHealth {
		q.Config.Healthcheck = &container.HealthConfig{Test: []string{"NONE"}}
	}
	return err
}
