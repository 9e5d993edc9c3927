package runflags

import (
	"github.com/spf13/pflag"
)

// Flags are the values of the command line. The zero value is a line without flags.
type Flags struct {
	set *pflag.FlagSet

	// What the command itself looks at.
	Detach, Interactive, TTY, Remove, Quiet bool
	SigProxy                                bool
	Name, CIDFile, Pull, Platform           string
	Attach                                  []string

	addHost, annotations, blkioWeightDevice, capAdd, capDrop, devices, deviceRules, dns, dnsOptions, dnsSearch []string
	readBps, readIOps, writeBps, writeIOps                                                                     []string
	env, envFile, expose, groupAdd, labels, labelFile, logOpts, mounts, securityOpt, sysctls                   []string
	tmpfs, ulimits, volumes, allow                                                                             []string
	cgroupParent, cgroupns, cpus, cpusetCpus, cpusetMems, domainname, entrypoint, hostname, ipc, level         string
	logDriver, memory, memoryReservation, memorySwap, network, pid, restart, shmSize, stopSignal, umask        string
	user, userns, uts, workdir                                                                                 string
	blkioWeight                                                                                                uint16
	cpuPeriod, cpuQuota, cpuRTPeriod, cpuRTRuntime, cpuShares, swappiness, pidsLimit                           int64
	oomScoreAdj, stopTimeout                                                                                   int
	init, oomKillDisable, privileged, readOnly, noHealth                                                       bool
}

// A Refused is a flag of Docker's or Podman's that this engine does not honour.
type Refused struct{ Name, Short, Why string }

// Refusals are all of them, for the command to register.
func Refusals() []Refused { return refused }

var refused = []Refused{
	{"publish", "p", "published ports come with networks, which are not there yet; --network host has the host's ports"},
	{"publish-all", "P", "published ports come with networks, which are not there yet"},
	{"ip", "", "addresses come with networks, which are not there yet"},
	{"ip6", "", "addresses come with networks, which are not there yet"},
	{"mac-address", "", "addresses come with networks, which are not there yet"},
	{"network-alias", "", "networks with names are not there yet"},
	{"net-alias", "", "networks with names are not there yet"},
	{"link", "", "links were Docker's before there were networks with names"},
	{"egress", "", "egress rules come with networks, which are not there yet"},
	{"volumes-from", "", "name the volumes"},
	{"volume-driver", "", "there are no volume drivers"},
	{"storage-opt", "", "the layers of containers have no limit of size"},
	{"gpus", "", "devices by driver are not supported; name the nodes with --device"},
	{"runtime", "", "other runtimes are not supported yet"},
	{"isolation", "", "is Windows'"},
	{"kernel-memory", "", "the kernel has dropped it (cgroup v2, and v1 since 5.4)"},
	{"disable-content-trust", "", "signatures are not there yet"},
	{"explain", "", "is not there yet; bulkhead-runtime explain shows the plan of a bundle"},
	{"secret", "", "secrets are not there yet"},
	{"detach-keys", "", "detaching from a running container by keys is not there yet"},
	{"health-cmd", "", "health checks are not there yet"},
	{"health-interval", "", "health checks are not there yet"},
	{"health-timeout", "", "health checks are not there yet"},
	{"health-start-period", "", "health checks are not there yet"},
	{"health-start-interval", "", "health checks are not there yet"},
	{"health-retries", "", "health checks are not there yet"},
	{"link-local-ip", "", "addresses come with networks, which are not there yet"},
	{"cgroups", "", "containers without a cgroup have no limits, and are not supported"},
	{"pod", "", "there are no pods"},
	{"rootfs", "", "import the directory as an image: tar -c DIR | bulkhead import -"},
	{"sdnotify", "", "is not supported yet"},
	{"systemd", "", "is not supported yet"},
}

// Register declares the flags.
func (f *Flags) Register(s *pflag.FlagSet) {
	f.set = s
	s.SetInterspersed(false) // what follows the image is the program's
	f.registerRun(s)
	f.registerIsolation(s)
	f.registerLimits(s)
	f.registerRest(s)
}

func (f *Flags) registerRun(s *pflag.FlagSet) {
	s.BoolVarP(&f.Interactive, "interactive", "i", false, "keep standard input open")
	s.BoolVarP(&f.TTY, "tty", "t", false, "give it a terminal")
	s.StringVar(&f.Name, "name", "", "name of the container")
	s.StringVar(&f.CIDFile, "cidfile", "", "write the id to this `file`")
	s.StringVar(&f.Pull, "pull", "missing", "pull the image: always, missing, never, newer")
	s.StringVar(&f.Platform, "platform", "", "of which platform the image is: os/arch[/variant]")
	s.BoolVarP(&f.Quiet, "quiet", "q", false, "show no progress of a pull")
	s.BoolVar(&f.Remove, "rm", false, "remove the container when it ends")
	s.StringArrayVarP(&f.Attach, "attach", "a", nil, "attach to stdin, stdout or stderr")
	s.StringVar(&f.entrypoint, "entrypoint", "", "instead of the image's")
	s.StringArrayVarP(&f.env, "env", "e", nil, "set a variable: NAME=VALUE, or NAME for the caller's own")
	s.StringArrayVar(&f.envFile, "env-file", nil, "variables from a `file`")
	s.StringVarP(&f.user, "user", "u", "", "name or number, and :group")
	s.StringArrayVar(&f.groupAdd, "group-add", nil, "one more group")
	s.StringVarP(&f.workdir, "workdir", "w", "", "working directory")
	s.StringVarP(&f.hostname, "hostname", "h", "", "host name")
	s.StringVar(&f.domainname, "domainname", "", "NIS domain name")
	s.StringArrayVarP(&f.labels, "label", "l", nil, "label: KEY[=VALUE]")
	s.StringArrayVar(&f.labelFile, "label-file", nil, "labels from a `file`")
	s.StringArrayVar(&f.annotations, "annotation", nil, "annotation of the OCI configuration: KEY=VALUE")
	s.StringVar(&f.restart, "restart", "no", "no, on-failure[:MAX], always, unless-stopped")
	s.StringVar(&f.stopSignal, "stop-signal", "", "signal that asks it to end")
	s.IntVar(&f.stopTimeout, "stop-timeout", 0, "seconds it has for that")
	s.BoolVar(&f.init, "init", false, "an init process that reaps and forwards signals")
	s.StringVar(&f.umask, "umask", "", "octal")
}

func (f *Flags) registerIsolation(s *pflag.FlagSet) {
	s.StringVar(&f.level, "level", "", "how much is taken away: untrusted, hardened (the default), compat (as Docker does)")
	s.StringSliceVar(&f.allow, "allow", nil, "a group of system calls that the level refuses: io_uring, ptrace, userns, af=can ...")
	s.StringArrayVar(&f.capAdd, "cap-add", nil, "add a capability")
	s.StringArrayVar(&f.capDrop, "cap-drop", nil, "drop a capability, or ALL")
	s.StringArrayVar(&f.securityOpt, "security-opt", nil, "no-new-privileges, seccomp=, apparmor=, label=, mask=, unmask=, systempaths=")
	s.BoolVar(&f.privileged, "privileged", false, "switch nearly all protections off")
	s.BoolVar(&f.readOnly, "read-only", false, "the root file system cannot be written")
	s.StringVar(&f.userns, "userns", "", "user namespace: host, or a range of its own (the default)")
	s.StringVar(&f.pid, "pid", "", "pid namespace: host, container:NAME")
	s.StringVar(&f.ipc, "ipc", "", "ipc namespace: none, private, shareable, host, container:NAME")
	s.StringVar(&f.uts, "uts", "", "uts namespace: host")
	s.StringVar(&f.cgroupns, "cgroupns", "", "cgroup namespace: host, private")
	s.StringVar(&f.network, "network", "", "network namespace: none, host, container:NAME")
	s.StringVar(&f.network, "net", "", "the same")
	s.Lookup("net").Hidden = true
	s.StringArrayVar(&f.devices, "device", nil, "device node: HOST[:CONTAINER[:rwm]]")
	s.StringArrayVar(&f.deviceRules, "device-cgroup-rule", nil, "rule for device nodes: c 13:* rwm")
	s.StringArrayVar(&f.sysctls, "sysctl", nil, "kernel parameter of its own namespaces: NAME=VALUE")
	s.StringArrayVarP(&f.volumes, "volume", "v", nil, "[SOURCE:]DESTINATION[:OPTIONS]")
	s.StringArrayVar(&f.mounts, "mount", nil, "type=bind|volume|tmpfs,source=,target=,...")
	s.StringArrayVar(&f.tmpfs, "tmpfs", nil, "DESTINATION[:OPTIONS]")
}

func (f *Flags) registerLimits(s *pflag.FlagSet) {
	s.StringVarP(&f.memory, "memory", "m", "", "bytes, with b, k, m, g")
	s.StringVar(&f.memoryReservation, "memory-reservation", "", "bytes that are its own when memory runs short")
	s.StringVar(&f.memorySwap, "memory-swap", "", "memory and swap together; -1: no limit of swap")
	s.Int64Var(&f.swappiness, "memory-swappiness", -1, "0 to 100")
	s.StringVar(&f.cpus, "cpus", "", "number of processors, such as 1.5")
	s.Int64VarP(&f.cpuShares, "cpu-shares", "c", 0, "relative weight")
	s.Int64Var(&f.cpuPeriod, "cpu-period", 0, "microseconds")
	s.Int64Var(&f.cpuQuota, "cpu-quota", 0, "microseconds")
	s.Int64Var(&f.cpuRTPeriod, "cpu-rt-period", 0, "microseconds")
	s.Int64Var(&f.cpuRTRuntime, "cpu-rt-runtime", 0, "microseconds")
	s.StringVar(&f.cpusetCpus, "cpuset-cpus", "", "processors: 0-3, 0,1")
	s.StringVar(&f.cpusetMems, "cpuset-mems", "", "memory nodes")
	s.Int64Var(&f.pidsLimit, "pids-limit", 0, "processes; -1: no limit")
	s.Uint16Var(&f.blkioWeight, "blkio-weight", 0, "10 to 1000")
	s.StringArrayVar(&f.blkioWeightDevice, "blkio-weight-device", nil, "DEVICE:WEIGHT")
	s.StringArrayVar(&f.readBps, "device-read-bps", nil, "DEVICE:BYTES per second")
	s.StringArrayVar(&f.readIOps, "device-read-iops", nil, "DEVICE:NUMBER per second")
	s.StringArrayVar(&f.writeBps, "device-write-bps", nil, "DEVICE:BYTES per second")
	s.StringArrayVar(&f.writeIOps, "device-write-iops", nil, "DEVICE:NUMBER per second")
	s.StringVar(&f.shmSize, "shm-size", "", "bytes of /dev/shm")
	s.StringArrayVar(&f.ulimits, "ulimit", nil, "NAME=SOFT[:HARD]")
	s.BoolVar(&f.oomKillDisable, "oom-kill-disable", false, "do not end it when memory runs out (cgroup v1)")
	s.IntVar(&f.oomScoreAdj, "oom-score-adj", 0, "-1000 to 1000")
	s.StringVar(&f.cgroupParent, "cgroup-parent", "", "cgroup that its own is made in")
}

func (f *Flags) registerRest(s *pflag.FlagSet) {
	s.StringArrayVar(&f.addHost, "add-host", nil, "line of /etc/hosts: HOST:ADDRESS")
	s.StringArrayVar(&f.dns, "dns", nil, "resolver")
	s.StringArrayVar(&f.dnsOptions, "dns-option", nil, "option of the resolver")
	s.StringArrayVar(&f.dnsOptions, "dns-opt", nil, "the same")
	s.Lookup("dns-opt").Hidden = true
	s.StringArrayVar(&f.dnsSearch, "dns-search", nil, "search domain")
	s.StringArrayVar(&f.expose, "expose", nil, "port that the program listens on, for people")
	s.StringVar(&f.logDriver, "log-driver", "", "json-file, none")
	s.StringArrayVar(&f.logOpts, "log-opt", nil, "max-size=, max-file=")
	s.BoolVar(&f.noHealth, "no-healthcheck", false, "not the image's health check")
}
