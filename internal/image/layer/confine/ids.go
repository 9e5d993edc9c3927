package confine

import (
	"bufio"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/launch"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ids returns the maps of the worker's user namespace.
func ids() (maps [2][]specs.LinuxIDMapping, err error) {
	if Privileged() {
		for i, file := range []string{"/proc/self/uid_map", "/proc/self/gid_map"} {
			if maps[i], err = own(file); err != nil {
				return maps, err
			}
		}
		return maps, nil
	}
	maps[0] = subordinate("/etc/subuid", os.Geteuid())
	maps[1] = subordinate("/etc/subgid", os.Getegid())
	return maps, nil
}

// Privileged reports whether this process may map any id that it has itself.
func Privileged() bool {
	const setgid, setuid = 6, 7
	p := launch.Permitted()
	return os.Geteuid() == 0 && p.Has(setgid) && p.Has(setuid)
}

// own maps each id of this process's user namespace to itself.
func own(file string) ([]specs.LinuxIDMapping, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "read the ids that are there: %w", err)
	}
	ranges, err := idmap.Parse(string(text))
	if err != nil {
		return nil, err
	}
	var out []specs.LinuxIDMapping
	for _, r := range ranges {
		out = append(out, specs.LinuxIDMapping{ContainerID: r.Inside, HostID: r.Inside, Size: r.Count})
	}
	return out, nil
}

// subordinate maps root to an id and what follows to the user's ranges of a file of subuid(5)'s form, which names users or their numbers. Without
// any the map is the one id.
func subordinate(file string, id int) []specs.LinuxIDMapping {
	out := []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(id), Size: 1}}
	name := strconv.Itoa(os.Geteuid())
	login := name
	if u, err := user.LookupId(name); err == nil {
		login = u.Username
	}
	f, err := os.Open(file)
	if err != nil {
		return out
	}
	defer f.Close()
	next := uint32(1)
	for lines := bufio.NewScanner(f); lines.Scan() && len(out) < idmap.MaxRanges; {
		fields := strings.Split(strings.TrimSpace(lines.Text()), ":")
		if len(fields) != 3 || fields[0] != name && fields[0] != login {
			continue
		}
		start, err := strconv.ParseUint(fields[1], 10, 32)
		count, err2 := strconv.ParseUint(fields[2], 10, 32)
		if err != nil || err2 != nil || count == 0 || start+count > 1<<32-1 {
			continue
		}
		out = append(out, specs.LinuxIDMapping{ContainerID: next, HostID: uint32(start), Size: uint32(count)})
		next += uint32(count)
	}
	return out
}
