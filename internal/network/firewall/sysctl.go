package firewall

import (
	"os"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// sysctls are those of the pair. route_localnet is on for the near end alone, into which nothing of a container's gets; the far end takes packets of all the world, so it is loose about
// where they should have come in.
func sysctls() (v6 bool, err error) {
	for _, s := range [][2]string{
		{"ipv4/conf/" + loopNear + "/route_localnet", "1"},
		{"ipv4/conf/" + loopFar + "/rp_filter", "2"},
		{"ipv4/conf/" + loopNear + "/forwarding", "1"},
		{"ipv4/conf/" + loopFar + "/forwarding", "1"},
	} {
		if err := sysctl(s[0], s[1]); err != nil {
			return false, err
		}
	}
	for _, device := range []string{loopNear, loopFar} {
		for _, s := range [][2]string{{"disable_ipv6", "0"}, {"forwarding", "1"}, {"accept_ra", "0"}, {"accept_redirects", "0"}} {
			err := sysctl("ipv6/conf/"+device+"/"+s[0], s[1])
			if errdef.Is(err, errdef.NotFound) {
				return false, nil // a kernel without IPv6
			}
			if err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

func sysctl(name, value string) error {
	path := "/proc/sys/net/" + name
	old, err := os.ReadFile(path)
	if err == nil && strings.TrimSpace(string(old)) != value {
		err = os.WriteFile(path, []byte(value), 0)
	}
	switch {
	case os.IsNotExist(err):
		return errdef.Errorf(errdef.NotFound, "net.%s: the kernel has none", strings.ReplaceAll(name, "/", "."))
	case err != nil:
		return errdef.Errorf(errdef.Unavailable, "set net.%s to %s: %w", strings.ReplaceAll(name, "/", "."), value, err)
	}
	return nil
}
