package runflags

import (
	"time"

	"github.com/spf13/pflag"
)

// Flags are the values of the command line. The zero value is a line without flags.
type Flags struct {
	set *pflag.FlagSet

	// What the command itself looks at.
	Detach, Interactive, TTY, Remove, Quiet bool
	SigProxy                                bool
	Name, CIDFile, Pull, Platform           string
	DetachKeys                              string
	Attach                                  []string

	limits Limits

	addHost, annotations, capAdd, capDrop, devices, deviceRules, dns, dnsOptions, dnsSearch  []string
	env, envFile, expose, groupAdd, labels, labelFile, logOpts, mounts, securityOpt, sysctls []string
	tmpfs, ulimits, volumes, volumesFrom, allow, secrets, uidmap, gidmap, storageOpt         []string
	cgroupParent, cgroupns, domainname, entrypoint, hostname, ipc, level                     string
	logDriver, pid, shmSize, stopSignal, timezone, umask, user, userns, uts, workdir         string
	networks                                                                                 networkFlags
	healthCmd, healthOnFailure                                                               string
	healthInterval, healthTimeout, healthStartPeriod, healthStartInterval                    time.Duration
	healthRetries, oomScoreAdj, stopTimeout                                                  int
	init, oomKillDisable, privileged, readOnly, readOnlyTmpfs, noHealth, rootfs              bool
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
	s.BoolVar(&f.rootfs, "rootfs", false, "the image is a directory of the host: PATH[:O][:idmap]")
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
	s.StringVar(&f.stopSignal, "stop-signal", "", "signal that asks it to end")
	s.IntVar(&f.stopTimeout, "stop-timeout", 0, "seconds it has for that")
	s.BoolVar(&f.init, "init", false, "an init process that reaps and forwards signals")
	s.StringVar(&f.umask, "umask", "", "octal")
	s.StringVar(&f.timezone, "tz", "", "time zone: Area/City, or local for the host's")
}

func (f *Flags) registerIsolation(s *pflag.FlagSet) {
	s.StringVar(&f.level, "level", "", "how much is taken away: untrusted, hardened (the default), compat (as Docker does)")
	s.StringSliceVar(&f.allow, "allow", nil, "a group of system calls that the level refuses: io_uring, ptrace, userns, af=can ...")
	s.StringArrayVar(&f.capAdd, "cap-add", nil, "add a capability")
	s.StringArrayVar(&f.capDrop, "cap-drop", nil, "drop a capability, or ALL")
	s.StringArrayVar(&f.securityOpt, "security-opt", nil, "no-new-privileges, seccomp=, apparmor=, label=, mask=, unmask=, systempaths=")
	s.BoolVar(&f.privileged, "privileged", false, "switch nearly all protections off")
	s.BoolVar(&f.readOnly, "read-only", false, "the root file system cannot be written")
	s.BoolVar(&f.readOnlyTmpfs, "read-only-tmpfs", false, "with --read-only: /run, /tmp and /var/tmp are empty and can be written")
	s.StringVar(&f.userns, "userns", "", "user namespace: a range of ids of its own (the default), auto[:size=], host, keep-id, container:NAME")
	s.StringArrayVar(&f.uidmap, "uidmap", nil, "user ids: [+]INSIDE:HOST[:SIZE], where + changes the range of its own")
	s.StringArrayVar(&f.gidmap, "gidmap", nil, "group ids, likewise; one of the two is for both")
	s.StringVar(&f.pid, "pid", "", "pid namespace: host, container:NAME")
	s.StringVar(&f.ipc, "ipc", "", "ipc namespace: none, private, shareable, host, container:NAME")
	s.StringVar(&f.uts, "uts", "", "uts namespace: host")
	s.StringVar(&f.cgroupns, "cgroupns", "", "cgroup namespace: host, private")
	f.networks.register(s)
	s.Lookup("net").Hidden = true
	s.StringArrayVar(&f.devices, "device", nil, "device node: HOST[:CONTAINER[:rwm]]")
	s.StringArrayVar(&f.deviceRules, "device-cgroup-rule", nil, "rule for device nodes: c 13:* rwm")
	s.StringArrayVar(&f.sysctls, "sysctl", nil, "kernel parameter of its own namespaces: NAME=VALUE")
	s.StringArrayVarP(&f.volumes, "volume", "v", nil, "[SOURCE:]DESTINATION[:OPTIONS]")
	s.StringArrayVar(&f.mounts, "mount", nil, "type=bind|volume|tmpfs|image,source=,target=,...")
	s.StringArrayVar(&f.secrets, "secret", nil, "a file below /run/secrets that no record has: NAME,src=FILE or NAME,env=VARIABLE")
	s.StringArrayVar(&f.volumesFrom, "volumes-from", nil, "those of another container: NAME[:ro|rw|z]")
	s.StringArrayVar(&f.tmpfs, "tmpfs", nil, "DESTINATION[:OPTIONS]")
}

func (f *Flags) registerLimits(s *pflag.FlagSet) {
	f.limits.Register(s)
	s.StringVar(&f.shmSize, "shm-size", "", "bytes of /dev/shm")
	s.StringArrayVar(&f.storageOpt, "storage-opt", nil, "limit of what it writes into its layer: size=, inodes= (project quotas)")
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
	s.StringVar(&f.logDriver, "log-driver", "", "json-file (the default), journald, syslog, none")
	s.StringArrayVar(&f.logOpts, "log-opt", nil, "option of the driver: max-size=, max-file=, tag=, mode=, ...")
	s.BoolVar(&f.noHealth, "no-healthcheck", false, "not the image's health check")
	s.StringVar(&f.healthCmd, "health-cmd", "", "shell command that finds out whether it is well; none: not the image's")
	s.DurationVar(&f.healthInterval, "health-interval", 0, "time between two checks (default 30s)")
	s.DurationVar(&f.healthTimeout, "health-timeout", 0, "time that a check may take (default 30s)")
	s.DurationVar(&f.healthStartPeriod, "health-start-period", 0, "time after the start in which a failure does not count")
	s.DurationVar(&f.healthStartInterval, "health-start-interval", 0, "time between two checks in that time (default 5s)")
	s.IntVar(&f.healthRetries, "health-retries", 0, "failures in a row that make it unhealthy (default 3)")
	s.StringVar(&f.healthOnFailure, "health-on-failure", "", "what happens then: none, kill, restart, stop")
}

// RegisterRun declares those of run alone.
func (f *Flags) RegisterRun(s *pflag.FlagSet) {
	s.BoolVarP(&f.Detach, "detach", "d", false, "leave it in the background and print its id")
	s.BoolVar(&f.SigProxy, "sig-proxy", true, "pass signals on to the program")
	s.StringVar(&f.DetachKeys, "detach-keys", "", "keys that leave it running and end this command (default ctrl-p,ctrl-q)")
}
