package network

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	api "github.com/moby/moby/api/types/network"
)

func newService(t *testing.T) *Service {
	t.Helper()
	dir := t.TempDir()
	return New(Options{Root: dir + "/networks", Run: network.Dir(dir + "/run/network"), Warn: func(err error) { t.Log(err) }})
}

func create(t *testing.T, s *Service, q api.CreateRequest) api.Inspect {
	t.Helper()
	r, err := s.Create(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Inspect(context.Background(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func names(t *testing.T, s *Service, f option.Filters) string {
	t.Helper()
	list, err := s.List(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, n := range list {
		out = append(out, n.Name)
	}
	return strings.Join(out, " ")
}

func TestCreate(t *testing.T) {
	s := newService(t)
	ctx := context.Background()
	if got := names(t, s, nil); got != "bridge host none" {
		t.Errorf("an empty engine has %q", got)
	}
	yes, no := true, false
	a := create(t, s, api.CreateRequest{Name: "a", Labels: map[string]string{"x": "1"}})
	if len(a.IPAM.Config) != 1 || a.IPAM.Config[0].Gateway != a.IPAM.Config[0].Subnet.Addr().Next() || a.EnableIPv6 || !a.EnableIPv4 || a.Internal {
		t.Errorf("%+v", a)
	}
	six := create(t, s, api.CreateRequest{Name: "six", EnableIPv6: &yes, EnableIPv4: &no, Internal: true})
	if len(six.IPAM.Config) != 1 || !netip.MustParsePrefix("fd00::/8").Contains(six.IPAM.Config[0].Gateway) || six.EnableIPv4 || !six.Internal {
		t.Errorf("%+v", six)
	}
	own := create(t, s, api.CreateRequest{Name: "own", IPAM: &api.IPAM{Config: []api.IPAMConfig{
		{Subnet: netip.MustParsePrefix("fd00:77::/64")},
		{Subnet: netip.MustParsePrefix("10.251.7.0/24"), IPRange: netip.MustParsePrefix("10.251.7.128/25"), Gateway: netip.MustParseAddr("10.251.7.9"), AuxAddress: map[string]netip.Addr{"r": netip.MustParseAddr("10.251.7.10")}},
	}}, Options: map[string]string{"com.docker.network.bridge.name": "own0", "com.docker.network.driver.mtu": "1400", "com.docker.network.bridge.enable_icc": "false"}})
	if len(own.IPAM.Config) != 2 || own.IPAM.Config[0].Gateway.String() != "10.251.7.9" || !own.EnableIPv6 {
		t.Errorf("%+v", own)
	}
	n, file, err := s.Find(ctx, "own")
	if err != nil || n.Bridge != "own0" || n.MTU != 1400 || n.Between || !n.Outside || !n.Policy.Open {
		t.Errorf("%+v, %v", n, err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	for filter, want := range map[string]string{"driver=bridge": "a bridge own six", "type=builtin": "bridge host none", "type=custom": "a own six", "label=x": "a", "label=x=2": "", "name=o": "host none own", "dangling=true": "a own six"} {
		key, value, _ := strings.Cut(filter, "=")
		if got := names(t, s, option.Filters{key: {value}}); got != want {
			t.Errorf("%s: %q, want %q", filter, got, want)
		}
	}
	if _, err := s.List(ctx, option.Filters{"colour": {"x"}}); !errdef.Is(err, errdef.Invalid) {
		t.Error(err)
	}
	report, err := s.Prune(ctx, option.Filters{"label!": {"x"}})
	if err != nil || strings.Join(report.NetworksDeleted, " ") != "own six" {
		t.Errorf("%v, %v", report, err)
	}
	if err := s.Remove(ctx, a.ID[:10]); err != nil {
		t.Error(err)
	}
	if got := names(t, s, nil); got != "bridge host none" {
		t.Errorf("left: %q", got)
	}
}

func TestRefused(t *testing.T) {
	s := newService(t)
	ctx := context.Background()
	create(t, s, api.CreateRequest{Name: "there", IPAM: &api.IPAM{Config: []api.IPAMConfig{{Subnet: netip.MustParsePrefix("10.251.0.0/16")}}}})
	with := func(prefix string) api.CreateRequest {
		return api.CreateRequest{Name: "x", IPAM: &api.IPAM{Config: []api.IPAMConfig{{Subnet: netip.MustParsePrefix(prefix)}}}}
	}
	option := func(key, value string) api.CreateRequest {
		return api.CreateRequest{Name: "x", Options: map[string]string{key: value}}
	}
	no := false
	for i, c := range []struct {
		q    api.CreateRequest
		kind errdef.Kind
	}{
		{api.CreateRequest{Name: "there"}, errdef.Exists},
		{api.CreateRequest{Name: "bridge"}, errdef.Denied},
		{api.CreateRequest{Name: "host"}, errdef.Denied},
		{api.CreateRequest{Name: ""}, errdef.Invalid},
		{api.CreateRequest{Name: "../x"}, errdef.Invalid},
		{api.CreateRequest{Name: "x", Driver: "overlay"}, errdef.Unsupported},
		{api.CreateRequest{Name: "x", Driver: "host"}, errdef.Denied},
		{api.CreateRequest{Name: "x", EnableIPv4: &no}, errdef.Invalid},
		{with("10.251.9.0/24"), errdef.Conflict},
		{with("10.0.0.0/8"), errdef.Conflict},
		{with("10.250.0.1/24"), errdef.Invalid},
		{with("10.250.0.0/31"), errdef.Invalid},
		{api.CreateRequest{Name: "x", IPAM: &api.IPAM{Config: []api.IPAMConfig{{Gateway: netip.MustParseAddr("10.0.0.1")}}}}, errdef.Invalid},
		{api.CreateRequest{Name: "x", IPAM: &api.IPAM{Driver: "dhcp"}}, errdef.Unsupported},
		{option("com.docker.network.bridge.name", "no/name"), errdef.Invalid},
		{option("com.docker.network.driver.mtu", "10"), errdef.Invalid},
		{option("com.docker.network.driver.mtu", "x"), errdef.Invalid},
		{option("com.docker.network.bridge.enable_icc", "maybe"), errdef.Invalid},
		{option("com.docker.network.bridge.gateway_mode_ipv4", "routed"), errdef.Unsupported},
		{option("colour", "blue"), errdef.Unsupported},
	} {
		if _, err := s.Create(ctx, c.q); !errdef.Is(err, c.kind) {
			t.Errorf("%d: %v", i, err)
		}
	}
	for name, kind := range map[string]errdef.Kind{"bridge": errdef.Denied, "none": errdef.Denied, "absent": errdef.NotFound, "": errdef.NotFound} {
		if err := s.Remove(ctx, name); !errdef.Is(err, kind) {
			t.Errorf("remove %q: %v", name, err)
		}
	}
	if _, _, err := s.Find(ctx, "host"); !errdef.Is(err, errdef.Conflict) {
		t.Error(err)
	}
	if got := names(t, s, nil); got != "bridge host none there" {
		t.Errorf("there is %q", got)
	}
}

// TestRace lets many services, as many processes, make networks at once: no two have a subnet, a name or a bridge in common.
func TestRace(t *testing.T) {
	o := newService(t).o
	ctx := context.Background()
	var wg sync.WaitGroup
	var mu sync.Mutex
	wins := 0
	for i := range 12 {
		wg.Go(func() {
			s := New(o)
			if _, err := s.Create(ctx, api.CreateRequest{Name: fmt.Sprint("n", i)}); err != nil {
				t.Error(err)
			}
			_, err := s.Create(ctx, api.CreateRequest{Name: "same"})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				wins++
			case !errdef.Is(err, errdef.Exists):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if wins != 1 {
		t.Errorf("%d have made the same", wins)
	}
	list, err := New(o).List(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	var seen []netip.Prefix
	for _, n := range list {
		for _, c := range n.IPAM.Config {
			for _, p := range seen {
				if p.Overlaps(c.Subnet) {
					t.Errorf("%s and %s", p, c.Subnet)
				}
			}
			seen = append(seen, c.Subnet)
		}
	}
	if len(seen) != 14 {
		t.Errorf("%d subnets", len(seen))
	}
}

// TestInUse: a network with an end of a container that lives is not removed; with a void one it is.
func TestInUse(t *testing.T) {
	s := newService(t)
	ctx := context.Background()
	n := create(t, s, api.CreateRequest{Name: "n"})
	if err := s.o.Run.Put(&network.Endpoint{ID: strings.Repeat("e", 64), Network: n.ID, Container: strings.Repeat("c", 64), Name: "web", MAC: "02:42:00:00:00:01"}); err != nil {
		t.Fatal(err)
	}
	alive := s.aliveForTest(strings.Repeat("c", 64))
	if err := s.Remove(ctx, "n"); !errdef.Is(err, errdef.Denied) || !strings.Contains(err.Error(), "web") {
		t.Errorf("%v", err)
	}
	if got, err := s.Inspect(ctx, "n"); err != nil || got.Containers[strings.Repeat("c", 64)].Name != "web" {
		t.Errorf("%+v, %v", got, err)
	}
	alive()
	if err := s.Remove(ctx, "n"); err != nil {
		t.Error(err)
	}
}
