package lsm

import (
	"reflect"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

func TestParseLandlock(t *testing.T) {
	for value, want := range map[string]LandlockRequest{
		"fs":                       {FS: true},
		"scope,fs":                 {FS: true, Scope: true},
		"bind=none":                {Bind: Ports{Asked: true}},
		"connect=0":                {Connect: Ports{Asked: true, List: []uint16{0}}},
		"bind=443+80+80,connect=1": {Bind: Ports{true, []uint16{80, 443}}, Connect: Ports{true, []uint16{1}}},
		"bind=7-9+8":               {Bind: Ports{true, []uint16{7, 8, 9}}},
		"bind=65535,best-effort":   {Bind: Ports{true, []uint16{65535}}, BestEffort: true},
	} {
		got, err := ParseLandlock(value)
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%q: got %+v, %v", value, got, err)
		}
	}
	for _, value := range []string{
		"", ",", "fs,", "FS", "fs=", "fs=1", "scope=x", "bind", "bind=", "bind=x", "bind=-1", "bind=1-", "bind=65536", "bind=2-1", "bind=0-1024",
		"bind=0-1000+2000-3000", "connect=none+1", "bind=1,bind=2", "fs,fs", "best-effort", " fs", "bind=1 ", "bind=+1", "bind=0x1",
	} {
		if got, err := ParseLandlock(value); !errdef.Is(err, errdef.Invalid) || errdef.Hint(err) == "" {
			t.Errorf("%q: got %+v, %v", value, got, err)
		}
	}
}

func TestLandlockFor(t *testing.T) {
	all := LandlockRequest{FS: true, Scope: true, Bind: Ports{true, []uint16{80}}, Connect: Ports{Asked: true}}
	for abi, lacks := range map[int][]string{
		0: {"fs: what may", "bind", "connect", "scope"}, 1: {"cutting short", "bind", "connect", "scope"}, 2: {"cutting short", "bind", "connect", "scope"},
		3: {"bind", "connect", "scope"}, 4: {"scope"}, 5: {"scope"}, 6: nil, 7: nil,
	} {
		strict := all
		got, _, err := strict.For(abi)
		if (err != nil) != (lacks != nil) || err != nil && (!errdef.Is(err, errdef.Unsupported) || got != nil) {
			t.Errorf("ABI %d: %+v, %v", abi, got, err)
		}
		weak := all
		weak.BestEffort = true
		rules, missing, werr := weak.For(abi)
		if werr != nil || len(missing) != len(lacks) {
			t.Errorf("ABI %d: missing %q, %v", abi, missing, werr)
			continue
		}
		for i, l := range lacks {
			if !strings.Contains(missing[i], l) || !strings.Contains(err.Error(), l) {
				t.Errorf("ABI %d: %q is not about %s; %v", abi, missing[i], l, err)
			}
		}
		if (rules == nil) != (abi == 0) {
			t.Errorf("ABI %d: %+v", abi, rules)
		}
		if rules != nil && rules.Rights != LandlockRights(abi) {
			t.Errorf("ABI %d: rights %+v", abi, rules.Rights)
		}
	}
	only := LandlockRequest{Bind: Ports{true, []uint16{80}}}
	if s, _, err := only.For(6); err != nil || s.Rights != (Rights{Net: unix.LANDLOCK_ACCESS_NET_BIND_TCP}) || s.Size() != 16 {
		t.Errorf("bind alone: %+v, %v", s, err)
	}
}

func TestLandlockScopes(t *testing.T) {
	s := &Ruleset{Rights: Rights{Scoped: 3}}
	if s.Scopes(true, true) != nil || s.Scopes(true, false).Scoped != 1 || s.Scopes(false, true).Scoped != 2 || s.Scopes(false, false).Scoped != 3 || s.Scoped != 3 {
		t.Error("scopes are mixed up")
	}
	if (*Ruleset)(nil).Scopes(true, true) != nil {
		t.Error("something of nothing")
	}
}

func TestAnnotations(t *testing.T) {
	for key, ok := range map[string]bool{"a": true, "io.bulkhead": true, LandlockAnnotation: true, "io.bulkhead.": false, "io.bulkhead.landlok": false} {
		if err := CheckAnnotation(key, "fs"); (err == nil) != ok {
			t.Errorf("%s: %v", key, err)
		}
	}
}
