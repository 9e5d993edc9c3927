package command

import (
	"context"
	"errors"
	"flag"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/ocijson"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/bundle"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// maxResources bounds a file of resources, in bytes.
const maxResources = 1 << 20

// updateFlags are texts, because an empty one changes nothing and 0 does.
type updateFlags struct {
	file   string
	values map[string]*string
}

// limits are the flags that set one number each.
var limits = []struct{ name, usage string }{
	{"blkio-weight", "block I/O `WEIGHT`, 10 to 1000"},
	{"cpu-period", "CFS period in `USECS`, 0 for the system's"},
	{"cpu-quota", "CFS quota in `USECS` per period, -1 for none"},
	{"cpu-burst", "CFS burst in `USECS`"},
	{"cpu-share", "CPU `SHARES`, relative to other containers"},
	{"cpu-rt-period", "real-time period in `USECS`"},
	{"cpu-rt-runtime", "real-time runtime in `USECS` per period"},
	{"cpu-idle", "`0|1`: 1 lets it run only when nobody else does (SCHED_IDLE)"},
	{"cpuset-cpus", "`CPUS` that it may run on: 0-2,4"},
	{"cpuset-mems", "memory `NODES` that it may use"},
	{"memory", "memory limit in `BYTES`, or with k, m, g; -1 for none"},
	{"memory-reservation", "soft memory limit in `BYTES`"},
	{"memory-swap", "memory and swap together in `BYTES`, -1 for unlimited swap"},
	{"pids-limit", "at most `N` processes, -1 for no limit"},
	{"l3-cache-schema", "L3 cache `SCHEMA` of Intel RDT/CAT"},
	{"mem-bw-schema", "memory bandwidth `SCHEMA` of Intel RDT/MBA"},
	{"kernel-memory", ""},
	{"kernel-memory-tcp", ""},
}

func updateCommand() *command {
	u := &updateFlags{values: map[string]*string{}}
	return &command{
		name: "update", args: containerArg, summary: "change the limits of a container", min: 1, max: 1,
		text: "What is not named stays as it is. With --resources the file says it all, and no other flag counts; it has the form of linux.resources\n" +
			"in config.json.",
		flags: func(f *flag.FlagSet) {
			f.StringVar(&u.file, "resources", "", "`FILE` or pipe with the limits as JSON, - for standard input")
			alias(f, "r", "resources")
			for _, l := range limits {
				u.values[l.name] = f.String(l.name, "", l.usage)
			}
		},
		run: func(ctx context.Context, inv *invocation) (int, error) {
			if *u.values["kernel-memory"]+*u.values["kernel-memory-tcp"] != "" {
				inv.log.warn(errors.New("update: kernel memory limits are ignored: Linux has none any more"))
			}
			res, err := u.resources(inv.in)
			if err != nil {
				return 0, err
			}
			return 0, inv.rt.Update(ctx, inv.args[0], res, u.rdt())
		},
	}
}

// rdt returns the schemas, nil for none.
func (u *updateFlags) rdt() *specs.LinuxIntelRdt {
	cache, bandwidth := *u.values["l3-cache-schema"], *u.values["mem-bw-schema"]
	if cache == "" && bandwidth == "" {
		return nil
	}
	return &specs.LinuxIntelRdt{L3CacheSchema: cache, MemBwSchema: bandwidth}
}

// resources returns the limits that the flags, or the file, say.
func (u *updateFlags) resources(stdin io.Reader) (*specs.LinuxResources, error) {
	var res *specs.LinuxResources
	var err error
	if u.file != "" {
		res, err = readResources(u.file, stdin)
	} else {
		res, err = u.fromFlags()
	}
	if err != nil {
		return nil, err
	}
	// An unlimited memory with a limit of memory and swap together makes no sense; who lifts the one means the other.
	if m := res.Memory; m != nil && m.Limit != nil && *m.Limit == -1 && m.Swap == nil {
		unlimited := int64(-1)
		m.Swap = &unlimited
	}
	return res, nil
}

func readResources(path string, stdin io.Reader) (*specs.LinuxResources, error) {
	var data []byte
	var err error
	if path == "-" {
		data, err = io.ReadAll(io.LimitReader(stdin, maxResources+1))
	} else {
		data, err = bundle.ReadInput(path, maxResources)
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.KindOf(err), "read resources: %w", err)
	}
	if len(data) > maxResources {
		return nil, errdef.Errorf(errdef.Invalid, "read resources: more than %d bytes", maxResources)
	}
	res := &specs.LinuxResources{}
	if err := ocijson.UnmarshalResources(data, res); err != nil {
		return nil, errdef.Errorf(errdef.Invalid, "read resources: %w", err)
	}
	return res, nil
}

func (u *updateFlags) fromFlags() (*specs.LinuxResources, error) {
	cpu := &specs.LinuxCPU{Cpus: *u.values["cpuset-cpus"], Mems: *u.values["cpuset-mems"]}
	memory, pids, block := &specs.LinuxMemory{}, &specs.LinuxPids{}, &specs.LinuxBlockIO{}
	var weight *uint64
	for name, dst := range map[string]any{
		"blkio-weight": &weight, "cpu-period": &cpu.Period, "cpu-quota": &cpu.Quota, "cpu-burst": &cpu.Burst, "cpu-share": &cpu.Shares,
		"cpu-rt-period": &cpu.RealtimePeriod, "cpu-rt-runtime": &cpu.RealtimeRuntime, "cpu-idle": &cpu.Idle, "pids-limit": &pids.Limit,
	} {
		if err := u.number(name, dst); err != nil {
			return nil, err
		}
	}
	for name, dst := range map[string]**int64{
		"memory": &memory.Limit, "memory-reservation": &memory.Reservation, "memory-swap": &memory.Swap,
	} {
		text := *u.values[name]
		if text == "" {
			continue
		}
		n, err := parseBytes(text)
		if err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "invalid value for %s: %w", name, err)
		}
		*dst = &n
	}
	res := &specs.LinuxResources{CPU: cpu, Memory: memory}
	if pids.Limit != nil {
		res.Pids = pids
	}
	if weight != nil {
		if *weight > math.MaxUint16 {
			return nil, errdef.Errorf(errdef.Invalid, "invalid value for blkio-weight: %d is more than 1000", *weight)
		}
		w := uint16(*weight)
		block.Weight = &w
		res.BlockIO = block
	}
	return res, nil
}

// number reads the value of a flag, if it has one, into a **int64 or **uint64.
func (u *updateFlags) number(name string, dst any) error {
	text := *u.values[name]
	if text == "" {
		return nil
	}
	var err error
	switch dst := dst.(type) {
	case **uint64:
		var n uint64
		n, err = strconv.ParseUint(text, 10, 64)
		*dst = &n
	case **int64:
		var n int64
		n, err = strconv.ParseInt(text, 10, 64)
		*dst = &n
	}
	if err != nil {
		return errdef.Errorf(errdef.Invalid, "invalid value for %s: %q is no number that it can have", name, text)
	}
	return nil
}

// parseBytes reads a size as Docker's tools write it: a number, perhaps with a fraction, and b, k, m, g, t or p in either case, perhaps
// followed by b or ib, in powers of 1024. -1 is -1.
func parseBytes(text string) (int64, error) {
	if text == "-1" {
		return -1, nil
	}
	bad := errdef.Errorf(errdef.Invalid, "%q is no size: want a number, perhaps with b, k, m, g, t or p", text)
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit := strings.ToLower(text[len(digits):])
	digits = strings.TrimSuffix(digits, " ")
	if digits == "" || strings.Trim(digits, "0123456789.") != "" {
		return 0, bad
	}
	shift := 0
	if unit != "" && unit != "b" {
		shift = strings.Index("kmgtp", unit[:1]) + 1
		if rest := unit[1:]; shift == 0 || rest != "" && rest != "b" && rest != "ib" {
			return 0, bad
		}
	}
	if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
		if n > math.MaxInt64>>(10*shift) {
			return 0, bad
		}
		return n << (10 * shift), nil
	}
	n, err := strconv.ParseFloat(digits, 64)
	n *= float64(int64(1) << (10 * shift))
	if err != nil || n >= math.MaxInt64 {
		return 0, bad
	}
	return int64(n), nil
}
