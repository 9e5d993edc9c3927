package cli

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
)

// filters is the value of --filter. Values of one key are alternatives for reference, and must all be true else.
type filters struct {
	known  []string
	values map[string][]string
	order  []string
}

func (f *filters) String() string { return strings.Join(f.order, ",") }
func (f *filters) Type() string   { return "KEY=VALUE" }

func (f *filters) Set(s string) error {
	key, value, ok := strings.Cut(s, "=")
	if strings.HasSuffix(key, "!") { // label!=x
		key = strings.TrimSuffix(key, "!") + "!"
	}
	key = strings.ToLower(strings.TrimSpace(key))
	hint := strings.Join(f.known, ", ")
	switch {
	case !slices.Contains(f.known, key):
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "there is no filter %q here", key), "filters are "+hint)
	case !ok || value == "":
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "wants KEY=VALUE"), "filters are "+hint)
	}
	f.order = append(f.order, s)
	f.add(key, value)
	return nil
}

func (f *filters) add(key, value string) {
	if f.values == nil {
		f.values = map[string][]string{}
	}
	f.values[key] = append(f.values[key], value)
}

func (f *filters) empty() bool { return len(f.values) == 0 }

// compile returns what an image must pass. It takes away the names that reference does not mean.
func (f *filters) compile(s *image.Service) (func(*summary) bool, error) {
	var tests []func(*summary) bool
	for _, v := range f.values["dangling"] {
		want, err := strconv.ParseBool(v)
		if err != nil {
			return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "filter dangling=%q: neither true nor false", v), "dangling=true: images without a tag")
		}
		tests = append(tests, func(s *summary) bool {
			if want {
				return len(s.RepoTags) == 0
			}
			return len(s.RepoTags)+len(s.RepoDigests) > 0
		})
	}
	for key, younger := range map[string]bool{"before": false, "since": true} {
		for _, v := range f.values[key] {
			img, err := s.Find(v, nil)
			if err != nil {
				return nil, errdef.Errorf(errdef.KindOf(err), "filter %s: %w", key, err)
			}
			at := createdAt(img)
			tests = append(tests, func(s *summary) bool { return younger && s.at.After(at) || !younger && s.at.Before(at) })
		}
	}
	until, err := f.until()
	if err != nil {
		return nil, err
	}
	tests = append(tests, until...)
	for _, v := range f.values["label"] {
		tests = append(tests, func(s *summary) bool { return hasLabel(s.Labels, v) })
	}
	for _, v := range f.values["label!"] {
		tests = append(tests, func(s *summary) bool { return !hasLabel(s.Labels, v) })
	}
	patterns := f.values["reference"]
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "filter reference=%q: %w", pattern, err)
		}
	}
	if len(patterns) > 0 {
		tests = append(tests, func(s *summary) bool { return keepNames(s, patterns) })
	}
	return func(s *summary) bool {
		return !slices.ContainsFunc(tests, func(test func(*summary) bool) bool { return !test(s) })
	}, nil
}

func hasLabel(labels map[string]string, filter string) bool {
	key, want, valued := strings.Cut(filter, "=")
	value, ok := labels[key]
	return ok && (!valued || value == want)
}

// keepNames leaves an image the names that one of the patterns matches, and reports whether there are any.
func keepNames(s *summary, patterns []string) bool {
	other := func(name string) bool {
		ref, err := reference.Parse(name)
		return err != nil || !slices.ContainsFunc(patterns, func(p string) bool { return matches(p, ref) })
	}
	s.RepoTags, s.RepoDigests = slices.DeleteFunc(s.RepoTags, other), slices.DeleteFunc(s.RepoDigests, other)
	return len(s.RepoTags)+len(s.RepoDigests) > 0
}

// matches is Docker's FamiliarMatch: patterns are for names as people write them. A name without a wildcard may be written in any way.
func matches(pattern string, ref reference.Reference) bool {
	for _, name := range []string{ref.Familiar(), familiarRepository(ref)} {
		if ok, _ := path.Match(pattern, name); ok {
			return true
		}
	}
	if strings.ContainsAny(pattern, `*?[\`) {
		return false
	}
	other, err := reference.Parse(pattern)
	return err == nil && other.Repository() == ref.Repository() && (other.Digest == "" && !tagged(pattern, other) || other.Identifier() == ref.Identifier())
}

// until are the tests of the filter: older than a duration, or than a time.
func (f *filters) until() ([]func(*summary) bool, error) {
	var out []func(*summary) bool
	for _, v := range f.values["until"] {
		at, err := parseTime(v, time.Now())
		if err != nil {
			return nil, err
		}
		out = append(out, func(s *summary) bool { return s.at.Before(at) })
	}
	return out, nil
}

// parseTime reads a time as Docker's --until has it: how long ago, RFC 3339 or a part of it in the local zone, or seconds since 1970.
func parseTime(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02Z07:00", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil && n >= 0 && n < 1<<40 {
		return time.Unix(int64(n), 0), nil
	}
	return time.Time{}, errdef.WithHint(errdef.Errorf(errdef.Invalid, "filter until=%q: no time", s), "as in 24h, 2026-01-31, 2026-01-31T13:00:00Z, 1769817600")
}
