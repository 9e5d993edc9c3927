package defaults

import (
	"strconv"
	"strings"
)

// pingRange is the sysctl whose groups must be mapped.
const pingRange = "net.ipv4.ping_group_range"

// plain are the defaults that are one value each.
var plain = []struct {
	kind string
	wall
}{
	{"flag", wall{"no_new_privs", Hardened, "a setuid file or a file capability gives nothing"}},
	{"flag", wall{"read-only root", Untrusted, "nothing that runs can be changed; /tmp and /run are bounded and not executable"}},
	{"limit", wall{"pids " + strconv.Itoa(MaxPids), Compat, "a fork bomb ends here; the host and its neighbours go on"}},
	{"limit", wall{"devices none", Compat, "no device of the host can be opened whatever node there is; the runtime adds null, zero, full, random, urandom, tty and terminals"}},
	{"rlimit", wall{"nofile 1024:524288", Compat, "programs that walk all possible descriptors stay fast, others may ask for more; the hard limit is the caller's where that is lower"}},
	{"rlimit", wall{"core 1:1", Compat, "a core dump is not piped to a program that the host's root runs (core(5): a limit of 1 stops the pipe)"}},
	{"filter", wall{"other calls: ENOSYS", Compat, "a call that is in no table does not exist, as on an older kernel, and programs fall back"}},
	{"filter", wall{"native calls only", Hardened, "the 32-bit and x32 entries of the machine are other tables of calls, and a way around filters"}},
}

// Explain returns every line of the level, with its reason.
func Explain(level Level) []Entry {
	level = level.strict()
	var out []Entry
	for _, p := range plain {
		if level <= p.upTo {
			out = append(out, Entry{p.kind, p.value, p.reason})
		}
	}
	for _, m := range modules {
		if m.at(level) {
			out = append(out, Entry{"module", m.annotation + "=" + m.setting, m.value + ": " + m.reason})
		}
	}
	out = appendWalls(out, "namespace", standing(namespaces, level))
	out = appendGrants(out, "capability", granted(capabilities, level))
	out = appendWalls(out, "mask", standing(masks, level))
	out = appendWalls(out, "read-only", standing(frozen, level))
	for _, m := range levelMounts(level) {
		out = append(out, Entry{"mount", m.value, m.reason})
	}
	for _, s := range sysctls {
		if level >= s.from {
			out = append(out, Entry{"sysctl", s.value + "=" + s.setting, s.reason})
		}
	}
	for _, g := range levelCalls(level) {
		out = appendGrants(out, "call", splitGrant(g.grant))
	}
	for _, w := range standing(refused, level) {
		for _, name := range strings.Fields(w.value) {
			out = append(out, Entry{"refused call", name, w.reason})
		}
	}
	return out
}

func splitGrant(g grant) []grant {
	var out []grant
	for _, name := range strings.Fields(g.value) {
		out = append(out, grant{name, g.from, g.reason})
	}
	return out
}

func appendWalls(out []Entry, kind string, list []wall) []Entry {
	for _, w := range list {
		out = append(out, Entry{kind, w.value, w.reason})
	}
	return out
}

func appendGrants(out []Entry, kind string, list []grant) []Entry {
	for _, g := range list {
		out = append(out, Entry{kind, g.value, g.reason})
	}
	return out
}
