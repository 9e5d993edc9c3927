package runflags

// A Refused is a flag of Docker's or Podman's that this engine does not honour.
type Refused struct {
	Name, Short, Why string
	Hint             string
	Boolean          bool
	Allow            string // a value that asks for nothing
}

const (
	networks  = "networks with names and addresses are not there yet"
	published = "published ports come with networks, which are not there yet"
	ranges    = "ranges are the engine's, and not those of a user in /etc/subuid"
	windows   = "is Windows'"
)

var refused = []Refused{
	{Name: "publish", Short: "p", Why: published, Hint: "--network host has the host's ports"},
	{Name: "publish-all", Short: "P", Why: published, Hint: "--network host has the host's ports", Boolean: true, Allow: "false"},
	{Name: "ip", Why: networks},
	{Name: "ip6", Why: networks},
	{Name: "link-local-ip", Why: networks},
	{Name: "mac-address", Why: networks},
	{Name: "network-alias", Why: networks},
	{Name: "net-alias", Why: networks},
	{Name: "link", Why: "links were Docker's before there were networks with names"},
	{Name: "egress", Why: "egress rules come with networks, which are not there yet"},
	{Name: "volume-driver", Why: "there are no drivers but local", Allow: "local"},
	{Name: "storage-opt", Why: "the layers of containers have no limit of size", Hint: "a volume or a tmpfs can have one: --tmpfs /data:size=1g"},
	{Name: "gpus", Why: "devices by driver are not supported", Hint: "name the nodes: --device /dev/..."},
	{Name: "runtime", Why: "containers are started by bulkhead-monitor, which has the runtime in itself", Allow: "bulkhead"},
	{Name: "isolation", Why: windows, Allow: "default"},
	{Name: "cpu-count", Why: windows},
	{Name: "cpu-percent", Why: windows},
	{Name: "io-maxbandwidth", Why: windows},
	{Name: "io-maxiops", Why: windows},
	{Name: "kernel-memory", Why: "the kernel has dropped it (cgroup v2, and v1 since 5.4)"},
	{Name: "disable-content-trust", Why: "signatures are not verified yet, so there is nothing to switch off", Hint: "leave it away; digests are always verified", Boolean: true},
	{Name: "subuidname", Why: ranges, Hint: "--uidmap says the ids"},
	{Name: "subgidname", Why: ranges, Hint: "--gidmap says the ids"},
	{Name: "cgroups", Why: "containers without a cgroup have no limits", Allow: "enabled"},
	{Name: "pod", Why: "there are no pods"},
	{Name: "rootfs", Why: "a directory that others can change is no image", Hint: "import it: tar -C DIR -c . | bulkhead import - NAME", Boolean: true, Allow: "false"},
	{Name: "sdnotify", Why: "the socket of systemd stays outside", Allow: "ignore"},
	{Name: "systemd", Why: "systemd in a container is not supported", Allow: "false"},
	{Name: "use-api-socket", Why: "who can speak to the engine is root on the host", Boolean: true, Allow: "false"},
}

// Refusals are all of them, for the command to register.
func Refusals() []Refused { return refused }
