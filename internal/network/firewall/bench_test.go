package firewall

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/network"
)

// BenchmarkAdd is what the firewall costs a start, with 200 others there.
func BenchmarkAdd(b *testing.B) {
	n := defaultNet()
	attached := func(i int) network.Attached {
		e := end(n, "1", fmt.Sprintf("c%d", i), "2")
		e.ID, e.Device = fmt.Sprintf("%012x%052x", i, 0), fmt.Sprintf("bh%08x", i)
		e.MAC = fmt.Sprintf("02:42:0a:59:%02x:%02x", i>>8, i&255)
		e.IPv4 = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 89, byte(i >> 8), byte(i)}), 16)
		e.IPv6 = netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0x89, 14: byte(i >> 8), 15: byte(i)}), 64)
		e.Group = uint16(i)
		return network.Attached{Network: n, Endpoint: e}
	}
	s := newSpace(b)
	s.Do(func() {
		var all []network.Attached
		for i := range 200 {
			all = append(all, attached(i+2))
		}
		if err := Restore(all); err != nil {
			b.Error(err)
			return
		}
		i, before := 1000, spent()
		for b.Loop() {
			i++
			if err := Add(attached(i)); err != nil {
				b.Error(err)
				return
			}
		}
		b.ReportMetric(float64((spent()-before).Microseconds())/float64(b.N), "cpu-µs/op")
	})
}

// spent is the time of processors that the thread has used, in the kernel and outside.
func spent() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_THREAD, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
