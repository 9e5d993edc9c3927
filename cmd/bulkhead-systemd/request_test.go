package main

import (
	"bufio"
	"reflect"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

func TestReadRequest(t *testing.T) {
	text := "op=start\nmanager=system\nunit=a.scope\nslice=b.slice\npid=7\nsub=/x\nprop=232:CPUWeight:t:59\nvariant=KillMode='mixed'\n\nop=stop\n"
	r := bufio.NewReader(strings.NewReader(text))
	got, err := readRequest(r)
	want := &request{
		op: "start", manager: "system", unit: "a.scope", slice: "b.slice", pid: 7, sub: "/x",
		props: []property{{232, "CPUWeight", dbus.MakeVariant(uint64(59))}}, variants: []string{"KillMode='mixed'"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := readRequest(r); err == nil {
		t.Errorf("half a request: %+v", got)
	}
	for _, bad := range []string{
		"op=x\nmanager=other\nunit=a.scope\n", "op=x\nmanager=user\nunit=a.service\n", "unit=a.scope\n", "what=1\n", "pid=-1\n", "pid=99999999999\n",
		"op=attach\nmanager=user\nunit=a.scope\n", "prop=CPUWeight\n", "prop=x:A:t:1\n", "prop=1:A:t:x\n", "prop=1:A:z:1\n", "prop=1:A:ay:0\n", "prop=1:A:a(ss):x\n",
		strings.Repeat("sub=/\n", maxRequest),
	} {
		if got, err := readRequest(bufio.NewReader(strings.NewReader(bad + "\n"))); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%.40q: %+v, %v", bad, got, err)
		}
	}
}

func TestParseProperty(t *testing.T) {
	for text, want := range map[string]string{
		"0:A:t:18446744073709551615": "@t 18446744073709551615",
		"0:A:b:true":                 "true",
		"0:A:s:a:b":                  `"a:b"`,
		"0:A:ay:ff01":                `@ay [0xff, 0x1]`,
		"0:A:a(ss):":                 "@a(ss) []",
		"0:A:a(ss):/dev/char/1:3 rwm,char-pts rw": `[("/dev/char/1:3", "rwm",), ("char-pts", "rw",)]`,
	} {
		p, err := parseProperty(text)
		if err != nil || p.Value.String() != want {
			t.Errorf("%s: %s, %v, want %s", text, p.Value, err, want)
		}
	}
}

func TestParseVariant(t *testing.T) {
	for text, want := range map[string]string{
		"TimeoutStopSec=uint64 30":         "TimeoutStopUSec @t 30000000",
		"TimeoutStopSec=1.5":               "TimeoutStopUSec @t 1500000",
		"CollectMode='inactive-or-failed'": `CollectMode "inactive-or-failed"`,
		"MemoryHigh=uint64 5":              "MemoryHigh @t 5",
	} {
		p, err := parseVariant(text)
		if got := p.Name + " " + p.Value.String(); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", text, got, err, want)
		}
	}
	for _, bad := range []string{"A=", "A={", "TimeoutStopSec='x'"} {
		if p, err := parseVariant(bad); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%s: %v, %v", bad, p, err)
		}
	}
	for text, want := range map[string]int{"252.39-1~deb12u1": 252, "v245": 245, `"v243-rc1"`: 243, "": 0} {
		if got := leadingNumber(text); got != want {
			t.Errorf("%s: %d", text, got)
		}
	}
}
