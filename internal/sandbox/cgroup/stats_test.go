package cgroup

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseStats(t *testing.T) {
	check := func(name string, got, want any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	check("keys", parseKeys("user 12\nbad\nx y\nmax max\nneg -1\n"), map[string]uint64{"user": 12, "max": math.MaxUint64, "neg": 0})
	check("psi", parsePSI("some avg10=1.50 avg60=0.25 avg300=0.00 total=77\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=3\n\nnonsense\n"),
		&PSI{Some: Pressure{1.5, 0.25, 0, 77}, Full: Pressure{0.5, 0, 0, 3}})
	check("no psi", parsePSI("\n"), (*PSI)(nil))
	check("list", parseList("0-2,5\n"), []uint16{0, 1, 2, 5})
	check("bad lists", append(parseList(""), parseList("a-b,-,3-1,99999999")...), []uint16(nil))
	check("blkio", parseBlkio("8:0 Read 12\n8:0 Total 12\n8:16 7\nTotal 12\nx:y Read 1\n8:0 Read x\n"),
		[]BlkioEntry{{8, 0, "Read", 12}, {8, 0, "Total", 12}, {8, 16, "", 7}})
	check("rdma", parseRDMA("mlx4_0 hca_handle=2 hca_object=max\nx\n\n"), []RDMAEntry{{"mlx4_0", 2, math.MaxUint32}})
	var io BlkioStats
	io.parseIO("254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=9\n254:1\nnonsense rbytes=1\n")
	check("io", io, BlkioStats{
		IoServiceBytesRecursive: []BlkioEntry{{254, 0, "Read", 1}, {254, 0, "Write", 2}, {254, 0, "Discard", 5}},
		IoServicedRecursive:     []BlkioEntry{{254, 0, "Read", 3}, {254, 0, "Write", 4}, {254, 0, "Discard", 6}},
	})
	check("pids", parsePIDs("1\n22\n0\n-4\nx\n\n333"), []int{1, 22, 333})
	check("event", keyed("populated 1\nfrozen 0\n", "frozen"), "0")
}

// What previous returns brings back what the file said.
func TestPrevious(t *testing.T) {
	for _, c := range []struct{ file, text, device, written, want string }{
		{"memory.max", "max\n", "", "5", "max"},
		{"cpu.max", "max 100000\n", "", "5 6", "max 100000"},
		{"memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", "", "1", "0"},
		{"io.max", "8:0 rbps=1 wbps=max riops=max wiops=max\n", "8:0", "8:0 rbps=2", "8:0 rbps=1 wbps=max riops=max wiops=max"},
		{"io.max", "", "8:0", "8:0 rbps=2", "8:0 rbps=max"},
		{"io.weight", "default 100\n8:16 50\n", "", "default 7", "default 100"},
		{"io.weight", "default 100\n8:16 50\n", "8:16", "8:16 7", "8:16 50"},
		{"io.bfq.weight", "default 100\n", "8:0", "8:0 7", "8:0 default"},
		{"blkio.throttle.read_bps_device", "8:1 7\n", "8:0", "8:0 9", "8:0 0"},
		{"misc.max", "res_a max\nres_b 10\n", "", "res_b 3", "res_b 10"},
		{"rdma.max", "a hca_handle=1 hca_object=max\n", "a", "a hca_handle=2", "a hca_handle=1 hca_object=max"},
	} {
		if got, ok := previous(c.file, c.text, c.device, c.written); !ok || got != c.want {
			t.Errorf("%s %q: %q, %v, want %q", c.file, c.text, got, ok, c.want)
		}
	}
	if got, ok := previous("some.file", "a 1\nb 2\n", "", "c"); ok {
		t.Errorf("a file of several lines, none of which is meant: %q", got)
	}
}

// TestOOMOfEvents: what is told when systemd removes the scope between two reads is less, never something else.
func TestOOMOfEvents(t *testing.T) {
	const own, below, none = "low 0\noom 1\noom_kill 1\n", "oom 0\noom_kill 0\n", "oom 0\noom_kill 0\n"
	for _, tc := range []struct {
		name, local, all string
		kills            uint64
		cause            string
	}{
		{"own limit", own, own, 1, CauseLimit},
		{"gone after the first", own, "", 1, CauseLimit},
		{"gone before", "", "", 0, CauseAbove},
		{"Linux 5.1", "", own, 1, CauseLimit},
		{"a group below", below, own, 1, CauseBelow},
		{"above", "oom 0\noom_kill 2\n", "oom 0\noom_kill 2\n", 2, CauseAbove},
		{"nothing", none, none, 0, CauseAbove},
	} {
		if o := oomOfEvents(4096, tc.local, tc.all); o != (OOM{Kills: tc.kills, Limit: 4096, Cause: tc.cause}) {
			t.Errorf("%s: %+v", tc.name, o)
		}
	}
	for want, o := range map[string]OOM{
		"out of memory: the kernel killed 1 process: the container's limit is 4096 bytes": {Kills: 1, Limit: 4096, Cause: CauseLimit},
		"out of memory: the kernel killed 2 processes: the container's limit":             {Kills: 2, Limit: math.MaxUint64, Cause: CauseLimit},
	} {
		if got := o.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
