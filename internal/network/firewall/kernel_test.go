package firewall

import (
	"slices"
	"strings"
	"testing"
)

// What nft lists is what the text says, but for the order of elements and the words of some priorities.
func TestKernelSaysTheSame(t *testing.T) {
	s := newSpace(t)
	if v := s.Run("nft", "--version"); !strings.Contains(v, "v1.0.6") {
		t.Skipf("the words of nft v1.0.6 are compared, here is %s", v)
	}
	s.Do(func() {
		if err := Restore(example()); err != nil {
			t.Error(err)
		}
	})
	text, err := Text(example())
	if err != nil {
		t.Fatal(err)
	}
	got := s.Run("nft", "-s", "list", "ruleset")
	same := strings.NewReplacer("priority raw", "priority -300", "priority filter - 10", "priority -10", "priority dstnat", "priority -100", "priority srcnat", "priority 100",
		"priority filter + 1000", "priority 1000", " snaplen 128", "", "@nh,0,8 & 0xf != 0x5", "ip hdrlength != 5", "ip6 nexthdr ip ", "ip6 nexthdr 0 ", "ipv6-route", "43", "ipv6-opts", "60", "mobility-header", "135", "hip ", "139 ", "shim6", "140", "ipv6-frag", "44")
	bridge := func(s string) string {
		return strings.ReplaceAll(s, "hook prerouting priority -100; policy accept;", "hook prerouting priority N; policy accept;")
	}
	a, b := sorted(bridge(same.Replace(got))), sorted(bridge(strings.ReplaceAll(text, "hook prerouting priority -300", "hook prerouting priority -100")))
	a = strings.ReplaceAll(a, "hook prerouting priority -300; policy accept;", "hook prerouting priority N; policy accept;")
	if a != b {
		t.Errorf("only the kernel has\n%s\nonly the text has\n%s", missing(a, b), missing(b, a))
	}
}

// missing are the lines of a that b has not.
func missing(a, b string) string {
	var out []string
	have := strings.Split(b, "\n")
	for _, l := range strings.Split(a, "\n") {
		if !slices.Contains(have, l) {
			out = append(out, l)
		}
	}
	return strings.Join(out, "\n")
}
