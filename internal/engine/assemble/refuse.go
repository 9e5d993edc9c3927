package assemble

import (
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// refuse names what a request asks for that is not done here. Nothing of a request is passed over.
func refuse(r *Request) error {
	h, c := &r.Host, &r.Config
	mode := string(h.NetworkMode)
	for _, f := range []struct {
		asked bool
		flag  string
		why   string
	}{
		{len(h.Links) > 0, "link", "links of HostConfig were Docker's before there were networks with names; those of an endpoint are honoured"},
		{h.VolumeDriver != "" && h.VolumeDriver != "local", "volume-driver " + h.VolumeDriver, "there are no volume drivers"},
		{len(h.DeviceRequests) > 0, "gpus", "devices by driver are not supported; name the nodes with --device"},
		{!slices.Contains([]string{"", "bulkhead", "bulkhead-runtime"}, h.Runtime), "runtime " + h.Runtime, "containers are started by bulkhead-monitor, which has the runtime in itself"},
		{h.Cgroup != "", "cgroup", "joining the cgroup of another container is not supported"},
		{h.Isolation != "" && h.Isolation != "default", "isolation", "is Windows'"},
		{h.CPUCount+h.CPUPercent > 0 || h.IOMaximumIOps+h.IOMaximumBandwidth > 0, "cpu-count, cpu-percent, io-maxiops, io-maxbandwidth", "are Windows'"},
		{len(h.DNS)+len(h.DNSOptions)+len(h.DNSSearch) > 0 && (mode == "host" || strings.HasPrefix(mode, "container:")), "dns", "a container with another's network has its resolver"},
		{c.NetworkDisabled, "NetworkDisabled", "use network none"},
		{len(c.OnBuild) > 0, "OnBuild", "is an image's, not a container's"},
	} {
		if f.asked {
			return errdef.Errorf(errdef.Unsupported, "%s: %s", f.flag, f.why)
		}
	}
	for flag, list := range map[string][]string{"add-host": h.ExtraHosts, "dns-search": h.DNSSearch, "dns-option": h.DNSOptions} {
		for _, text := range list {
			if strings.ContainsAny(text, "\r\n\x00") {
				return errdef.Errorf(errdef.Invalid, "%s %.128q: holds a line break, and would be more than one line of the container's file", flag, text)
			}
		}
	}
	_, _, err := StorageLimits(h.StorageOpt)
	return err
}

// sysctls sets kernel parameters of namespaces that are the container's own.
func (b *build) sysctls() error {
	for _, key := range keys(b.r.Host.Sysctls) {
		name := strings.ReplaceAll(key, "/", ".")
		kind := specs.LinuxNamespaceType("")
		switch {
		case strings.HasPrefix(name, "net."):
			kind = specs.NetworkNamespace
		case strings.HasPrefix(name, "kernel.msg"), strings.HasPrefix(name, "kernel.shm"), name == "kernel.sem", strings.HasPrefix(name, "fs.mqueue."):
			kind = specs.IPCNamespace
		case name == "kernel.domainname":
			kind = specs.UTSNamespace
		default:
			return errdef.Errorf(errdef.Invalid, "sysctl %.128q: is not separate for each namespace, and would change the host", key)
		}
		at := slices.IndexFunc(b.spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind && n.Path == "" })
		if at < 0 {
			return errdef.Errorf(errdef.Invalid, "sysctl %.128q: the container has no %s namespace of its own", key, kind)
		}
		b.spec.Linux.Sysctl[name] = b.r.Host.Sysctls[key]
	}
	return nil
}
