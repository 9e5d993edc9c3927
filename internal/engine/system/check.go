package system

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/moby/moby/api/types/container"
)

// Check removes what a crash has left, and reports that and what is wrong.
func (s *Service) Check(ctx context.Context, repair bool) (option.SystemReport, error) {
	out := option.SystemReport{Healed: []string{}, Problems: []option.Problem{}}
	if err := s.checkContainers(ctx, &out); err != nil {
		return out, err
	}
	swept, err := s.o.Volumes.Sweep(ctx)
	if err != nil {
		return out, err
	}
	for _, name := range swept {
		out.Healed = append(out.Healed, "volume "+strings.Trim(strings.TrimSuffix(strings.TrimSuffix(name, ".new"), ".old"), ".")+": what a killed command left of it")
	}
	images, err := s.o.Images.Check(ctx, option.ImageCheck{Quick: !repair, Repair: repair}, nil)
	out.Images = images
	out.Problems = append(out.Problems, images.Problems...)
	return out, err
}

// checkContainers sweeps, and looks at every container: one whose monitor was killed is recorded as ended by that.
func (s *Service) checkContainers(ctx context.Context, out *option.SystemReport) error {
	c, err := s.o.Containers()
	if err != nil || c == nil {
		return err
	}
	before := s.halves()
	if err := c.Sweep(); err != nil {
		return err
	}
	after := s.halves()
	for name := range before {
		if id, _, _ := strings.Cut(name, "."); !after[name] {
			out.Healed = append(out.Healed, "container "+id[:min(12, len(id))]+": what a killed command left of it")
		}
	}
	list, err := c.List(ctx, option.List{All: true})
	if err != nil {
		return err
	}
	out.Containers = len(list)
	for i := range list {
		if list[i].State == container.StateDead {
			out.Problems = append(out.Problems, option.Problem{Object: "container " + list[i].ID[:12], Text: "its record cannot be read: bulkhead rm -f removes it"})
		}
	}
	return nil
}

// halves are the directories of containers that are half made or half removed.
func (s *Service) halves() map[string]bool {
	out := map[string]bool{}
	entries, err := os.ReadDir(filepath.Join(s.o.Root, "containers"))
	if err != nil {
		return out
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), ".") {
			out[e.Name()] = true
		}
	}
	return out
}
