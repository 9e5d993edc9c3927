package category

import (
	"strings"
	"testing"
)

func TestLevels(t *testing.T) {
	for level, want := range map[string]string{
		"s0": "", "s0:c5": "c5", "s0:c2,c1": "c1,c2", "s0:c1.c2": "c1,c2", "s0:c1.c3": "c1.c3", "s0:c1,c2,c3,c9": "c1.c3,c9",
		"s0:c1-s0:c1,c1023": "c1,c1023", "s0-s15:c0.c1023": "c0.c1023", "s3:c1,c1": "c1",
	} {
		set, err := ParseLevel(level)
		if got := categoryName(set); err != nil || got != want {
			t.Errorf("%s: %q, %v", level, got, err)
		}
	}
	if !within(nil, nil) || !within([]int{1}, []int{0, 1}) || within([]int{1, 2}, []int{0, 1}) || within([]int{0}, nil) {
		t.Error("sets are mixed up")
	}
}

// What is taken for a level has a name that gives the same set again and no way out of a directory.
func FuzzLevel(f *testing.F) {
	for _, s := range []string{"s0", "s0:c1,c2", "s0-s0:c0.c1023", "s0:c1.c3,c7", "s0:c", "s0:c1.c99999", "../x", "s0:c-1", "s00:c1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		set, err := ParseLevel(s)
		if err != nil {
			return
		}
		name := categoryName(set)
		if len(set) > 0 {
			again, err := ParseLevel("s0:" + name)
			if err != nil || categoryName(again) != name || !within(again, set) || !within(set, again) {
				t.Errorf("%q: %v, then %q: %v, %v", s, set, name, again, err)
			}
		}
		if len(set) > Count || len(set) <= maxAvoided && len(name) > 200 || strings.ContainsAny(name, "/\x00") {
			t.Errorf("%q: %d categories, %q", s, len(set), name)
		}
	})
}
