package address

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"pgregory.net/rapid"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// TestPools uses up Docker's pools: 15 of /16, 16 of /20, in order, and then says so.
func TestPools(t *testing.T) {
	var used []netip.Prefix
	for {
		p, err := Choose(Pools(), used)
		if err != nil {
			if !errdef.Is(err, errdef.Unavailable) || errdef.Hint(err) == "" {
				t.Errorf("the end of the pools: %v", err)
			}
			break
		}
		used = append(used, p)
	}
	if len(used) != 31 || used[0] != pfx("172.17.0.0/16") || used[14] != pfx("172.31.0.0/16") || used[15] != pfx("192.168.0.0/20") || used[30] != pfx("192.168.240.0/20") {
		t.Errorf("%d: %v", len(used), used)
	}
}

// TestChoose: whatever is used, a chosen subnet overlaps with none of it, is of the pools, and there is no earlier one.
func TestChoose(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		used := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) netip.Prefix {
			base := rapid.SampledFrom([]string{"172.17.0.0", "172.20.0.0", "172.31.255.0", "192.168.0.0", "192.168.255.128", "10.0.0.0", "172.16.0.0", "fd00::"}).Draw(t, "base")
			a := netip.MustParseAddr(base)
			return netip.PrefixFrom(a, rapid.IntRange(1, a.BitLen()).Draw(t, "bits")).Masked()
		}), 0, 12).Draw(t, "used")
		p, err := Choose(Pools(), used)
		var first netip.Prefix
	search:
		for _, pool := range Pools() {
			for q := netip.PrefixFrom(pool.Base.Addr(), pool.Bits); pool.Base.Contains(q.Addr()); q = after(q, pool.Bits) {
				if _, bad := overlapping(q, used); !bad {
					first = q
					break search
				}
			}
		}
		if first.IsValid() != (err == nil) || p != first {
			t.Fatalf("chose %v, %v; the first free is %v of what is not %v", p, err, first, used)
		}
	})
}

// TestChooseFar: a used prefix that covers a whole pool of /64s is passed by at once, not subnet by subnet.
func TestChooseFar(t *testing.T) {
	pool := []Pool{{pfx("fd00::/8"), 64}}
	p, err := Choose(pool, []netip.Prefix{pfx("fd00::/9")})
	if err != nil || p != pfx("fd80::/64") {
		t.Errorf("%v, %v", p, err)
	}
	if _, err := Choose(pool, []netip.Prefix{pfx("::/1"), pfx("8000::/1")}); err == nil {
		t.Error("something is free of nothing")
	}
}

func TestComplete(t *testing.T) {
	aux := map[string]netip.Addr{"router": netip.MustParseAddr("10.0.0.1")}
	for _, c := range []struct {
		in   network.Subnet
		gate string
		err  string
	}{
		{network.Subnet{Prefix: pfx("10.0.0.0/24")}, "10.0.0.1", ""},
		{network.Subnet{Prefix: pfx("10.0.0.0/24"), Auxiliary: aux}, "10.0.0.2", ""},
		{network.Subnet{Prefix: pfx("10.0.0.0/24"), Gateway: netip.MustParseAddr("10.0.0.254"), Range: pfx("10.0.0.128/25")}, "10.0.0.254", ""},
		{network.Subnet{Prefix: pfx("fd00::/64")}, "fd00::1", ""},
		{network.Subnet{}, "", "there is none"},
		{network.Subnet{Prefix: pfx("10.0.0.5/24")}, "", "should be 10.0.0.0/24"},
		{network.Subnet{Prefix: pfx("10.0.0.0/31")}, "", "no room"},
		{network.Subnet{Prefix: pfx("0.0.0.0/0")}, "", "not for networks"},
		{network.Subnet{Prefix: pfx("127.0.0.0/8")}, "", "not for networks"},
		{network.Subnet{Prefix: pfx("224.0.0.0/8")}, "", "not for networks"},
		{network.Subnet{Prefix: pfx("fe80::/64")}, "", "link-local"},
		{network.Subnet{Prefix: pfx("169.254.0.0/16")}, "", "link-local"},
		{network.Subnet{Prefix: pfx("::ffff:10.0.0.0/120")}, "", "is not IPv4"},
		{network.Subnet{Prefix: pfx("10.0.0.0/24"), Range: pfx("10.0.1.0/25")}, "", "not within"},
		{network.Subnet{Prefix: pfx("10.0.0.0/24"), Range: pfx("10.0.0.0/16")}, "", "not within"},
		{network.Subnet{Prefix: pfx("10.0.0.0/24"), Gateway: netip.MustParseAddr("10.0.1.1")}, "", "not within"},
		{network.Subnet{Prefix: pfx("10.0.0.0/24"), Gateway: netip.MustParseAddr("10.0.0.255")}, "", "broadcast"},
		{network.Subnet{Prefix: pfx("10.0.0.0/24"), Gateway: netip.MustParseAddr("10.0.0.0")}, "", "itself"},
		{network.Subnet{Prefix: pfx("10.0.0.0/24"), Gateway: netip.MustParseAddr("10.0.0.1"), Auxiliary: aux}, "", "gateway's"},
		{network.Subnet{Prefix: pfx("10.0.0.0/24"), Auxiliary: map[string]netip.Addr{"x": netip.MustParseAddr("10.0.9.9")}}, "", "not within"},
	} {
		got, err := Complete(c.in)
		switch {
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || !errdef.Is(err, errdef.Invalid)):
			t.Errorf("%+v: %v, want %q", c.in, err, c.err)
		case c.err == "" && (err != nil || got.Gateway.String() != c.gate):
			t.Errorf("%+v: %v, %v", c.in, got.Gateway, err)
		}
	}
}

func TestOverlap(t *testing.T) {
	others := map[string][]netip.Prefix{"network web": {pfx("10.1.0.0/16")}, "the host": {pfx("192.168.1.0/24")}}
	if err := Overlap(pfx("10.2.0.0/16"), others); err != nil {
		t.Error(err)
	}
	if err := Overlap(pfx("10.0.0.0/8"), others); !errdef.Is(err, errdef.Conflict) || !strings.Contains(err.Error(), "network web") {
		t.Error(err)
	}
}

func claims(t *testing.T, alive map[string]bool) Claims {
	return Claims{t.TempDir() + "/addresses", func(o string) bool { return alive[o] }}
}

func TestClaims(t *testing.T) {
	alive := map[string]bool{"a": true, "b": true, "c": true, "d": true}
	c := claims(t, alive)
	s, err := Complete(network.Subnet{Prefix: pfx("10.0.0.0/29"), Auxiliary: map[string]netip.Addr{"x": netip.MustParseAddr("10.0.0.3")}})
	if err != nil {
		t.Fatal(err)
	}
	take := func(wish, owner, want string) {
		t.Helper()
		a := netip.Addr{}
		if wish != "" {
			a = netip.MustParseAddr(wish)
		}
		got, err := c.Take(s, a, owner)
		if want == "" || want[0] < '0' || want[0] > '9' {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s for %s: %v, %v, want %q", wish, owner, got, err, want)
			}
		} else if err != nil || got.String() != want {
			t.Errorf("%s for %s: %v, %v, want %s", wish, owner, got, err, want)
		}
	}
	take("", "a", "10.0.0.2")
	take("", "b", "10.0.0.4")
	take("10.0.0.2", "a", "10.0.0.2")
	take("10.0.0.2", "b", "already in use by container a")
	take("10.0.0.1", "b", "gateway's")
	take("10.0.0.7", "b", "broadcast")
	take("10.0.1.1", "b", "not within")
	take("10.0.0.3", "b", "10.0.0.3") // a reserved one is for who names it
	alive["a"] = false
	take("10.0.0.2", "c", "10.0.0.2")
	take("", "c", "10.0.0.5")
	take("", "c", "10.0.0.6")
	take("", "d", "is full")
	alive["b"] = false
	take("", "d", "10.0.0.4") // a void one, when there is no other
	if err := c.Give(netip.MustParseAddr("10.0.0.4"), "b"); err != nil {
		t.Error(err)
	}
	take("10.0.0.4", "d", "10.0.0.4") // still hers
	alive["c"] = false
	if err := c.Sweep(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(c.Dir); err != nil || len(left) != 1 || left[0].Name() != "10.0.0.4" {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestRace lets many take at once: no address is given twice.
func TestRace(t *testing.T) {
	c := claims(t, nil)
	c.Alive = func(string) bool { return true }
	s, err := Complete(network.Subnet{Prefix: pfx("10.0.0.0/25")})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	got := map[netip.Addr]string{}
	var wg sync.WaitGroup
	full := 0
	for i := range 140 {
		wg.Go(func() {
			owner := fmt.Sprint("owner", i)
			a, err := c.Take(s, netip.Addr{}, owner)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errdef.Is(err, errdef.Unavailable) && errdef.Hint(err) != "":
				full++
			case err != nil:
				t.Error(err)
			case got[a] != "":
				t.Errorf("%s is %s's and %s's", a, got[a], owner)
			default:
				got[a] = owner
			}
		})
	}
	wg.Wait()
	if len(got) != 125 || full != 15 {
		t.Errorf("%d have one, %d have none", len(got), full)
	}
}

func TestPrefix48(t *testing.T) {
	file := t.TempDir() + "/prefix"
	a, err := Prefix48(file)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Prefix48(file)
	if err != nil || a != b || !pfx("fd00::/8").Contains(a.Addr()) || a.Bits() != 48 {
		t.Errorf("%v, %v, %v", a, b, err)
	}
	other, err := Prefix48(t.TempDir() + "/prefix")
	if err != nil || other == a {
		t.Errorf("another engine has %v, %v", other, err)
	}
	for _, bad := range []string{"", "10.0.0.0/8", "fd00::/64", "fd00::"} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Prefix48(file); !errdef.Is(err, errdef.Internal) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParseMAC(f *testing.F) {
	for _, s := range []string{"02:42:ac:11:00:02", "02-42-AC-11-00-02", "01:00:00:00:00:00", "00:00:00:00:00:00", "::::::", "2:2:2:2:2:2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, raw, err := ParseMAC(s)
		if err != nil {
			return
		}
		again, same, err := ParseMAC(text)
		if err != nil || again != text || string(same) != string(raw) || len(raw) != 6 || raw[0]&1 != 0 {
			t.Errorf("%q: %q %x, then %q %x, %v", s, text, raw, again, same, err)
		}
	})
}

func TestMAC(t *testing.T) {
	if got := MAC(netip.MustParseAddr("172.17.0.2")); got != "02:42:ac:11:00:02" {
		t.Error(got)
	}
	for _, a := range []string{"172.17.0.2", "fd00::2", "fd00::3"} {
		if _, _, err := ParseMAC(MAC(netip.MustParseAddr(a))); err != nil {
			t.Error(err)
		}
	}
	if MAC(netip.MustParseAddr("fd00::2")) == MAC(netip.MustParseAddr("fd00::3")) {
		t.Error("two addresses have one hardware address")
	}
	for _, bad := range []string{"", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "01:42:ac:11:00:02", "00:00:00:00:00:00", "02:62:00:00:00:01", "0x:42:ac:11:00:02"} {
		if _, _, err := ParseMAC(bad); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
