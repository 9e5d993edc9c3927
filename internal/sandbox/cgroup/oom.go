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
// The limit comes first: systemd removes an empty scope whenever it hears of it, and a kill with a limit that was not there any more
// would be told with a number that is none.
func (d *dir) oomV2(r *reader) (OOM, error) {
	limit := uint64(math.MaxUint64)
	if r.has("memory.max") {
		limit = r.number("memory.max")
	}
	all := r.keys("memory.events")
	o := OOM{Kills: all["oom_kill"], Limit: limit, Cause: CauseAbove}
	switch {
	case o.Kills == 0: // mostly
	case !r.has("memory.events.local") && all["oom"] > 0, r.keys("memory.events.local")["oom"] > 0:
		o.Cause = CauseLimit
	case all["oom"] > 0:
		o.Cause = CauseBelow
	}
	return o.checked(r.err)
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
