package cgroup

import (
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// checkUsage refuses limits at or below what is in use, if the resources ask for that check (memory.checkBeforeUpdate): the kernel would
// reclaim, and kill, until they hold.
func (g *Group) checkUsage(m *specs.LinuxMemory) error {
	if m == nil || !value(m.CheckBeforeUpdate) {
		return nil
	}
	file := "memory.usage_in_bytes"
	if g.mode == V2 {
		file = "memory.current"
	}
	usage, err := g.readNumber("memory", file)
	if err != nil {
		return err
	}
	for _, l := range []struct {
		name  string
		limit int64
	}{{"limit", value(m.Limit)}, {"swap", value(m.Swap)}} {
		if l.limit > 0 && l.limit <= usage {
			return errdef.Errorf(errdef.Conflict, "linux.resources.memory.%s: %d is not above what is in use, %d", l.name, l.limit, usage)
		}
	}
	return nil
}

// before reads what each setting will overwrite, as settings that put it back. One without a file is what cannot be put back.
func (g *Group) before(settings []setting) []setting {
	out := make([]setting, len(settings))
	for i, s := range settings {
		out[i] = setting{field: s.field, controller: s.controller, retry: true}
		d := g.dirOf(s.controller)
		if d == nil || d.open() != nil {
			continue
		}
		file := s.file
		text, err := readFile(d.fd, file)
		if gone(err) && s.or != nil {
			file = s.or.file
			text, err = readFile(d.fd, file)
		}
		if gone(err) || file == "cpu.weight" && strings.TrimSpace(text) == "0" { // which is how an idle cgroup reads
			out[i].optional = true // nothing there to write, so nothing to put back
			continue
		}
		if err != nil {
			continue
		}
		if v, ok := previous(file, text, s.device, s.value); ok {
			out[i].file, out[i].value = file, v
		}
	}
	return out
}

// previous is the text that, written to the file, brings back what it said: the content of a file with one value, the line of the device
// of one with a line for each, and what takes a device's line away when there was none.
func previous(file, text, device, written string) (string, bool) {
	text = strings.TrimSpace(text)
	if device != "" {
		for _, line := range strings.Split(text, "\n") {
			if key, rest, _ := strings.Cut(line, " "); key == device {
				return device + " " + strings.TrimSpace(rest), true
			}
		}
		_, rest, _ := strings.Cut(written, " ")
		key, _, keyed := strings.Cut(rest, "=")
		switch {
		case file == "io.max" || file == "rdma.max":
			return device + " " + key + "=max", keyed
		case file == "io.weight" || file == "io.bfq.weight":
			return device + " default", true
		}
		return device + " 0", true
	}
	if file == "memory.oom_control" { // "oom_kill_disable 0\nunder_oom 0\n..."
		for _, line := range strings.Split(text, "\n") {
			if v, ok := strings.CutPrefix(line, "oom_kill_disable "); ok {
				return v, true
			}
		}
		return "", false
	}
	if key, _, ok := strings.Cut(written, " "); ok { // a line for each key: "mlx5_0 hca_handle=2", "res_a 7"
		for _, line := range strings.Split(text, "\n") {
			if k, _, _ := strings.Cut(line, " "); k == key && strings.Contains(line, " ") && strings.Contains(text, "\n") {
				return line, true
			}
		}
	}
	first, _, several := strings.Cut(text, "\n")
	if file == "io.weight" || file == "io.bfq.weight" { // the first line is the default
		return first, first != ""
	}
	return text, !several
}

// restore puts back the first n settings, and says which it could not.
func (g *Group) restore(old []setting, n int, cause error) error {
	var kept []string
	for i := n - 1; i >= 0; i-- {
		s := &old[i]
		if s.file == "" && !s.optional || s.file != "" && g.write(s) != nil {
			kept = append(kept, s.field)
		}
	}
	// A value may depend on another that was put back only afterwards.
	for i := n - 1; i >= 0 && len(kept) > 0; i-- {
		if s := &old[i]; s.file != "" && g.write(s) == nil {
			kept = without(kept, s.field)
		}
	}
	if len(kept) == 0 {
		return cause
	}
	return errdef.Errorf(errdef.KindOf(cause), "%w (and not put back to what it was: %s)", cause, strings.Join(kept, ", "))
}

func without(list []string, s string) []string {
	out := list[:0]
	for _, v := range list {
		if v != s {
			out = append(out, v)
		}
	}
	return out
}
