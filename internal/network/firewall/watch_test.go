package firewall

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Whoever removes our tables is noticed, and they come back; containers that start and end wake nobody.
func TestWatch(t *testing.T) {
	s := newSpace(t)
	all := example()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	woken, done := make(chan struct{}, 100), make(chan error, 1)
	s.Do(func() {
		if err := Restore(all); err != nil {
			t.Error(err)
		}
	})
	ready := make(chan struct{})
	go s.Do(func() {
		close(ready)
		done <- Watch(ctx, func() {
			if _, err := Repair(all); err != nil {
				t.Error(err)
			}
			woken <- struct{}{}
		})
	})
	<-ready
	wait := func(what string) {
		t.Helper()
		for end := time.Now().Add(soon); ; {
			s.Run("nft", what)
			select {
			case <-woken:
				for whole := false; !whole; { // it may have been woken by the one before
					s.Do(func() {
						var err error
						if whole, err = intact(all); err != nil {
							t.Error(err)
							whole = true
						}
					})
					if time.Now().After(end) {
						t.Errorf("%s: not repaired", what)
						return
					}
				}
				return
			case <-time.After(time.Second): // it may not have listened yet
			}
			if time.Now().After(end) {
				t.Errorf("%s: not noticed", what)
				return
			}
			s.Do(func() {
				if err := Restore(all); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wait("flush ruleset")
	wait("delete table bridge bulkhead")
	wait("flush chain inet bulkhead leaving")

	quietly := func() (n int) {
		for { // until it is quiet
			select {
			case <-woken:
				n++
			case <-time.After(time.Second):
				return n
			}
		}
	}
	quietly()
	d := defaultNet()
	s.Do(func() {
		for range 5 {
			a := network.Attached{Network: d, Endpoint: end(d, "9", "short", "9")}
			if err := Add(a); err != nil {
				t.Error(err)
			}
			if err := Remove(a, false); err != nil {
				t.Error(err)
			}
		}
	})
	if n := quietly(); n > 0 {
		t.Errorf("woken %d times by containers", n)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(soon):
		t.Error("goes on when its context is done")
	}
}

// A flow of UDP to a port that nobody published goes to the container that publishes it, and not into the void for as long as the client sends.
func TestFlows(t *testing.T) {
	w := newWorld(t)
	d := defaultNet()
	web := end(d, "1", "web", "2")
	w.host.Run("nft", "add table inet x; add chain inet x i { type filter hook input priority 0; }; add rule inet x i ct state new counter") // tracks connections
	w.lan.Run("bash", "-c", "exec 3<>/dev/udp/192.0.2.1/5353; printf x >&3")
	any4 := network.Port{Protocol: "udp", Container: 53, First: 5353, Last: 5353}
	any4.Host = w.addr("192.0.2.1")
	w.publish(d, web, any4)
	c := w.attach(d, web, false)
	c.Serve("web", "udp", "10.89.0.2:53")
	w.lan.reaches("udp", "192.0.2.1:5353", "web 192.0.2.2")
	flows := func() (n int) {
		w.host.Do(func() {
			c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			list, err := c.Execute(ctMessage(ctGet, netlink.Dump, unix.AF_INET, nil))
			if err != nil {
				t.Error(err)
			}
			for _, m := range list {
				if f, ok := parseFlow(m.Data); ok && f.orig.dport == 5353 {
					n++
				}
			}
		})
		return n
	}
	if flows() == 0 {
		t.Error("no flow")
	}
	w.host.Do(func() {
		if err := Remove(network.Attached{Network: d, Endpoint: web}, true); err != nil {
			t.Error(err)
		}
	})
	if n := flows(); n > 0 {
		t.Errorf("%d flows are left", n)
	}
}

// What somebody was let do by an address that he had is forgotten with him: flows are judged once.
func TestForget(t *testing.T) {
	w := newWorld(t)
	d := defaultNet()
	gone, stays := end(d, "1", "gone", "2"), end(d, "2", "stays", "3")
	a, b := w.attach(d, gone, false), w.attach(d, stays, false)
	w.lan.Serve("lan", "udp", ":80")
	w.lan.Serve("lan", "tcp", ":80")
	for _, c := range []*space{a, b} {
		for _, protocol := range []string{"udp", "tcp"} {
			c.reaches(protocol, "192.0.2.2:80", "lan 192.0.2.1")
			c.reaches(protocol, "[2001:db8::2]:80", "lan 2001:db8::1")
		}
	}
	flows := func() map[netip.Addr]int {
		out := map[netip.Addr]int{}
		w.host.Do(func() {
			c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
				list, err := c.Execute(ctMessage(ctGet, netlink.Dump, family, nil))
				if err != nil {
					t.Error(err)
				}
				for _, m := range list {
					if f, ok := parseFlow(m.Data); ok {
						out[f.orig.src]++
					}
				}
			}
		})
		return out
	}
	before := flows()
	w.host.Do(func() {
		if err := Forget(network.Attached{Network: d, Endpoint: gone}); err != nil {
			t.Error(err)
		}
	})
	after := flows()
	for _, addr := range gone.Addresses() {
		if before[addr] < 2 || after[addr] > 0 {
			t.Errorf("%s: %d flows, and after it is gone %d", addr, before[addr], after[addr])
		}
	}
	for _, addr := range stays.Addresses() {
		if after[addr] < 2 {
			t.Errorf("%s, which stays: %d flows, then %d", addr, before[addr], after[addr])
		}
	}
}
