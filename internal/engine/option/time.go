package option

import (
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// ParseTime reads a time as Docker's until and since have it: how long ago, RFC 3339 or a part of it in the local zone, or seconds since 1970.
func ParseTime(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02Z07:00", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	seconds, part, fraction := strings.Cut(s, ".")
	n, err := strconv.ParseInt(seconds, 10, 40)
	nano, ferr := int64(0), error(nil)
	if fraction {
		nano, ferr = strconv.ParseInt((part + "000000000")[:9], 10, 64)
	}
	if err == nil && ferr == nil && n >= 0 && nano >= 0 {
		return time.Unix(n, nano), nil
	}
	return time.Time{}, errdef.Errorf(errdef.Invalid, "%.64q is no time", s)
}
