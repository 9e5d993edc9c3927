package cgroup

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A Value is what a control file holds beside what the resources ask for.
type Value struct {
	Field string // of config.json
	File  string // absolute
	Want  string
	Have  string
	Same  bool
	Err   error // the file could not be read: neither Same nor different
}

// Compare reads the control files that Create would write for the resources, and says of each whether the kernel has that value. It writes nothing. Values
// that the kernel writes otherwise (sizes in pages, lists of processors, files with a line for each device) are compared by what they mean.
func (g *Group) Compare(res *specs.LinuxResources) ([]Value, error) {
	if res == nil {
		res = &specs.LinuxResources{}
	}
	settings, err := compile(g.mode, res)
	if err != nil {
		return nil, err
	}
	var out []Value
	for i := range settings {
		if v, ok := g.compare(&settings[i]); ok {
			out = append(out, v)
		}
	}
	if v, ok, err := g.compareDevices(res.Devices); err != nil {
		return nil, err
	} else if ok {
		out = append(out, v)
	}
	return out, nil
}

// compare reads one file; false for a setting that asks for nothing here.
func (g *Group) compare(s *setting) (Value, bool) {
	v := Value{Field: s.field, Want: s.value, File: s.file}
	d := g.dirOf(s.controller)
	if d == nil {
		v.Err = errNoController
		return v, !s.optional
	}
	v.File = d.name() + "/" + s.file
	if v.Err = d.open(); v.Err != nil {
		return v, true
	}
	have, err := readFile(d.fd, s.file)
	if errors.Is(err, unix.ENOENT) && s.or != nil {
		v.File, v.Want = d.name()+"/"+s.or.file, s.or.value
		have, err = readFile(d.fd, s.or.file)
		s = s.or
	}
	if errors.Is(err, unix.ENOENT) && s.optional {
		return v, false
	}
	if v.Err = err; err != nil {
		return v, true
	}
	v.Have, v.Same = sameValue(s, have)
	return v, true
}

// sameValue compares what was written with what the file shows, and returns the part of it that matters.
func sameValue(s *setting, text string) (have string, same bool) {
	have = strings.TrimSpace(text)
	switch {
	case s.device != "":
		return sameLine(s, have)
	case s.file == "memory.oom_control":
		for line := range strings.Lines(have) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill_disable "); ok {
				return v, v == s.value
			}
		}
		return have, false
	case s.file == "cpuset.cpus" || s.file == "cpuset.mems":
		return have, slices.Equal(numbersOf(have), numbersOf(s.value))
	case s.file == "cpu.max":
		w, h := strings.Fields(s.value), strings.Fields(have)
		return have, len(w) > 0 && len(h) >= len(w) && slices.Equal(w, h[:len(w)])
	case strings.Contains(s.file, "weight"):
		first, _, _ := strings.Cut(have, "\n")
		return first, strings.TrimPrefix(first, "default ") == strings.TrimPrefix(s.value, "default ")
	}
	return have, have == s.value || sameSize(s.value, have)
}

// sameLine compares the words of one device's line; a rate of 0 and a line that is not there are the same.
func sameLine(s *setting, text string) (have string, same bool) {
	for line := range strings.Lines(text) {
		if h, ok := strings.CutPrefix(strings.TrimSpace(line), s.device+" "); ok {
			have = h
		}
	}
	want := strings.TrimPrefix(s.value, s.device+" ")
	if have == "" {
		return "none", want == "0" || strings.HasSuffix(want, "=max")
	}
	words := strings.Fields(have)
	for _, w := range strings.Fields(want) {
		if !slices.Contains(words, w) {
			return have, false
		}
	}
	return have, true
}

// sameSize compares numbers of bytes: the kernel counts pages, and has a largest number in the place of -1.
func sameSize(want, have string) bool {
	w, err1 := strconv.ParseInt(want, 10, 64)
	h, err2 := strconv.ParseInt(have, 10, 64)
	if err1 != nil || err2 != nil {
		return false
	}
	page := int64(os.Getpagesize())
	if w == -1 {
		return h == -1 || h >= 1<<63-1-2*page
	}
	return w == h || w/page*page == h || h >= 1<<63-1-2*page && w >= h
}

// numbersOf returns the members of a list such as 0-3,7, at most 8192 of them, sorted.
func numbersOf(list string) []int {
	var out []int
	for part := range strings.SplitSeq(list, ",") {
		first, last, ranged := strings.Cut(strings.TrimSpace(part), "-")
		a, err := strconv.Atoi(first)
		b := a
		if ranged {
			b, _ = strconv.Atoi(last)
		}
		for n := a; err == nil && n <= b && len(out) < 8192; n++ {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// compareDevices reads the rules for devices back: the list of the v1 controller, or, of the v2 program, whether it is the one that these rules make.
func (g *Group) compareDevices(list []specs.LinuxDeviceCgroup) (v Value, ok bool, err error) {
	f, err := newFilter(list)
	if err != nil {
		return v, false, err
	}
	v.Field = "linux.resources.devices"
	d := g.dirOf("devices")
	if d == nil {
		d = g.unifiedDir()
	}
	if d == nil || g.rootless {
		return v, false, nil
	}
	if v.File, v.Err = d.name(), d.open(); v.Err != nil {
		return v, true, nil
	}
	if d.unified() {
		v.Have, v.Err = compareProgram(d.fd, f)
		v.Want, v.Same = "the program of these rules", v.Have == ""
		if v.Same {
			v.Have = v.Want
		}
		return v, true, nil
	}
	v.File += "/devices.list"
	text, err := readFile(d.fd, "devices.list")
	if v.Err = err; err != nil {
		return v, true, nil
	}
	want, err := f.exceptions()
	if err != nil {
		return v, false, err
	}
	v.Want, v.Have = ruleText(f.allow, want), strings.Join(strings.Split(strings.TrimSpace(text), "\n"), ", ")
	have, known := parseDevicesList(text)
	if f.allow || !known {
		// A list that allows by default does not show what it excepts.
		v.Same = f.allow && !known
		return v, true, nil
	}
	v.Have = ruleText(false, have)
	v.Same = v.Want == v.Have
	return v, true, nil
}

// ruleText is the rules in one order.
func ruleText(allow bool, list []rule) string {
	if allow {
		return "a *:* rwm"
	}
	var out []string
	for _, r := range list {
		out = append(out, r.String())
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
