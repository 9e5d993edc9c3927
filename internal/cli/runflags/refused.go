package runflags

// A Refused is a flag of Docker's or Podman's that this engine does not honour.
type Refused struct {
	Name, Short, Why string
	Hint             string
	Boolean          bool
	Allow            string // a value that asks for nothing
}

const (
	ranges  = "ranges are the engine's, and not those of a user in /etc/subuid"
	windows = "is Windows'"
)

var refused = []Refused{
	{Name: "volume-driver", Why: "there are no drivers but local", Allow: "local"},
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
	{Name: "sdnotify", Why: "the socket of systemd stays outside", Allow: "ignore"},
	{Name: "systemd", Why: "systemd in a container is not supported", Allow: "false"},
	{Name: "use-api-socket", Why: "who can speak to the engine is root on the host", Boolean: true, Allow: "false"},
}

// Refusals are all of them, for the command to register.
func Refusals() []Refused { return refused }
