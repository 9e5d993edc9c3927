package cgroup

import (
	"fmt"
	"math"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

//go:generate go run ../../ocijson/gen -type Record,Stats,OOM

// Whose memory was used up.
const (
	CauseLimit = "limit" // the group's own limit
	CauseBelow = "below" // the limit of a cgroup that the container made below its own
	CauseAbove = "above" // that of a cgroup above, or the whole machine's
)

// OOM is what the kernel has counted of processes that it killed for want of memory.
type OOM struct {
	Kills uint64 `json:"oom_kill"`
	Limit uint64 `json:"limit"`           // of the group, in bytes; 18446744073709551615 without one
	Cause string `json:"cause,omitempty"` // CauseLimit, CauseBelow or CauseAbove; "" without kills
}

// String says it in a sentence, for the user.
func (o OOM) String() string {
	processes := "1 process"
	if o.Kills != 1 {
		processes = strconv.FormatUint(o.Kills, 10) + " processes"
	}
	switch o.Cause {
	case CauseAbove:
		return fmt.Sprintf("out of memory: the kernel killed %s, but not of the container's own limit: a cgroup above it, or the machine, has none left", processes)
	case CauseBelow:
		return fmt.Sprintf("out of memory: the kernel killed %s: the limit of a cgroup that the container made", processes)
	case CauseLimit:
		if o.Limit == math.MaxUint64 {
			return fmt.Sprintf("out of memory: the kernel killed %s: the container's limit", processes)
		}
		return fmt.Sprintf("out of memory: the kernel killed %s: the container's limit is %d bytes", processes, o.Limit)
	}
	return "out of memory: no process was killed"
}

// OOM reads the counters. A group that is gone, or that no hierarchy counts, has none. v1 counts kills since Linux 4.13.
func (g *Group) OOM() (OOM, error) {
	d := g.dirOf("memory")
	if d == nil {
		return OOM{}, nil
	}
	err := d.open()
	if errdef.Is(err, errdef.NotFound) {
		return OOM{}, nil
	}
	if err != nil {
		return OOM{}, err
	}
	r := &reader{d: d}
	if d.unified() {
		return d.oomV2(r)
	}
	o := OOM{Kills: r.keys("memory.oom_control")["oom_kill"], Limit: r.number("memory.limit_in_bytes"), Cause: CauseAbove}
	if o.Limit >= math.MaxInt64>>16<<16 { // PAGE_COUNTER_MAX in whole pages, v1's way to say that there is none
		o.Limit = math.MaxUint64
	}
	// Newer kernels were seen not to count refusals; then the peak tells, which stays below the limit by what is charged at once.
	const batch = 64 * 4096
	if r.number("memory.failcnt")+r.number("memory.memsw.failcnt") > 0 || r.number("memory.max_usage_in_bytes")+2*batch >= o.Limit {
		o.Cause = CauseLimit
	}
	return o.checked(r.err)
}

// oomV2: the limit at which memory ran out counts "oom", and memory.events has the sum of the cgroups below in it (memory.events.local,
// Linux 5.2, has not).
//
// systemd removes an empty scope whenever it hears of it, between any two of these lines. So what decides comes first, and each line
// does with what the ones before it found: the limit, the group's own events, those of all below it.
func (d *dir) oomV2(r *reader) (OOM, error) {
	limit := uint64(math.MaxUint64)
	if text := r.text("memory.max"); text != "" {
		n, err := parseNumber(text)
		if err != nil {
			return OOM{}, errdef.Errorf(errdef.Internal, "memory.max of %s: %q is no number", d.name(), text)
		}
		limit = n
	}
	local, all := r.text("memory.events.local"), r.text("memory.events")
	return oomOfEvents(limit, local, all).checked(r.err)
}

// oomOfEvents judges the texts of memory.events.local and memory.events; one that could not be read is empty.
func oomOfEvents(limit uint64, local, all string) OOM {
	own, sum := parseKeys(local), parseKeys(all)
	o := OOM{Kills: max(own["oom_kill"], sum["oom_kill"]), Limit: limit, Cause: CauseAbove}
	switch {
	case local == "" && sum["oom"] > 0, own["oom"] > 0:
		o.Cause = CauseLimit
	case sum["oom"] > 0:
		o.Cause = CauseBelow
	}
	return o
}

func (o OOM) checked(err error) (OOM, error) {
	if err != nil {
		return OOM{}, err
	}
	if o.Kills == 0 {
		o.Cause = ""
	}
	return o, nil
}
