package cgroup

import (
	"sort"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A property of a unit, with the release of systemd that brought it: older ones are not told of it, and the control file alone is written.
type property struct {
	since       int
	name        string
	kind, value string // D-Bus signature, and the value in the form that the helper documents
}

func (p property) line() string {
	return "prop=" + strconv.Itoa(p.since) + ":" + p.name + ":" + p.kind + ":" + p.value
}

// infinity is systemd's "no limit" in a property of type t.
const infinity = "18446744073709551615"

// unitProperties are the resources as systemd knows them (systemd.resource-control(5)). They keep systemd from resetting at its next
// reload what is written into the control files, and everything, those it does not know too, is written there as well.
func unitProperties(mode Mode, res *specs.LinuxResources, devices *filter) ([]property, error) {
	var out []property
	add := func(since int, name, kind, value string) { out = append(out, property{since, name, kind, value}) }
	number := func(v int64) string {
		if v < 0 {
			return infinity
		}
		return strconv.FormatInt(v, 10)
	}
	if devices != nil {
		out = append(out, deviceProperties(devices)...)
	}
	if res == nil {
		return out, nil
	}
	if m := res.Memory; m != nil {
		limit := value(m.Limit)
		switch {
		case limit != 0 && mode == V2:
			add(231, "MemoryMax", "t", number(limit))
		case limit != 0:
			add(0, "MemoryLimit", "t", number(limit))
		}
		if r := value(m.Reservation); r != 0 && mode == V2 {
			add(231, "MemoryLow", "t", number(r))
		}
		if swap := value(m.Swap); mode == V2 && (swap == -1 || swap == 0 && limit == -1) {
			add(232, "MemorySwapMax", "t", infinity)
		} else if mode == V2 && swap > 0 && limit > 0 {
			add(232, "MemorySwapMax", "t", number(swap-limit))
		}
	}
	if res.Pids != nil && res.Pids.Limit != nil {
		limit := *res.Pids.Limit
		if limit == 0 {
			limit = 1
		}
		add(227, "TasksMax", "t", number(limit))
	}
	if res.CPU != nil {
		out = append(out, cpuProperties(mode, res.CPU)...)
	}
	if b := res.BlockIO; b != nil && value(b.Weight) != 0 {
		if mode == V2 {
			add(230, "IOWeight", "t", strconv.FormatUint(ioWeight(*b.Weight), 10))
		} else {
			add(0, "BlockIOWeight", "t", strconv.FormatUint(uint64(*b.Weight), 10))
		}
	}
	return append(out, unifiedProperties(res.Unified)...), nil // last, as the files are written
}

// unifiedNumbers are files of v2 with one number that systemd writes again at each reload, and the properties that it writes them from.
var unifiedNumbers = map[string]property{
	"memory.min": {240, "MemoryMin", "t", ""}, "memory.low": {231, "MemoryLow", "t", ""}, "memory.high": {231, "MemoryHigh", "t", ""},
	"memory.max": {231, "MemoryMax", "t", ""}, "memory.swap.max": {232, "MemorySwapMax", "t", ""}, "memory.zswap.max": {253, "MemoryZSwapMax", "t", ""},
	"pids.max": {227, "TasksMax", "t", ""}, "cpu.weight": {232, "CPUWeight", "t", ""},
}

// unifiedProperties: what systemd has no property for, or writes for its own devices only (io.max), is left alone by it, and the control file
// is enough. A value that makes no sense is the control file's to refuse.
func unifiedProperties(unified map[string]string) []property {
	var out []property
	for _, file := range sortedKeys(unified) {
		val := strings.TrimSpace(unified[file])
		if p, ok := unifiedNumbers[file]; ok {
			p.value = val
			if val == "max" {
				p.value = infinity
			} else if n, err := parseBytes(val); err == nil {
				p.value = strconv.FormatUint(n, 10)
			} else {
				continue
			}
			out = append(out, p)
			continue
		}
		switch file {
		case "cpu.idle":
			if val == "1" {
				out = append(out, property{252, "CPUWeight", "t", "0"})
			}
		case "cpu.max":
			out = append(out, maxProperties(val)...)
		case "cpuset.cpus", "cpuset.mems":
			if mask, ok := bitmask(val); ok {
				name := map[string]string{"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}[file]
				out = append(out, property{244, name, "ay", mask})
			}
		case "io.weight":
			if n, err := strconv.ParseUint(strings.TrimPrefix(val, "default "), 10, 64); err == nil {
				out = append(out, property{230, "IOWeight", "t", strconv.FormatUint(n, 10)})
			}
		case "memory.oom.group":
			if val == "1" { // of a scope since 253, and the policy "continue", a delegated unit's, writes 0
				out = append(out, property{253, "OOMPolicy", "s", "kill"})
			}
		}
	}
	return out
}

// maxProperties are for a cpu.max of "QUOTA", or "QUOTA PERIOD".
func maxProperties(val string) []property {
	first, second, _ := strings.Cut(val, " ")
	cpu := &specs.LinuxCPU{}
	quota, err := strconv.ParseInt(first, 10, 64)
	if first == "max" {
		quota, err = -1, nil
	}
	if err != nil || quota == 0 {
		return nil
	}
	cpu.Quota = &quota
	if period, err := strconv.ParseUint(second, 10, 64); err == nil {
		cpu.Period = &period
	}
	return cpuProperties(V2, cpu)
}

// parseBytes reads a number as memory.max takes it, with K, M, G or T behind it (memparse in lib/cmdline.c).
func parseBytes(text string) (uint64, error) {
	shift := 0
	if n := len(text); n > 0 {
		if i := strings.IndexByte("KMGT", text[n-1]&^0x20); i >= 0 && text[n-1] > '9' {
			shift, text = 10*(i+1), text[:n-1]
		}
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err == nil && n<<shift>>shift != n {
		err = strconv.ErrRange
	}
	return n << shift, err
}

// cpuProperties: systemd counts a quota in microseconds per second and rounds it up to a hundredth of a CPU (10 ms).
func cpuProperties(mode Mode, cpu *specs.LinuxCPU) []property {
	var out []property
	if shares := value(cpu.Shares); shares != 0 {
		if mode != V2 {
			out = append(out, property{0, "CPUShares", "t", strconv.FormatUint(shares, 10)})
		} else if value(cpu.Idle) == 0 {
			out = append(out, property{232, "CPUWeight", "t", strconv.FormatUint(weightOfShares(shares), 10)})
		}
	}
	if mode == V2 && value(cpu.Idle) == 1 {
		out = append(out, property{252, "CPUWeight", "t", "0"})
	}
	quota, period := value(cpu.Quota), value(cpu.Period)
	if period != 0 {
		out = append(out, property{242, "CPUQuotaPeriodUSec", "t", strconv.FormatUint(period, 10)})
	}
	if quota > 0 {
		if period == 0 {
			period = 100_000
		}
		perSec := (uint64(quota)*1_000_000/period + 9999) / 10_000 * 10_000
		out = append(out, property{0, "CPUQuotaPerSecUSec", "t", strconv.FormatUint(perSec, 10)})
	} else if quota < 0 {
		out = append(out, property{0, "CPUQuotaPerSecUSec", "t", infinity})
	}
	for _, l := range []struct{ name, list string }{{"AllowedCPUs", cpu.Cpus}, {"AllowedMemoryNodes", cpu.Mems}} {
		if mask, ok := bitmask(l.list); ok {
			out = append(out, property{244, l.name, "ay", mask})
		}
	}
	return out
}

// bitmask turns a list such as "0-3,7" into the bytes, least significant first, in hexadecimal, that systemd takes.
func bitmask(list string) (string, bool) {
	const most = 1 << 16
	var bits []byte
	for _, part := range strings.Split(strings.TrimSpace(list), ",") {
		from, to, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(from)
		b := a
		if isRange && err == nil {
			b, err = strconv.Atoi(to)
		}
		if err != nil || a < 0 || b < a || b >= most {
			return "", false
		}
		for n := a; n <= b; n++ {
			for len(bits) <= n/8 {
				bits = append(bits, 0)
			}
			bits[n/8] |= 1 << (n % 8)
		}
	}
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 2*len(bits))
	for _, b := range bits {
		out = append(out, digits[b>>4], digits[b&15])
	}
	return string(out), true
}

// deviceProperties: systemd has a policy and a list of what is allowed besides. It filters by its own program or list, beside ours, so what
// it cannot express is left open here ("auto" and an empty list allow all) and closed by ours.
func deviceProperties(f *filter) []property {
	open := []property{{0, "DevicePolicy", "s", "auto"}, {0, "DeviceAllow", "a(ss)", ""}}
	if f.allow {
		return open
	}
	rules, err := f.exceptions()
	if err != nil {
		return open
	}
	var entries []string
	for _, r := range rules {
		path, ok := devicePath(r)
		if !ok {
			return open
		}
		fields := strings.Fields(r.String())
		entries = append(entries, path+" "+fields[2])
	}
	sort.Strings(entries)
	return []property{{0, "DevicePolicy", "s", "strict"}, {0, "DeviceAllow", "a(ss)", ""}, {0, "DeviceAllow", "a(ss)", strings.Join(entries, ",")}}
}

// devicePath is how DeviceAllow names devices: by number (since 240 the node need not exist), by kind alone, or by the name that the
// kernel has for a major number, which we know for the one that matters.
func devicePath(r rule) (string, bool) {
	kind := map[uint32]string{kindBlock: "block", kindChar: "char"}[r.kind]
	switch {
	case r.major == anyNumber && r.minor == anyNumber:
		return kind + "-*", true
	case r.major == 136 && r.kind == kindChar && r.minor == anyNumber:
		return "char-pts", true
	case r.major == anyNumber || r.minor == anyNumber:
		return "", false
	}
	return "/dev/" + kind + "/" + strconv.FormatInt(r.major, 10) + ":" + strconv.FormatInt(r.minor, 10), true
}
