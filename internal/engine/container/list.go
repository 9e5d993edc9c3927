package container

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	units "github.com/docker/go-units"
	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
)

// List returns the containers that are wanted, the newest first.
func (s *Service) List(ctx context.Context, o option.List) ([]api.Summary, error) {
	m, err := s.matcher(o.Filters)
	if err != nil {
		return nil, err
	}
	all := o.All || o.Limit > 0 || len(o.Filters["status"]) > 0
	list, err := s.containers(ctx, all)
	if err != nil {
		return nil, err
	}
	out := []api.Summary{}
	for _, c := range list {
		v := s.view(c)
		if !all && !v.running() || !m.matches(v) {
			continue
		}
		sum := v.summary()
		if o.Size {
			sum.SizeRw, sum.SizeRootFs = s.sizes(c)
		}
		if out = append(out, sum); o.Limit > 0 && len(out) == o.Limit {
			break
		}
	}
	return out, nil
}

// containers reads all, the newest first, or only those that run.
func (s *Service) containers(ctx context.Context, all bool) ([]*Container, error) {
	ids, err := s.ids()
	if err != nil {
		return nil, err
	}
	found, errs := make([]*Container, len(ids)), make([]error, len(ids))
	next := make(chan int)
	var group sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), 4, len(ids)) {
		group.Go(func() {
			for i := range next {
				if !all && !control.Alive(s.runDir(ids[i])) {
					st, err := control.ReadState(s.dir(ids[i]))
					if err != nil || st.Phase != control.Running && st.Phase != control.Restarting {
						continue // else its monitor was killed, which get sees to
					}
				}
				found[i], errs[i] = s.get(ids[i])
			}
		})
	}
	for i := range ids {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	var out []*Container
	for i, c := range found {
		switch {
		case errdef.Is(errs[i], errdef.NotFound): // removed at this moment
		case errs[i] != nil:
			out = append(out, s.broken(ids[i], errs[i]))
		case c != nil:
			out = append(out, c)
		}
	}
	sortByTime(out)
	return out, nil
}

// A view is a container as Docker sees it.
type view struct {
	*Container
	paused bool
	health *api.Health
	net    network.Dir
}

func (s *Service) view(c *Container) *view {
	v := &view{Container: c, paused: s.paused(c), net: s.netDir()}
	if c.Config.Healthcheck == nil {
		return v
	}
	if h, err := control.ReadHealth(s.dir(c.ID)); err == nil {
		v.health = &api.Health{Status: api.HealthStatus(h.Status), FailingStreak: h.FailingStreak}
		for i := range h.Log {
			r := h.Log[i]
			v.health.Log = append(v.health.Log, &api.HealthcheckResult{Start: r.Start, End: r.End, ExitCode: r.ExitCode, Output: r.Output})
		}
	}
	return v
}

// running is Docker's: a container between two runs counts.
func (v *view) running() bool {
	return v.Alive && (v.State.Phase == control.Running || v.State.Phase == control.Restarting)
}

func (v *view) status() api.ContainerState {
	switch {
	case v.paused:
		return api.StatePaused
	case v.State.Phase == "":
		return api.StateCreated
	}
	return api.ContainerState(v.State.Phase)
}

// sentence is what `docker ps` says.
func (v *view) sentence() string {
	since := func(t time.Time) string { return units.HumanDuration(time.Since(t)) }
	switch {
	case v.paused:
		return "Up " + since(v.State.Started) + " (Paused)"
	case v.State.Phase == control.Running:
		text := "Up " + since(v.State.Started)
		if v.health != nil {
			text += " (" + strings.Replace(string(v.health.Status), "starting", "health: starting", 1) + ")"
		}
		return text
	case v.State.Phase == control.Restarting:
		return fmt.Sprintf("Restarting (%d) %s ago", v.State.ExitCode, since(v.State.Finished))
	case v.State.Phase == control.Exited:
		return fmt.Sprintf("Exited (%d) %s ago", v.State.ExitCode, since(v.State.Finished))
	case v.State.Phase == dead:
		return "Dead"
	}
	return "Created"
}

func (v *view) summary() api.Summary {
	path, args := v.command()
	command := path
	for _, a := range args {
		if strings.Contains(a, " ") {
			a = "'" + a + "'"
		}
		command += " " + a
	}
	sum := api.Summary{
		ID: v.ID, Names: []string{"/" + v.Name}, Image: v.Ref, ImageID: v.Image.String(), Command: command, Created: v.Created.Unix(), Ports: v.portList(),
		Labels: v.Config.Labels, State: v.status(), Status: v.sentence(), Mounts: v.mounts(),
		NetworkSettings: &api.NetworkSettingsSummary{Networks: v.networks()},
		Health:          &api.HealthSummary{Status: api.NoHealthcheck},
	}
	if v.health != nil {
		sum.Health = &api.HealthSummary{Status: v.health.Status, FailingStreak: v.health.FailingStreak}
	}
	if sum.Labels == nil {
		sum.Labels = map[string]string{}
	}
	sum.HostConfig.NetworkMode, sum.HostConfig.Annotations = v.networkMode(), v.Host.Annotations
	return sum
}

// command is what runs: the first word, and the others.
func (v *view) command() (string, []string) {
	words := append(append([]string{}, v.Config.Entrypoint...), v.Config.Cmd...)
	if len(words) == 0 {
		return "", []string{}
	}
	return words[0], words[1:]
}

// networkMode is the container's.
func (v *view) networkMode() string { return netMode(&v.Record) }

func (v *view) mounts() []api.MountPoint {
	out := []api.MountPoint{}
	for i := range v.Points {
		p := &v.Points[i]
		m := api.MountPoint{Type: p.Type, Name: p.Name, Source: p.Source, Destination: p.Destination, RW: !p.ReadOnly}
		switch p.Type {
		case mount.TypeBind:
			if m.Propagation = mount.Propagation(p.Propagation); m.Propagation == "" {
				m.Propagation = mount.PropagationRPrivate
			}
		case mount.TypeVolume:
			m.Driver = "local"
		}
		out = append(out, m)
	}
	return out
}

// sizes are those of the writable layer, and of all files.
func (s *Service) sizes(c *Container) (rw, root int64) {
	rw = int64(layerSize(s.upper(c.ID)))
	root = rw
	if img, err := s.o.Images.Find(c.Image.String(), nil); err == nil {
		root += s.o.Images.Size(img)
	}
	return rw, root
}
