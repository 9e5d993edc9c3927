package explain

import "strings"

// fields are the limits of config.json with the flags that set them.
var fields = map[string]string{
	"memory.limit": "--memory", "memory.swap": "--memory-swap, or twice --memory", "memory.reservation": "--memory-reservation", "memory.swappiness": "--memory-swappiness",
	"memory.disableOOMKiller": "--oom-kill-disable", "cpu.shares": "--cpu-shares", "cpu.quota": "--cpus, --cpu-quota", "cpu.period": "--cpus, --cpu-period",
	"cpu.cpus": "--cpuset-cpus", "cpu.mems": "--cpuset-mems", "cpu.realtimePeriod": "--cpu-rt-period", "cpu.realtimeRuntime": "--cpu-rt-runtime",
	"blockIO.weight": "--blkio-weight", "blockIO.weightDevice": "--blkio-weight-device", "blockIO.throttleReadBpsDevice": "--device-read-bps",
	"blockIO.throttleWriteBpsDevice": "--device-write-bps", "blockIO.throttleReadIOPSDevice": "--device-read-iops", "blockIO.throttleWriteIOPSDevice": "--device-write-iops",
	"devices": "--device, --device-cgroup-rule",
}

// Layer finds what a failed step of a start belongs to: by the text of the runtime's error, "REASON: step N CALL: ERRNO", or a field of config.json. False is for
// an error that says neither.
func Layer(in *Input, text string) (Part, bool) {
	o := compare(in)
	if why, call, ok := strings.Cut(text, ": step "); ok {
		if option, is := strings.CutPrefix(why, "option "); is {
			return o.optioned(option)
		}
		return o.part(why, call)
	}
	_, rest, ok := strings.Cut(text, "linux.resources.")
	if !ok {
		return Part{}, false
	}
	field, _, _ := strings.Cut(rest, ":")
	field, _, _ = strings.Cut(field, "[")
	if field == "pids.limit" {
		for i := range o.list {
			if l := &o.list[i]; l.Kind == "limit" && strings.HasPrefix(l.What, "pids ") {
				return Part{"the limit " + l.What, l.Origin, l.Reason, nil}, true
			}
		}
	}
	flag, ok := fields[field]
	return Part{What: "the limit " + field, Origin: flag}, ok
}

// optioned finds the mount that has an option, if it is one alone.
func (o *origins) optioned(option string) (p Part, found bool) {
	for i := range o.list {
		s := &o.list[i]
		_, options, _ := strings.Cut(s.What, " (")
		if s.Kind != "mount" || !strings.Contains(","+strings.TrimSuffix(options, ")")+",", ","+option+",") {
			continue
		}
		if found {
			return Part{}, false
		}
		p, found = Part{"mount " + s.What, s.Origin, s.Reason, nil}, true
	}
	return p, found
}
