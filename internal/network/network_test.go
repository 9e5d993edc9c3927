package network

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestDir(t *testing.T) {
	d := Dir(t.TempDir() + "/network")
	unlock, err := d.Lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	net, one := strings.Repeat("a", 64), strings.Repeat("1", 64)
	e := &Endpoint{
		ID: "e", Network: net, Container: one, Name: "web", IPv4: netip.MustParsePrefix("10.1.0.2/16"), Wish: Wish{LinkLocal: []netip.Addr{netip.MustParseAddr("fe80::7")}},
		Ports: []Port{{Protocol: TCP, Container: 80, Host: netip.MustParseAddr("127.0.0.1"), First: 8080, Last: 8080}},
	}
	if _, err := d.Endpoint(net, one); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("an end that is not there: %v", err)
	}
	if err := d.Put(e); err != nil {
		t.Fatal(err)
	}
	all, err := d.Endpoints("")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]*Endpoint{e}, all, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
	if got := e.Addresses(); len(got) != 2 || got[0].String() != "10.1.0.2" || got[1].String() != "fe80::7" {
		t.Errorf("addresses: %v", got)
	}
	if d.Alive(one) {
		t.Error("a container without a monitor lives")
	}
	for range 2 {
		if err := d.Drop(net, one); err != nil {
			t.Error(err)
		}
	}
	if all, err := d.Endpoints(net); err != nil || len(all) != 0 {
		t.Errorf("after the drop: %v, %v", all, err)
	}
}

// TestZero holds the strict meaning of what is not said through JSON and back.
func TestZero(t *testing.T) {
	var n Network
	if err := json.Unmarshal([]byte(`{"Name":"x"}`), &n); err != nil {
		t.Fatal(err)
	}
	if n.Outside || n.Between || n.Masquerade || n.Policy.Open || n.Policy.Metadata || n.Policy.Host || n.Bind.IsValid() {
		t.Errorf("what was not said is open: %+v", n)
	}
}
