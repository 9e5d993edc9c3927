package assemble

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/defaults"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func lines(list []specs.LinuxIDMapping) string {
	var out []string
	for _, m := range list {
		out = append(out, line(m))
	}
	return strings.Join(out, " ")
}

// TestIDs: what flags come to, for a container whose own range begins at 100000.
func TestIDs(t *testing.T) {
	many := []string{}
	for i := range maxMaps {
		many = append(many, fmt.Sprintf("%d:%d:1", 2*i, 1000+i))
	}
	for _, c := range []struct {
		mode       string
		uid, gid   []string
		own        uint32
		uids, gid2 string
	}{
		{"", nil, nil, defaults.IDs, "0:100000:65536", "0:100000:65536"},
		{"auto", nil, nil, defaults.IDs, "0:100000:65536", "0:100000:65536"},
		{"auto:size=10", nil, nil, 10, "0:100000:10", "0:100000:10"},
		{"auto:size=10,uidmapping=3:7:2", nil, nil, 10, "0:100000:3 3:7:2 5:100005:5", "0:100000:10"},
		{"auto:gidmapping=70000:7:1", nil, nil, defaults.IDs, "0:100000:65536", "0:100000:65536 70000:7:1"},
		{"keep-id", nil, nil, 0, "0:0:4294967295", "0:0:4294967295"},
		{"private", []string{"0:5:10"}, nil, 0, "0:5:10", "0:5:10"},
		{"", nil, []string{"0:5"}, 0, "0:5:1", "0:5:1"},
		{"", []string{"0:5:10"}, []string{"0:@6:2"}, 0, "0:5:10", "0:6:2"},
		{"", []string{"0:5:10", "10:15:5"}, nil, 0, "0:5:15", "0:5:15"},
		{"", []string{"0:0:65000", "+100000:1:1"}, nil, 0, "0:0:1 2:2:64998 100000:1:1", "0:0:1 2:2:64998 100000:1:1"},
		{"", []string{"+u1000:1000:1"}, nil, defaults.IDs, "0:100000:1000 1000:1000:1 1001:101001:64535", "0:100000:65536"},
		{"", []string{"0:0:1", "u1:5:1", "g1:6:1"}, nil, 0, "0:0:1 1:5:1", "0:0:1 1:6:1"},
		{"", []string{"+0:0:1"}, nil, defaults.IDs, "0:0:1 1:100001:65535", "0:0:1 1:100001:65535"},
	} {
		i, err := ParseIDs(&container.HostConfig{UsernsMode: container.UsernsMode(c.mode)}, c.uid, c.gid)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		uids, gids, err := i.Maps(100000)
		if err != nil || i.Own != c.own || lines(uids) != c.uids || lines(gids) != c.gid2 {
			t.Errorf("%+v: own %d, %s, %s, %v", c, i.Own, lines(uids), lines(gids), err)
		}
	}
	for want, c := range map[string]struct {
		mode string
		uid  []string
	}{
		"no such mode": {"mine", nil}, "conflicts": {"host", []string{"0:0:1"}}, "no option of keep-id": {"keep-id:size=1", nil}, "wants a number of ids": {"auto:size=0", nil},
		"no option of auto": {"auto:uid=1", nil}, "overlaps": {"", []string{"0:0:2", "5:1:1"}}, "wants INSIDE": {"", []string{"0"}}, "no number": {"", []string{"0:x:1"}},
		"maps nothing": {"", []string{"0:1:0"}}, "past the last": {"", []string{"0:4294967295:1"}}, "nothing is mapped to 0": {"", []string{"1:1:1"}}, "no flag": {"", []string{"x0:1:1"}},
		"341 ranges": {"", append(many, "90000:90000:1")}, "32 bits": {"", []string{"0:4294967296:1"}}, "cannot be known": {"ns:/x", nil},
	} {
		i, err := ParseIDs(&container.HostConfig{UsernsMode: container.UsernsMode(c.mode)}, c.uid, nil)
		if err == nil {
			_, _, err = i.Maps(100000)
		}
		if err == nil || !strings.Contains(err.Error(), want) || errdef.Is(err, errdef.Internal) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if i, err := ParseIDs(&container.HostConfig{SecurityOpt: []string{"level=compat"}}, nil, nil); err != nil || !i.Host {
		t.Errorf("compat: %+v, %v", i, err)
	}
}

// FuzzIDs: whatever is written, the map is one that the kernel takes, or refused.
func FuzzIDs(f *testing.F) {
	for _, seed := range []string{"0:0:65000 +100000:1:1", "+u1000:1000", "0:1:4294967294", "0:5:10 +3:6:4", "g0:0:1 u0:1:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		i, err := ParseIDs(&container.HostConfig{}, strings.Fields(text), nil)
		if err != nil {
			return
		}
		uids, gids, err := i.Maps(defaults.FirstID)
		if err != nil {
			return
		}
		for _, list := range [][]specs.LinuxIDMapping{uids, gids} {
			for n, m := range list {
				if m.Size == 0 || uint64(m.ContainerID)+uint64(m.Size) > allIDs || uint64(m.HostID)+uint64(m.Size) > allIDs {
					t.Fatalf("%q: %s", text, lines(list))
				}
				for _, o := range list[:n] {
					if meet(m.ContainerID, m.Size, o.ContainerID, o.Size) || meet(m.HostID, m.Size, o.HostID, o.Size) {
						t.Fatalf("%q: %s", text, lines(list))
					}
				}
			}
		}
	})
}
