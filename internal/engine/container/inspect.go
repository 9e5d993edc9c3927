package container

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/storage"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Inspect tells all that is known of a container.
func (s *Service) Inspect(_ context.Context, name string, size bool) (option.Inspect, error) {
	var out option.Inspect
	c, err := s.Get(name)
	if err != nil {
		return out, err
	}
	v := s.view(c)
	path, args := v.command()
	dir := s.dir(c.ID)
	out.InspectResponse = api.InspectResponse{
		ID: c.ID, Created: c.Created.Format(time.RFC3339Nano), Path: path, Args: args, State: v.state(), Image: c.Image.String(),
		ResolvConfPath: filepath.Join(dir, "resolv.conf"), HostnamePath: filepath.Join(dir, "hostname"), HostsPath: filepath.Join(dir, "hosts"),
		Name: "/" + c.Name, RestartCount: c.State.Restarts, Driver: "overlay2", Platform: "linux", ExecIDs: s.execIDs(c.ID), HostConfig: &c.Host,
		GraphDriver: s.graph(c), Mounts: v.mounts(), Config: &c.Config,
		NetworkSettings: v.netSettings(),
	}
	if t := c.Host.LogConfig.Type; t == "" || t == "json-file" {
		out.LogPath = s.LogPath(c.ID)
	}
	if o, err := assemble.ParseOptions(c.Host.SecurityOpt); err == nil {
		out.AppArmorProfile = o.AppArmor
		out.Bulkhead.Level = o.Level.String()
	}
	out.ProcessLabel, out.MountLabel = c.label(), c.mountLabel()
	if size {
		rw, root := s.sizes(c)
		out.SizeRw, out.SizeRootFs = &rw, &root
	}
	s.ours(c, &out.Bulkhead)
	return out, nil
}

// ours fills in what Docker has no field for.
func (s *Service) ours(c *Container, b *option.Bulkhead) {
	b.Weaker = []option.Weakening{}
	for _, w := range c.Weaker {
		b.Weaker = append(b.Weaker, option.Weakening{Flag: w.Flag, What: w.What})
	}
	if !userNSOff(&c.Record) {
		h := host(&c.Record)
		if len(h.UIDs) > 0 {
			m := h.UIDs[0]
			b.UIDs = strconv.FormatUint(uint64(m.HostID), 10) + "-" + strconv.FormatUint(uint64(m.HostID)+uint64(m.Size)-1, 10)
		}
		b.UIDMap, b.GIDMap = mapLines(h.UIDs), mapLines(h.GIDs)
	}
	if c.Alive {
		b.Monitor = c.State.Monitor
		b.Rootfs = "/proc/" + strconv.Itoa(c.State.Monitor) + "/root" + filepath.Join(s.runDir(c.ID), control.Rootfs)
	}
}

// mapLines are the lines of a map, as --uidmap has them.
func mapLines(list []specs.LinuxIDMapping) []string {
	out := []string{}
	for _, m := range list {
		out = append(out, strconv.FormatUint(uint64(m.ContainerID), 10)+":"+strconv.FormatUint(uint64(m.HostID), 10)+":"+strconv.FormatUint(uint64(m.Size), 10))
	}
	return out
}

// state is Docker's.
func (v *view) state() *api.State {
	stamp := func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) } // of the zero time what Docker says
	st := &api.State{
		Status: v.status(), Running: v.running(), Paused: v.paused, Restarting: v.Alive && v.State.Phase == control.Restarting, OOMKilled: v.State.OOMKilled,
		Pid: v.State.PID, ExitCode: v.State.ExitCode, Error: v.State.Error, StartedAt: stamp(v.State.Started), FinishedAt: stamp(v.State.Finished), Health: v.health,
	}
	if v.health != nil && v.health.Log == nil {
		v.health.Log = []*api.HealthcheckResult{}
	}
	return st
}

// graph says where the files are, in Docker's words.
func (s *Service) graph(c *Container) *storage.DriverData {
	data := map[string]string{"UpperDir": s.upper(c.ID), "WorkDir": filepath.Join(s.dir(c.ID), "fs", "work")}
	if c.Alive {
		data["MergedDir"] = "/proc/" + strconv.Itoa(c.State.Monitor) + "/root" + filepath.Join(s.runDir(c.ID), control.Rootfs)
	}
	return &storage.DriverData{Name: "overlay2", Data: data}
}

// upper is the writable layer.
func (s *Service) upper(id string) string { return filepath.Join(s.dir(id), "fs", "upper") }

// execIDs are those of the programs that were started in a container beside its own, nil without any, as Docker has it.
func (s *Service) execIDs(id string) []string {
	entries, err := os.ReadDir(s.execDir(id))
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if name := e.Name(); filepath.Ext(name) == ".json" {
			out = append(out, name[:len(name)-len(".json")])
		}
	}
	return out
}
