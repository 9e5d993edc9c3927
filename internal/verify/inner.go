package verify

import (
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// limits are the control files of the cgroup.
func (c *comparison) limits() {
	if c.d.Cgroup == nil {
		return
	}
	if c.f.LimitsErr != "" {
		c.unknown("cgroup", "limits", "as the configuration has them", c.f.LimitsErr)
		return
	}
	for _, v := range c.f.Limits {
		what := strings.TrimPrefix(v.Field, "linux.resources.")
		switch {
		case what == "devices" && c.d.NewRules:
			c.unknown("cgroup", what, v.Want, "an update put other rules in their place")
		case v.Err != nil:
			c.unknown("cgroup", what, v.Want, v.Err.Error())
		default:
			c.check("cgroup", what, v.Want, v.Have, v.Same).hint("restart the container, or write " + v.Want + " to " + v.File)
		}
	}
}

// fallback are the devices that the kernel puts into every new network namespace (net.core.fb_tunnels_only_for_init_net).
var fallback = []string{"lo", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"}

// inner is what is seen from within the namespaces.
func (c *comparison) inner() {
	in := &c.f.Inner
	if in.Err != "" {
		c.unknown("network", "sysctls, names, interfaces", "as the configuration has them", in.Err)
		return
	}
	for _, key := range sorted(c.linux().Sysctl) {
		want, have := fields(c.linux().Sysctl[key]), ""
		got, ok := in.Sysctls[key]
		if have = fields(got); !ok {
			c.unknown("sysctls", key, want, "it cannot be read")
			continue
		}
		same := have == want || key == "net.ipv4.ping_group_range" && have == outside(c.f.GIDs, want)
		c.check("sysctls", key, want, have, same).hint("nobody inside can write it: somebody did from outside. restart the container")
	}
	if c.own(specs.UTSNamespace) && !c.mayMount() {
		c.check("network", "host name", c.d.Spec.Hostname, in.Hostname, in.Hostname == c.d.Spec.Hostname).hint("nobody inside can change it: somebody did from outside")
	}
	if c.d.Alone && c.own(specs.NetworkNamespace) {
		extra := slices.DeleteFunc(slices.Clone(in.Interfaces), func(i string) bool { return slices.Contains(fallback, i) })
		found := "only loopback"
		if len(extra) > 0 {
			found = "also " + strings.Join(extra, " ")
		}
		c.check("network", "interfaces", "only loopback", found, len(extra) == 0).hint("somebody moved it there: the container is not cut off any more")
	}
}

// outside translates a range of group ids, which the kernel shows as the reader's.
func outside(m []idmap.Range, text string) string {
	var out []string
	for _, f := range strings.Fields(text) {
		id, ok := idmap.ToOutside(m, uint32(limitOf(f)))
		if !ok {
			return ""
		}
		out = append(out, limitText(uint64(id)))
	}
	return strings.Join(out, " ")
}

func fields(text string) string { return strings.Join(strings.Fields(text), " ") }

func sorted[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// modules says what nobody can see from outside.
func (c *comparison) modules() {
	if v, ok := c.d.Spec.Annotations["io.bulkhead.landlock"]; ok {
		c.unknown("modules", "Landlock", v, "cannot be read from outside: the kernel shows a process's rules to nobody")
	}
	c.decides()
}
