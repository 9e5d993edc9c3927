package category

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// Count is how many categories a policy has: MCS_CATEGORIES of the reference policy.
const Count = 1024

// ParseLevel reads LEVEL or LEVEL-LEVEL, where LEVEL is sN or sN:CATEGORIES, and returns the categories of the last level, sorted: what a
// process may reach to the most, for the constraints of MCS compare the high level of process and file. Names of levels
// (setrans.conf(5)) are no kernel's business and refused.
func ParseLevel(s string) ([]int, error) {
	low, high, ranged := strings.Cut(s, "-")
	set, err := parseOneLevel(low)
	if err != nil || !ranged {
		return set, err
	}
	return parseOneLevel(high)
}

var errLevel = errors.New("not a level such as s0, s0:c1,c2 or s0-s0:c0.c1023")

func parseOneLevel(s string) ([]int, error) {
	sensitivity, list, has := strings.Cut(s, ":")
	if _, ok := number(sensitivity, 's', 1023); !ok {
		return nil, errLevel
	}
	if !has {
		return nil, nil
	}
	var set []int
	for part := range strings.SplitSeq(list, ",") {
		first, last, ranged := strings.Cut(part, ".")
		if !ranged {
			last = first
		}
		from, ok1 := number(first, 'c', Count-1)
		to, ok2 := number(last, 'c', Count-1)
		if !ok1 || !ok2 || from > to {
			return nil, errLevel
		}
		for c := from; c <= to; c++ {
			set = append(set, c)
		}
	}
	slices.Sort(set)
	return slices.Compact(set), nil
}

// number reads a letter and a decimal number without leading zeros, up to a limit.
func number(s string, letter byte, limit int) (int, bool) {
	if len(s) < 2 || s[0] != letter || len(s) > 2 && s[1] == '0' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[1:], 10, 16)
	return int(n), err == nil && int(n) <= limit
}

// categoryName writes a set of categories as the kernel does: neighbours as a range, three and more with a dot.
func categoryName(set []int) string {
	var b []byte
	for i := 0; i < len(set); {
		j := i
		for j+1 < len(set) && set[j+1] == set[j]+1 {
			j++
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(b, 'c'), int64(set[i]), 10)
		if j > i {
			b = append(b, map[bool]byte{true: '.', false: ','}[j > i+1], 'c')
			b = strconv.AppendInt(b, int64(set[j]), 10)
		}
		i = j + 1
	}
	return string(b)
}

// within reports whether all of a are in b; both are sorted.
func within(a, b []int) bool {
	for _, c := range a {
		if _, ok := slices.BinarySearch(b, c); !ok {
			return false
		}
	}
	return true
}
