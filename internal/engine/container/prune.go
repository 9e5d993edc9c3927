package container

import (
	"context"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	api "github.com/moby/moby/api/types/container"
)

// Prune removes all containers that do not run and that the filters take: label=, label!= and until=, Docker's. What killed commands have left goes with them.
func (s *Service) Prune(ctx context.Context, f option.Filters) (api.PruneReport, error) {
	report := api.PruneReport{ContainersDeleted: []string{}}
	wanted, err := prunable(f)
	if err != nil {
		return report, err
	}
	if err := s.Sweep(); err != nil {
		return report, err
	}
	list, err := s.containers(ctx, true)
	if err != nil {
		return report, err
	}
	for _, c := range list {
		if c.Alive || c.State.Phase == control.Running || c.State.Phase == control.Restarting || !wanted(&c.Record) {
			continue
		}
		size := layerSize(filepath.Join(s.dir(c.ID), "fs", "upper"))
		err := s.Remove(ctx, c.ID, option.Remove{})
		if errdef.Is(err, errdef.Conflict) || errdef.Is(err, errdef.NotFound) { // started or removed by somebody else meanwhile
			continue
		}
		if err != nil {
			return report, err
		}
		report.ContainersDeleted = append(report.ContainersDeleted, c.ID)
		report.SpaceReclaimed += size
	}
	return report, nil
}

// prunable reads the filters of prune.
func prunable(f option.Filters) (func(*Record) bool, error) {
	until := time.Time{}
	for _, key := range slices.Sorted(maps.Keys(f)) {
		switch key {
		case "label", "label!":
		case "until":
			if len(f[key]) != 1 {
				return nil, errdef.Errorf(errdef.Invalid, "filter until: more than one until filter specified")
			}
			var err error
			if until, err = option.ParseTime(f[key][0], time.Now()); err != nil {
				return nil, errdef.Errorf(errdef.Invalid, "filter until: %w", err)
			}
		default:
			return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "invalid filter '%.64s'", key), "label, label!, until")
		}
	}
	return func(r *Record) bool {
		if !until.IsZero() && !r.Created.Before(until) {
			return false
		}
		for _, l := range f["label"] {
			if !labelled(r, l) {
				return false
			}
		}
		return !slices.ContainsFunc(f["label!"], func(l string) bool { return labelled(r, l) })
	}, nil
}

// labelled reports whether a container has a label: NAME or NAME=VALUE.
func labelled(r *Record, text string) bool {
	name, value, both := strings.Cut(text, "=")
	has, ok := r.Config.Labels[name]
	return ok && (!both || has == value)
}

// layerSize is what the files of a writable layer take of the disk, each once.
func layerSize(dir string) uint64 {
	type inode struct{ dev, ino uint64 }
	seen := map[inode]bool{}
	var size uint64
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it is gone
		}
		info, err := e.Info()
		if err != nil {
			return nil //nolint:nilerr // it is gone
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || !info.Mode().IsRegular() {
			return nil
		}
		if at := (inode{st.Dev, st.Ino}); st.Nlink == 1 || !seen[at] {
			seen[at] = st.Nlink > 1
			size += uint64(st.Blocks) * 512
		}
		return nil
	})
	return size
}
