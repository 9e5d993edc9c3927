package option_test

import (
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"24h": now.Add(-24 * time.Hour), "10m": now.Add(-10 * time.Minute), "2026-01-31T13:00:00Z": time.Date(2026, 1, 31, 13, 0, 0, 0, time.UTC),
		"2026-01-31": time.Date(2026, 1, 31, 0, 0, 0, 0, time.Local), "2026-01-31T13:05": time.Date(2026, 1, 31, 13, 5, 0, 0, time.Local), "1769817600": time.Unix(1769817600, 0),
		"1769817600.5": time.Unix(1769817600, 5e8), "1769817600.000000001": time.Unix(1769817600, 1),
	} {
		if got, err := option.ParseTime(s, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "soon", "-1", "1e300", "2026-13-01", "NaN", "1.x", "1.-5"} {
		if got, err := option.ParseTime(s, now); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%q: %v %v", s, got, err)
		}
	}
}
