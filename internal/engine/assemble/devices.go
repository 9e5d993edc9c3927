package assemble

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// devices adds device nodes, and rules for them.
func (b *build) devices() error {
	h := &b.r.Host
	if h.Privileged {
		return b.allDevices()
	}
	for _, d := range h.Devices {
		if b.r.Facts.Device == nil {
			return errdef.Errorf(errdef.Unsupported, "device %s: this engine knows no devices", d.PathOnHost)
		}
		access := d.CgroupPermissions
		if access == "" {
			access = "rwm"
		}
		if strings.Trim(access, "rwm") != "" {
			return errdef.Errorf(errdef.Invalid, "device %s: permissions %.16q: want a combination of r, w, m", d.PathOnHost, access)
		}
		found, err := b.r.Facts.Device(d.PathOnHost)
		if err != nil {
			return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "device %s: %w", d.PathOnHost, err), errdef.Hint(err))
		}
		for _, node := range found {
			if d.PathInContainer != "" {
				rel, err := filepath.Rel(d.PathOnHost, node.Path)
				if err != nil {
					return errdef.Errorf(errdef.Internal, "device %s: %w", node.Path, err)
				}
				node.Path = filepath.Join(d.PathInContainer, rel)
			}
			b.node(node)
			b.allowDevice(node.Type, &node.Major, &node.Minor, access)
		}
		b.weaker("device "+d.PathOnHost, "the device "+d.PathOnHost+" of the host")
	}
	for _, rule := range h.DeviceCgroupRules {
		if err := b.deviceRule(rule); err != nil {
			return err
		}
	}
	return nil
}

// node adds a device node. A user namespace may not make one (mknod(2)), and the host's own belongs to nobody inside: the engine makes a node for the container, with the owner of the host's as
// that id is inside.
func (b *build) node(d specs.LinuxDevice) {
	if !b.userNS || b.r.Facts.Nodes == "" {
		b.spec.Linux.Devices = append(b.spec.Linux.Devices, d)
		return
	}
	source := filepath.Join(b.r.Facts.Nodes, strconv.Itoa(len(b.out.Nodes)))
	b.replace(specs.Mount{Destination: d.Path, Type: "bind", Source: source, Options: []string{"bind", "nosuid", "noexec"}})
	d.Path = source
	b.out.Nodes = append(b.out.Nodes, d)
}

func (b *build) allowDevice(kind string, major, minor *int64, access string) {
	if b.spec.Linux.Resources == nil {
		return // rootless: the nodes' own modes decide
	}
	rule := specs.LinuxDeviceCgroup{Allow: true, Type: kind, Major: major, Minor: minor, Access: access}
	b.spec.Linux.Resources.Devices = append(b.spec.Linux.Resources.Devices, rule)
}

// allDevices is --privileged's: every node of /dev, and no rule.
func (b *build) allDevices() error {
	if b.r.Facts.Device != nil {
		found, err := b.r.Facts.Device("/dev")
		if err != nil {
			return err
		}
		b.spec.Linux.Devices = append(b.spec.Linux.Devices, found...)
	}
	if b.spec.Linux.Resources != nil {
		b.spec.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	}
	return nil
}

// deviceRule reads a value of --device-cgroup-rule: TYPE MAJOR:MINOR ACCESS, where * stands for any number.
func (b *build) deviceRule(text string) error {
	bad := errdef.Errorf(errdef.Invalid, "device-cgroup-rule %.64q: wants TYPE MAJOR:MINOR ACCESS, as c 13:* rwm", text)
	f := strings.Fields(text)
	if len(f) != 3 || len(f[0]) != 1 || !strings.Contains("abc", f[0]) || f[2] == "" || strings.Trim(f[2], "rwm") != "" {
		return bad
	}
	majorText, minorText, ok := strings.Cut(f[1], ":")
	if !ok {
		return bad
	}
	var numbers [2]*int64
	for i, s := range []string{majorText, minorText} {
		if s == "*" {
			continue
		}
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 0 {
			return bad
		}
		numbers[i] = &n
	}
	b.allowDevice(f[0], numbers[0], numbers[1], f[2])
	b.weaker("device-cgroup-rule "+text, "use of these devices, where their nodes can be made")
	return nil
}
