package image

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	images "github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
)

// The filters of lists and of prune.
var (
	listFilters  = []string{"dangling", "reference", "before", "since", "label", "label!", "until"}
	pruneFilters = []string{"dangling", "label", "label!", "until", "all"}
)

// compile returns what an image must pass. It takes away the names that reference does not mean.
func compile(lib *images.Service, f option.Filters, known []string) (func(*found) bool, error) {
	for key := range f {
		if !slices.Contains(known, key) {
			return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "invalid filter '%.64s'", key), "filters are "+strings.Join(known, ", "))
		}
	}
	tests, err := states(f)
	if err != nil {
		return nil, err
	}
	for key, younger := range map[string]bool{"before": false, "since": true} {
		for _, v := range f[key] {
			img, err := lib.Find(v, nil)
			if err != nil {
				return nil, errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "filter %s: %w", key, err), errdef.Hint(err))
			}
			at := createdAt(img)
			tests = append(tests, func(s *found) bool { return younger && s.at.After(at) || !younger && s.at.Before(at) })
		}
	}
	for _, v := range f["label"] {
		tests = append(tests, func(s *found) bool { return hasLabel(s.Labels, v) })
	}
	for _, v := range f["label!"] {
		tests = append(tests, func(s *found) bool { return !hasLabel(s.Labels, v) })
	}
	patterns := f["reference"]
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "filter reference=%q: %w", pattern, err)
		}
	}
	if len(patterns) > 0 {
		tests = append(tests, func(s *found) bool { return keepNames(s, patterns) })
	}
	return func(s *found) bool {
		return !slices.ContainsFunc(tests, func(test func(*found) bool) bool { return !test(s) })
	}, nil
}

// states are the filters dangling and until.
func states(f option.Filters) ([]func(*found) bool, error) {
	var out []func(*found) bool
	for _, v := range f["dangling"] {
		want, err := strconv.ParseBool(v)
		if err != nil {
			return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "filter dangling=%q: neither true nor false", v), "dangling=true: images without a tag")
		}
		out = append(out, func(s *found) bool {
			if want {
				return len(s.RepoTags) == 0
			}
			return len(s.RepoTags)+len(s.RepoDigests) > 0
		})
	}
	for _, v := range f["until"] {
		at, err := option.ParseTime(v, time.Now())
		if err != nil {
			return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "filter until=%q: no time", v), "as in 24h, 2026-01-31, 2026-01-31T13:00:00Z, 1769817600")
		}
		out = append(out, func(s *found) bool { return s.at.Before(at) })
	}
	return out, nil
}

func hasLabel(labels map[string]string, filter string) bool {
	key, want, valued := strings.Cut(filter, "=")
	value, ok := labels[key]
	return ok && (!valued || value == want)
}

// keepNames leaves an image the names that one of the patterns matches, and reports whether there are any.
func keepNames(s *found, patterns []string) bool {
	other := func(name string) bool {
		ref, err := reference.Parse(name)
		return err != nil || !slices.ContainsFunc(patterns, func(p string) bool { return matches(p, ref) })
	}
	s.RepoTags, s.RepoDigests = slices.DeleteFunc(s.RepoTags, other), slices.DeleteFunc(s.RepoDigests, other)
	return len(s.RepoTags)+len(s.RepoDigests) > 0
}

// matches is Docker's FamiliarMatch: patterns are for names as people write them. A name without a wildcard may be written in any way.
func matches(pattern string, ref reference.Reference) bool {
	bare := ref
	bare.Tag, bare.Digest = reference.DefaultTag, ""
	for _, name := range []string{ref.Familiar(), strings.TrimSuffix(bare.Familiar(), ":"+reference.DefaultTag)} {
		if ok, _ := path.Match(pattern, name); ok {
			return true
		}
	}
	if strings.ContainsAny(pattern, `*?[\`) {
		return false
	}
	other, err := reference.Parse(pattern)
	if err != nil || other.Repository() != ref.Repository() {
		return false
	}
	tagged := strings.HasSuffix(pattern, ":"+other.Tag)
	return other.Digest == "" && !tagged || other.Identifier() == ref.Identifier()
}
