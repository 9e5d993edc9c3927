package assemble

import (
	"reflect"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
)

// honoured are the fields of Docker's requests that act, here or in the engine; refusedFields are refused by name. What is in neither list is new in the API, and has to be looked at.
const (
	honoured = `Annotations AutoRemove Binds BlkioDeviceReadBps BlkioDeviceReadIOps BlkioDeviceWriteBps BlkioDeviceWriteIOps BlkioWeight BlkioWeightDevice CPUPeriod CPUQuota CPURealtimePeriod
		CPURealtimeRuntime CPUShares CapAdd CapDrop CgroupParent CgroupnsMode ConsoleSize ContainerIDFile CpusetCpus CpusetMems DNS DNSOptions DNSSearch DeviceCgroupRules Devices ExtraHosts GroupAdd
		Init IpcMode LogConfig MaskedPaths Memory MemoryReservation MemorySwap MemorySwappiness Mounts NanoCPUs NetworkMode OomKillDisable OomScoreAdj PidMode PidsLimit PortBindings Privileged
		PublishAllPorts ReadonlyPaths ReadonlyRootfs Resources RestartPolicy Runtime SecurityOpt ShmSize StorageOpt Sysctls Tmpfs UTSMode Ulimits Umask UsernsMode VolumesFrom`
	refusedFields = "CPUCount CPUPercent Cgroup DeviceRequests IOMaximumBandwidth IOMaximumIOps Isolation Links VolumeDriver"
)

// TestFields: no field of a request is passed over.
func TestFields(t *testing.T) {
	known := map[string]bool{}
	for _, name := range strings.Fields(honoured + " " + refusedFields) {
		known[name] = true
	}
	for _, of := range []reflect.Type{reflect.TypeFor[container.HostConfig](), reflect.TypeFor[container.Resources]()} {
		for i := range of.NumField() {
			if name := of.Field(i).Name; !known[name] {
				t.Errorf("%s.%s: is it honoured, or refused?", of.Name(), name)
			}
		}
	}
	for _, name := range strings.Fields(refusedFields) {
		var h container.HostConfig
		v := reflect.ValueOf(&h).Elem().FieldByName(name)
		switch v.Kind() {
		case reflect.String:
			v.SetString("other")
		case reflect.Int64:
			v.SetInt(1)
		case reflect.Uint64:
			v.SetUint(1)
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		default:
			t.Fatalf("%s is a %s", name, v.Kind())
		}
		if _, err := Spec(ask(func(_ *container.Config, to *container.HostConfig) { *to = h })); !errdef.Is(err, errdef.Unsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Spec(ask(func(_ *container.Config, h *container.HostConfig) { h.Runtime = "runc" })); !errdef.Is(err, errdef.Unsupported) {
		t.Errorf("Runtime: %v", err)
	}
}

// TestMountOptions: options of another type are refused, those that Docker has no field for are read as -v has them.
func TestMountOptions(t *testing.T) {
	for want, m := range map[string]mount.Mount{
		"type volume":  {Type: mount.TypeBind, Source: "/a", Target: "/b", VolumeOptions: &mount.VolumeOptions{}},
		"type cluster": {Type: mount.TypeVolume, Source: "vol", Target: "/b", ClusterOptions: &mount.ClusterOptions{}},
		"type image":   {Type: mount.TypeTmpfs, Target: "/b", ImageOptions: &mount.ImageOptions{}},
		"not support":  {Type: mount.TypeNamedPipe, Source: "/a", Target: "/b"},
		"within the":   {Type: mount.TypeVolume, Source: "vol", Target: "/b", VolumeOptions: &mount.VolumeOptions{Subpath: "../x"}},
		"relative":     {Type: mount.TypeImage, Source: "img", Target: "/b", ImageOptions: &mount.ImageOptions{Subpath: "/x"}},
	} {
		if _, err := Points(&container.Config{}, &container.HostConfig{Mounts: []mount.Mount{m}}, Sources{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	h := container.HostConfig{Mounts: []mount.Mount{
		{Type: mount.TypeBind, Source: "/a", Target: "/b", ReadOnly: true, BindOptions: &mount.BindOptions{ReadOnlyNonRecursive: true}},
		{Type: mount.TypeBind, Source: "/a", Target: "/c"},
		{Type: mount.TypeTmpfs, Target: "/d", ReadOnly: true},
		{Type: mount.TypeImage, Source: "img", Target: "/e"},
	}}
	points, err := Points(&container.Config{}, &h, Sources{Options: map[string][]string{"/c": {"U", "z", "noexec", "idmap=uids=0-5-1#1-7-2;gids=@0-5-1"}, "/e": {"rw"}}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range points {
		p := &points[i]
		ok := map[string]bool{
			"/b": p.TopOnly && p.ReadOnly, "/c": p.Chown && p.Relabel == Shared && p.NoExec && len(p.IDs.UIDs) == 2 && p.IDs.Relative == [2]bool{false, true},
			"/d": len(p.Options) == 1 && p.Options[0] == "ro", "/e": p.Overlay && !p.ReadOnly && p.Prepared(),
		}[p.Destination]
		if !ok {
			t.Errorf("%+v", p)
		}
	}
	others := func(name string) ([]Point, error) {
		return []Point{{Type: mount.TypeVolume, Name: name, Destination: "/v", Anonymous: true}, {Type: mount.TypeTmpfs, Destination: "/t"}, {Type: mount.TypeBind, Source: "/s", Destination: "/taken"}}, nil
	}
	points, err = Points(&container.Config{}, &container.HostConfig{VolumesFrom: []string{"one", "two:ro"}, Binds: []string{"/mine:/taken"}}, Sources{Others: others})
	if err != nil || len(points) != 2 {
		t.Fatalf("%+v, %v", points, err)
	}
	for i := range points {
		if p := &points[i]; p.Destination == "/v" && (p.Name != "two" || !p.ReadOnly || p.Anonymous || !p.NoCopy) || p.Destination == "/taken" && p.Source != "/mine" {
			t.Errorf("%+v", p)
		}
	}
}
