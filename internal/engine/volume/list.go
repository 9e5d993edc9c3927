package volume

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/events"
	api "github.com/moby/moby/api/types/volume"
)

// Inspect returns what is known of a volume.
func (s *Service) Inspect(_ context.Context, name string) (api.Volume, error) {
	r, err := s.read(name)
	if err != nil {
		return api.Volume{}, err
	}
	return s.describe(r), nil
}

// all returns the records of all volumes, by name.
func (s *Service) all() (found []*record, warnings []string, err error) {
	entries, err := os.ReadDir(s.o.Root)
	if os.IsNotExist(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, errdef.Errorf(errdef.Unavailable, "volumes: %w", err)
	}
	for _, e := range entries {
		r, err := s.read(e.Name())
		switch {
		case errdef.Is(err, errdef.NotFound): // none, or removed at this moment
		case err != nil:
			warnings = append(warnings, err.Error())
		default:
			found = append(found, r)
		}
	}
	return found, warnings, nil
}

// List returns the volumes that pass the filters.
func (s *Service) List(_ context.Context, f option.Filters) (api.ListResponse, error) {
	out := api.ListResponse{Volumes: []api.Volume{}}
	found, warnings, err := s.all()
	if err != nil {
		return out, err
	}
	out.Warnings = warnings
	match, err := s.compile(f, []string{"dangling", "driver", "label", "name"})
	if err != nil {
		return out, err
	}
	for _, r := range found {
		if match(r) {
			out.Volumes = append(out.Volumes, s.describe(r))
		}
	}
	return out, nil
}

// compile returns what a volume must pass.
func (s *Service) compile(f option.Filters, known []string) (func(*record) bool, error) {
	var tests []func(*record) bool
	for key, values := range f {
		if !slices.Contains(known, key) {
			return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "invalid filter '%.64s'", key), "filters are "+strings.Join(known, ", "))
		}
		switch key {
		case "dangling":
			test, err := s.dangling(values)
			if err != nil {
				return nil, err
			}
			tests = append(tests, test)
		case "driver":
			tests = append(tests, func(*record) bool { return slices.Contains(values, Driver) })
		case "name":
			tests = append(tests, func(r *record) bool {
				return slices.ContainsFunc(values, func(v string) bool { return strings.Contains(r.Name, v) })
			})
		case "label", "label!":
			for _, v := range values {
				tests = append(tests, func(r *record) bool { return hasLabel(r.Labels, v) == (key == "label") })
			}
		case "until":
			for _, v := range values {
				at, err := option.ParseTime(v, time.Now())
				if err != nil {
					return nil, errdef.Errorf(errdef.Invalid, "filter until: %w", err)
				}
				tests = append(tests, func(r *record) bool { return r.Created.Before(at) })
			}
		}
	}
	return func(r *record) bool {
		return !slices.ContainsFunc(tests, func(test func(*record) bool) bool { return !test(r) })
	}, nil
}

func hasLabel(labels map[string]string, filter string) bool {
	key, want, valued := strings.Cut(filter, "=")
	value, ok := labels[key]
	return ok && (!valued || value == want)
}

func (s *Service) dangling(values []string) (func(*record) bool, error) {
	users, err := s.users()
	if err != nil {
		return nil, err
	}
	var wants []bool
	for _, v := range values {
		want, err := strconv.ParseBool(v)
		if err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "invalid filter 'dangling=%.64s': neither true nor false", v)
		}
		wants = append(wants, want)
	}
	return func(r *record) bool { return len(wants) == 0 || slices.Contains(wants, len(users[r.Name]) == 0) }, nil
}

// Prune removes volumes that no container has: those without a name, or with all=true every one.
func (s *Service) Prune(ctx context.Context, f option.Filters) (api.PruneReport, error) {
	out := api.PruneReport{VolumesDeleted: []string{}}
	rest, all := option.Filters{}, false
	for key, values := range f {
		if key != "all" {
			rest[key] = values
			continue
		}
		for _, v := range values {
			on, err := strconv.ParseBool(v)
			if err != nil {
				return out, errdef.Errorf(errdef.Invalid, "invalid filter 'all=%.64s': neither true nor false", v)
			}
			all = all || on
		}
	}
	match, err := s.compile(rest, []string{"label", "label!"})
	if err != nil {
		return out, err
	}
	found, _, err := s.all()
	if err != nil {
		return out, err
	}
	users, err := s.users()
	if err != nil {
		return out, err
	}
	for _, r := range found {
		_, anonymous := r.Labels[AnonymousLabel]
		if len(users[r.Name]) > 0 || !all && !anonymous || !match(r) {
			continue
		}
		size := s.size(r)
		err := s.remove(ctx, r, users)
		if errdef.Is(err, errdef.Conflict) {
			continue // somebody takes it at this moment
		}
		if err != nil {
			return out, err
		}
		out.VolumesDeleted = append(out.VolumesDeleted, r.Name)
		out.SpaceReclaimed += uint64(max(size, 0))
	}
	s.event(events.ActionPrune, "")
	return out, nil
}

// size is what a volume holds on the disk, in bytes; -1 of what is not the engine's.
func (s *Service) size(r *record) int64 {
	if isBind(r.Options) {
		return -1
	}
	type inode struct{ dev, ino uint64 }
	seen := map[inode]bool{}
	var n int64
	_ = filepath.WalkDir(s.path(r.Name, dataDir), func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // removed while we look
		}
		info, err := e.Info()
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		st := info.Sys().(*syscall.Stat_t)
		if id := (inode{st.Dev, st.Ino}); !seen[id] {
			seen[id] = true
			n += st.Blocks * 512
		}
		return nil
	})
	return n
}

// Usage returns all volumes with their sizes and how many containers have them.
func (s *Service) Usage(context.Context) ([]api.Volume, error) {
	found, _, err := s.all()
	if err != nil {
		return nil, err
	}
	users, err := s.users()
	if err != nil {
		return nil, err
	}
	out := []api.Volume{}
	for _, r := range found {
		v := s.describe(r)
		v.UsageData = &api.UsageData{Size: s.size(r), RefCount: int64(len(users[r.Name]))}
		out = append(out, v)
	}
	return out, nil
}

// Sweep removes what killed commands left, and returns the names of it.
func (s *Service) Sweep(ctx context.Context) ([]string, error) {
	entries, err := os.ReadDir(s.o.Root)
	if os.IsNotExist(err) {
		return nil, nil
	}
	unlock, err := s.lockAll(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s.sweep()
	var out []string
	for _, e := range entries {
		if _, err := os.Lstat(s.path(e.Name())); strings.HasPrefix(e.Name(), ".") && os.IsNotExist(err) {
			out = append(out, e.Name())
		}
	}
	return out, nil
}
