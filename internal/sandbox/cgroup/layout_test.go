package cgroup

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

const (
	tableV1 = `22 1 0:20 / /sys rw shared:7 - sysfs sysfs rw
25 22 0:23 / /sys/fs/cgroup ro shared:9 - tmpfs tmpfs ro,mode=755
26 25 0:24 / /sys/fs/cgroup/systemd rw shared:10 - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd
30 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:14 - cgroup cgroup rw,cpu,cpuacct
31 25 0:29 / /sys/fs/cgroup/memory rw shared:15 - cgroup cgroup rw,memory
32 25 0:30 / /sys/fs/cgroup/net_cls,net_prio rw - cgroup none rw,net_cls,net_prio
33 25 0:29 / /mnt/memory\040again rw - cgroup cgroup rw,memory
`
	ownV1 = "4:net_cls,net_prio:/\n3:memory:/user/a\n2:cpu,cpuacct:/user/b\n1:name=systemd:/user.slice/x (deleted)\n"
)

func TestLayout(t *testing.T) {
	for _, c := range []struct {
		name, table, own string
		want             Layout
	}{
		{"none", "22 1 0:20 / /sys rw - sysfs sysfs rw\nnonsense\n - cgroup2\n", "", Layout{Mode: None}},
		{"v2", "30 25 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n", "0::/a.slice\n", Layout{V2, []Hierarchy{{nil, "/sys/fs/cgroup", "/", "/a.slice"}}}},
		{
			"v2 elsewhere, with systemd's named hierarchy", "30 25 0:28 / /cg rw - cgroup2 x rw\n31 25 0:29 / /s rw - cgroup x rw,name=systemd\n", "1:name=systemd:/\n0::/\n",
			Layout{V2, []Hierarchy{{nil, "/cg", "/", "/"}}},
		},
		{"v1", tableV1, ownV1, Layout{V1, []Hierarchy{
			{[]string{"name=systemd"}, "/sys/fs/cgroup/systemd", "/", "/user.slice/x"},
			{[]string{"cpu", "cpuacct"}, "/sys/fs/cgroup/cpu,cpuacct", "/", "/user/b"},
			{[]string{"memory"}, "/sys/fs/cgroup/memory", "/", "/user/a"},
			{[]string{"net_cls", "net_prio"}, "/sys/fs/cgroup/net_cls,net_prio", "/", "/"},
		}}},
		{
			"hybrid in a container", "1 0 0:1 /docker/x /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n2 0 0:2 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			"8:pids:/docker/x/y\n0::/docker/x\n",
			Layout{Hybrid, []Hierarchy{
				{[]string{"pids"}, "/sys/fs/cgroup/pids", "/docker/x", "/docker/x/y"}, {nil, "/sys/fs/cgroup/unified", "/", "/docker/x"},
			}},
		},
		{
			"covered by a later mount", "1 0 0:1 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n2 0 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/\n",
			Layout{V2, []Hierarchy{{nil, "/sys/fs/cgroup", "/", "/"}}},
		},
	} {
		got := newLayout(parseMounts(c.table), parseOwn(c.own))
		if got.Hierarchies == nil {
			got.Hierarchies = c.want.Hierarchies
		}
		if diff := cmp.Diff(c.want, *got); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
}

func TestUsualMounts(t *testing.T) {
	const v1, v2 = unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC
	for _, c := range []struct {
		name, self string
		mounts     map[string]int64
		want       []Hierarchy
	}{
		{"v2", "0::/a\n", map[string]int64{"/sys/fs/cgroup": v2}, []Hierarchy{{Mount: "/sys/fs/cgroup"}}},
		{"v2 elsewhere", "0::/a\n", map[string]int64{"/sys/fs/cgroup": unix.TMPFS_MAGIC}, nil},
		{
			"hybrid", "3:cpu,cpuacct:/a\n1:name=systemd:/\n0::/\n",
			map[string]int64{"/sys/fs/cgroup/cpu,cpuacct": v1, "/sys/fs/cgroup/systemd": v1, "/sys/fs/cgroup/unified": v2},
			[]Hierarchy{{Controllers: []string{"cpu", "cpuacct"}, Mount: "/sys/fs/cgroup/cpu,cpuacct"}, {Controllers: []string{"name=systemd"}, Mount: "/sys/fs/cgroup/systemd"}, {Mount: "/sys/fs/cgroup/unified"}},
		},
		{"one is elsewhere", "3:cpu:/a\n2:pids:/\n", map[string]int64{"/sys/fs/cgroup/cpu": v1}, nil},
		{"unified is not mounted", "3:cpu:/a\n0::/\n", map[string]int64{"/sys/fs/cgroup/cpu": v1}, nil},
		{"a name that leads elsewhere", "3:name=../x:/\n", map[string]int64{"/sys/fs/cgroup/../x": v1}, nil},
		{"nonsense", "x\n", nil, nil},
	} {
		got := usualMounts(c.self, func(path string, magic int64) bool { return c.mounts[path] == magic })
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
}

// The short way and the long way find the same on this machine.
func TestDetectAgrees(t *testing.T) {
	short, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	if err := short.findRoots(); err != nil {
		t.Fatal(err)
	}
	self, err := readProc("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	table, err := readProc("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	long := newLayout(parseMounts(table), parseOwn(self))
	byName := cmpopts.SortSlices(func(a, b Hierarchy) bool { return a.Name() < b.Name() })
	if diff := cmp.Diff(long, short, byName); diff != "" {
		t.Error(diff)
	}
}

func TestPaths(t *testing.T) {
	v1 := Layout{V1, []Hierarchy{{[]string{"memory"}, "/m", "/", "/user/a"}}}
	v2 := Layout{V2, []Hierarchy{{nil, "/c", "/", "/user/a"}}}
	inner := Layout{V1, []Hierarchy{{[]string{"memory"}, "/m", "/docker/x", "/docker/x/y"}}}
	top := Layout{V2, []Hierarchy{{nil, "/c", "/", "/"}}}
	for _, c := range []struct {
		l        Layout
		path     string
		rootless bool
		want     string
	}{
		{v1, "/a/b", false, "a/b"},
		{v1, "b", false, "user/a/b"},
		{v1, "", false, "id"},
		{v1, "", true, "user/a/id"},
		{v2, "/a/b", false, "a/b"},
		{v2, "b", false, "user/b"},
		{v2, "", false, "id"},
		{v2, "", true, "user/id"},
		{inner, "b", false, "y/b"},
		{inner, "/b", false, "b"},
		{top, "b", false, "b"},
	} {
		g, err := c.l.Open(c.path, "id", Options{Rootless: c.rootless})
		if err != nil || g.dirs[0].path != c.want {
			t.Errorf("%q, rootless %v: %v, %v, want %s", c.path, c.rootless, g, err, c.want)
		}
	}
	for _, path := range []string{"/", "..", "/..", "/a/../b", "a/..", "a//b", "/a/", "//a", "./a", "/a/.", "/a\x00b", "/a\nb", "/" + strings.Repeat("x", 256), strings.Repeat("/x", 3000)} {
		if g, err := v1.Open(path, "id", Options{}); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%.20q: %v, %v", path, g, err)
		}
		if path == "/" || path[0] != '/' {
			continue
		}
		if g, err := FromRecord(Record{Mode: V2, Dirs: []RecordDir{{Mount: "/c", Path: path[1:]}}}); err == nil {
			t.Errorf("record with %.20q: %v", path, g)
		}
	}
	for _, own := range []string{"/..", "/../x", ""} {
		l := Layout{V1, []Hierarchy{{[]string{"memory"}, "/m", "/", own}}}
		if g, err := l.Open("b", "id", Options{}); !errdef.Is(err, errdef.Unsupported) {
			t.Errorf("relative, own cgroup %q: %v, %v", own, g, err)
		}
	}
	outside := Layout{V1, []Hierarchy{{[]string{"memory"}, "/m", "/docker/x", "/docker/xy"}}}
	if g, err := outside.Open("b", "id", Options{}); !errdef.Is(err, errdef.Unsupported) {
		t.Errorf("relative, own cgroup not below the mount: %v, %v", g, err)
	}
}

func TestUnits(t *testing.T) {
	l := Layout{V2, []Hierarchy{{nil, "/c", "/", "/"}}}
	for _, c := range []struct {
		path     string
		rootless bool
		want     string
	}{
		{"", false, "system.slice/bulkhead-id.scope"},
		{"", true, "user.slice/bulkhead-id.scope"},
		{"system.slice:docker:1234", false, "system.slice/docker-1234.scope"},
		{"a-b-c.slice:cri:1", false, "a.slice/a-b.slice/a-b-c.slice/cri-1.scope"},
		{"-.slice::x", false, "x.scope"},
		{"kube.slice::kube-pod.slice", false, "kube.slice/kube-pod.slice"},
	} {
		g, err := l.Open(c.path, "id", Options{Systemd: true, Rootless: c.rootless})
		if err != nil || g.dirs[0].path != c.want {
			t.Errorf("%q: %v, %v, want %s", c.path, g, err, c.want)
		}
	}
	for _, path := range []string{"/a", "a:b", "a:b:c:d", "x:y:z", "a--b.slice:y:z", "-a.slice:y:z", ".slice:y:z", "s.slice:y:", "s.slice:y:a/b", "s.slice:y:a b", "../s.slice:y:a"} {
		if g, err := l.Open(path, "id", Options{Systemd: true}); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%q: %v, %v", path, g, err)
		}
	}
}

// Whatever the tables say, what comes out can be opened without leaving the mount.
func FuzzLayout(f *testing.F) {
	f.Add(tableV1, ownV1, "a/b")
	f.Add("1 0 0:1 /x /y rw - cgroup2 c rw", "0::/x/../..", "z")
	f.Fuzz(func(t *testing.T, table, own, path string) {
		g, err := newLayout(parseMounts(table), parseOwn(own)).Open(path, "id", Options{})
		if err != nil {
			return
		}
		for _, d := range g.dirs {
			for _, part := range strings.Split(d.path, "/") {
				if part == ".." {
					t.Errorf("%q", d.path)
				}
			}
		}
	})
}
