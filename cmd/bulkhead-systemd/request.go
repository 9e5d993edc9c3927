package main

import (
	"bufio"
	"encoding/hex"
	"io"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// A request is what the runtime wants.
type request struct {
	op, manager, unit, slice, sub string
	pid                           uint32
	props                         []property
	variants                      []string
}

// A property is one of a unit, with the version of systemd that brought it.
type property struct {
	since int
	Name  string
	Value dbus.Variant
}

// maxRequest bounds how many lines a request has: a device list is one line.
const maxRequest = 1000

func readRequest(r *bufio.Reader) (*request, error) {
	req := &request{}
	for n := 0; n < maxRequest; n++ {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, io.EOF // half a request is none
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			return req, req.check()
		}
		if err := req.line(line); err != nil {
			return nil, err
		}
	}
	return nil, errdef.Errorf(errdef.Invalid, "request: more than %d lines", maxRequest)
}

func (q *request) line(line string) error {
	key, val, _ := strings.Cut(line, "=")
	switch key {
	case "op":
		q.op = val
	case "manager":
		q.manager = val
	case "unit":
		q.unit = val
	case "slice":
		q.slice = val
	case "sub":
		q.sub = val
	case "pid":
		n, err := strconv.ParseUint(val, 10, 31)
		if err != nil {
			return errdef.Errorf(errdef.Invalid, "request: pid %q: %w", val, err)
		}
		q.pid = uint32(n)
	case "prop":
		p, err := parseProperty(val)
		if err != nil {
			return err
		}
		q.props = append(q.props, p)
	case "variant":
		q.variants = append(q.variants, val)
	default:
		return errdef.Errorf(errdef.Invalid, "request: unknown key %q", key)
	}
	return nil
}

func (q *request) check() error {
	switch {
	case q.manager != "system" && q.manager != "user":
		return errdef.Errorf(errdef.Invalid, "request: manager %q", q.manager)
	case !q.isSlice() && !strings.HasSuffix(q.unit, ".scope"):
		return errdef.Errorf(errdef.Invalid, "request: unit %q", q.unit)
	case q.op == "attach" && q.pid == 0:
		return errdef.Errorf(errdef.Invalid, "request: attach without a pid")
	}
	return nil
}

func (q *request) isSlice() bool { return strings.HasSuffix(q.unit, ".slice") }

// parseProperty reads SINCE:NAME:TYPE:VALUE.
func parseProperty(text string) (property, error) {
	f := strings.SplitN(text, ":", 4)
	if len(f) != 4 {
		return property{}, errdef.Errorf(errdef.Invalid, "property %q: not of the form SINCE:NAME:TYPE:VALUE", text)
	}
	since, err := strconv.Atoi(f[0])
	if err != nil {
		return property{}, errdef.Errorf(errdef.Invalid, "property %q: %w", text, err)
	}
	var v any
	switch f[2] {
	case "t":
		v, err = strconv.ParseUint(f[3], 10, 64)
	case "b":
		v, err = strconv.ParseBool(f[3])
	case "s":
		v = f[3]
	case "ay":
		v, err = hex.DecodeString(f[3])
	case "a(ss)":
		v, err = parsePairs(f[3])
	default:
		err = errdef.Errorf(errdef.Invalid, "unknown type %q", f[2])
	}
	if err != nil {
		return property{}, errdef.Errorf(errdef.Invalid, "property %q: %w", text, err)
	}
	return property{since, f[1], dbus.MakeVariant(v)}, nil
}

// A pair is an element of a(ss).
type pair struct{ Path, Access string }

func parsePairs(text string) ([]pair, error) {
	pairs := []pair{}
	if text == "" {
		return pairs, nil
	}
	for _, part := range strings.Split(text, ",") {
		path, access, ok := strings.Cut(part, " ")
		if !ok {
			return nil, errdef.Errorf(errdef.Invalid, "%q is no pair", part)
		}
		pairs = append(pairs, pair{path, access})
	}
	return pairs, nil
}

// parseVariant reads NAME=VALUE with the value in D-Bus's text form. A name in seconds becomes one in microseconds, which is what the unit's
// properties on the bus are in: TimeoutStopSec=uint64 30 is TimeoutStopUSec=uint64 30000000.
func parseVariant(text string) (property, error) {
	name, val, _ := strings.Cut(text, "=")
	v, err := dbus.ParseVariant(val, dbus.Signature{})
	if err != nil {
		return property{}, errdef.Errorf(errdef.Invalid, "annotation org.systemd.property.%s: %q: %w", name, val, err)
	}
	stem, isSec := strings.CutSuffix(name, "Sec")
	if !isSec || stem == "" || stem[len(stem)-1] < 'a' || stem[len(stem)-1] > 'z' {
		return property{0, name, v}, nil
	}
	const second = 1_000_000
	var usec uint64
	switch n := v.Value().(type) {
	case uint8:
		usec = uint64(n) * second
	case int16:
		usec = uint64(max(n, 0)) * second
	case uint16:
		usec = uint64(n) * second
	case int32:
		usec = uint64(max(n, 0)) * second
	case uint32:
		usec = uint64(n) * second
	case int64:
		usec = uint64(max(n, 0)) * second
	case uint64:
		usec = n * second
	case float64:
		usec = uint64(max(n, 0) * second)
	default:
		return property{}, errdef.Errorf(errdef.Invalid, "annotation org.systemd.property.%s: %q is no number", name, val)
	}
	return property{0, stem + "USec", dbus.MakeVariant(usec)}, nil
}
