package assemble

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/defaults"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const (
	maxMaps = 340                 // lines of a map (user_namespaces(7))
	allIDs  = math.MaxUint32      // how many there are: the last one, (uid_t)-1, is none
	mostIDs = 4096 * defaults.IDs // that a range of a container's own may have
)

// IDs are the ids that a container is to have: --userns, --uidmap, --gidmap. Which of the host's are in a range of its own is known later, and Maps told.
type IDs struct {
	Host bool   // no user namespace
	Join string // the container whose user namespace it is
	Own  uint32 // how many of its ids are from a range of its own, from 0 inside; 0: none
	User string // who the program is if nobody says: keep-id
	uids idList
	gids idList
}

// An idList is how a map comes about.
type idList struct {
	own     bool // it begins with the range of the container's own
	entries []idEntry
}

// An idEntry is a line of a map. One that extends takes the place of what earlier ones map of the same ids, inside and outside.
type idEntry struct {
	specs.LinuxIDMapping
	extends bool
}

// ParseIDs reads --userns with Docker's and Podman's values, and --uidmap and --gidmap with Podman's: [FLAGS]INSIDE:[@]HOST[:SIZE], where + extends the lines before, or the range of the
// container's own, u and g make it count for users or groups alone, and @ says that the id is the host's, which it is here in any case. One of the two flags alone is for both.
func ParseIDs(h *container.HostConfig, uidmap, gidmap []string) (*IDs, error) {
	mode := string(h.UsernsMode)
	if mode == "" && len(uidmap)+len(gidmap) == 0 && (h.Privileged || compat(h)) {
		mode = "host"
	}
	if len(uidmap)+len(gidmap) > 0 {
		if mode != "" && mode != "private" {
			return nil, errdef.Errorf(errdef.Invalid, "userns=%.64s: conflicts with uidmap and gidmap, which say it all", mode)
		}
		return explicit(uidmap, gidmap)
	}
	own := &IDs{Own: defaults.IDs, uids: idList{own: true}, gids: idList{own: true}}
	word, options, _ := strings.Cut(mode, ":")
	switch {
	case mode == "", mode == "private", mode == "auto", mode == "nomap": // the caller's id is in no range of a container's
		return own, nil
	case mode == "host":
		return &IDs{Host: true}, nil
	case word == "container" && options != "":
		return &IDs{Join: options}, nil
	case word == "auto" && options != "":
		return own, own.auto(mode, options)
	case word == "keep-id":
		return keepID(mode, options)
	case word == "ns":
		err := errdef.Errorf(errdef.Unsupported, "userns=%.128q: which ids the files are to be shown with cannot be known of a namespace that is no container's", mode)
		return nil, errdef.WithHint(err, "container:NAME joins that of a container; --uidmap and --gidmap say the ids")
	}
	err := errdef.Errorf(errdef.Invalid, "userns=%.64q: there is no such mode", mode)
	return nil, errdef.WithHint(err, "host, private, auto, keep-id, nomap, container:NAME; or leave it away for a range of the container's own")
}

// compat reports whether the level is Docker's, which has no user namespace unless one is asked for.
func compat(h *container.HostConfig) bool {
	o, err := ParseOptions(h.SecurityOpt)
	return err == nil && o.Level == defaults.Compat
}

// keepID is keep-id of root: a user namespace in which each id is what it is outside, as Podman makes it.
func keepID(mode, options string) (*IDs, error) {
	user := map[string]uint32{"uid": 0, "gid": 0}
	for _, o := range strings.Split(options, ",") {
		if options == "" {
			break
		}
		key, value, _ := strings.Cut(o, "=")
		n, err := strconv.ParseUint(value, 10, 32)
		if _, known := user[key]; !known || err != nil || n >= allIDs {
			return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "userns=%.128q: %.64q is no option of keep-id", mode, o), "uid=NUMBER, gid=NUMBER")
		}
		user[key] = uint32(n)
	}
	all := idList{entries: []idEntry{{LinuxIDMapping: specs.LinuxIDMapping{Size: allIDs}}}}
	who := strconv.FormatUint(uint64(user["uid"]), 10) + ":" + strconv.FormatUint(uint64(user["gid"]), 10)
	return &IDs{User: who, uids: all, gids: all}, nil
}

// auto reads the options of auto: size=, uidmapping=, gidmapping=.
func (i *IDs) auto(mode, options string) error {
	for _, o := range strings.Split(options, ",") {
		key, value, _ := strings.Cut(o, "=")
		bad := func(why string) error { return errdef.Errorf(errdef.Invalid, "userns=%.128q: %.64q: %s", mode, o, why) }
		switch key {
		case "size":
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil || n == 0 || n > mostIDs {
				return bad("wants a number of ids, at most " + strconv.Itoa(mostIDs))
			}
			i.Own = uint32(n)
		case "uidmapping", "gidmapping":
			e, _, err := entry(value)
			if err != nil {
				return bad(err.Error())
			}
			e.extends = true
			list := &i.uids
			if key == "gidmapping" {
				list = &i.gids
			}
			list.entries = append(list.entries, e)
		default:
			return errdef.WithHint(bad("is no option of auto"), "size=NUMBER, uidmapping=INSIDE:HOST:SIZE, gidmapping=INSIDE:HOST:SIZE")
		}
	}
	return nil
}

// explicit are the maps of --uidmap and --gidmap.
func explicit(uidmap, gidmap []string) (*IDs, error) {
	i := &IDs{}
	if len(uidmap) == 0 {
		uidmap = gidmap
	} else if len(gidmap) == 0 {
		gidmap = uidmap
	}
	for _, m := range []struct {
		flag  string
		texts []string
		kind  string
		to    *idList
	}{{"uidmap", uidmap, "u", &i.uids}, {"gidmap", gidmap, "g", &i.gids}} {
		for _, text := range m.texts {
			e, kinds, err := entry(text)
			if err != nil {
				return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "%s %.64q: %w", m.flag, text, err), "INSIDE:HOST:SIZE, and +INSIDE:HOST:SIZE to change what is mapped else")
			}
			if kinds != "" && !strings.Contains(kinds, m.kind) {
				continue
			}
			if len(m.to.entries) == 0 && e.extends {
				m.to.own, i.Own = true, defaults.IDs
			}
			m.to.entries = append(m.to.entries, e)
		}
		if len(m.to.entries) == 0 { // all are for the other kind
			m.to.own, i.Own = true, defaults.IDs
		}
	}
	return i, nil
}

// entry reads a line of a map, and for which kinds of ids it is.
func entry(text string) (e idEntry, kinds string, err error) {
	at := strings.IndexFunc(text, func(r rune) bool { return r >= '0' && r <= '9' })
	if at < 0 {
		return e, "", errdef.Errorf(errdef.Invalid, "wants INSIDE:HOST:SIZE")
	}
	for _, flag := range text[:at] {
		switch flag {
		case '+':
			e.extends = true
		case 'u', 'g':
			kinds += string(flag)
		default:
			return e, "", errdef.Errorf(errdef.Invalid, "there is no flag %q", flag)
		}
	}
	parts := strings.Split(text[at:], ":")
	if len(parts) == 2 {
		parts = append(parts, "1")
	}
	if len(parts) != 3 {
		return e, "", errdef.Errorf(errdef.Invalid, "wants INSIDE:HOST:SIZE")
	}
	parts[1] = strings.TrimPrefix(parts[1], "@")
	var n [3]uint32
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			return e, "", errdef.Errorf(errdef.Invalid, "%.16q is no number of 32 bits", p)
		}
		n[i] = uint32(v)
	}
	e.LinuxIDMapping = specs.LinuxIDMapping{ContainerID: n[0], HostID: n[1], Size: n[2]}
	switch {
	case n[2] == 0:
		return e, "", errdef.Errorf(errdef.Invalid, "maps nothing")
	case uint64(n[0])+uint64(n[2]) > allIDs || uint64(n[1])+uint64(n[2]) > allIDs:
		return e, "", errdef.Errorf(errdef.Invalid, "goes past the last id, 4294967294")
	}
	return e, kinds, nil
}

// Maps returns the maps of a container whose own range begins at an id of the host's. They are such that the kernel takes them.
func (i *IDs) Maps(first uint32) (uids, gids []specs.LinuxIDMapping, err error) {
	if i.Host || i.Join != "" {
		return nil, nil, nil
	}
	if uids, err = i.uids.maps("uidmap", first, i.Own); err != nil {
		return nil, nil, err
	}
	gids, err = i.gids.maps("gidmap", first, i.Own)
	return uids, gids, err
}

func (l *idList) maps(flag string, first, own uint32) ([]specs.LinuxIDMapping, error) {
	var out []specs.LinuxIDMapping
	if l.own {
		out = append(out, specs.LinuxIDMapping{HostID: first, Size: own})
	}
	for _, e := range l.entries {
		if e.extends {
			out = without(out, e.LinuxIDMapping)
		}
		for _, o := range out {
			if meet(e.ContainerID, e.Size, o.ContainerID, o.Size) || meet(e.HostID, e.Size, o.HostID, o.Size) {
				err := errdef.Errorf(errdef.Invalid, "%s %s: overlaps %s", flag, line(e.LinuxIDMapping), line(o))
				return nil, errdef.WithHint(err, "+"+line(e.LinuxIDMapping)+" takes the place of what it overlaps")
			}
		}
		out = append(out, e.LinuxIDMapping)
	}
	slices.SortFunc(out, func(a, b specs.LinuxIDMapping) int { return cmp.Compare(a.ContainerID, b.ContainerID) })
	out = joined(out)
	switch {
	case len(out) > maxMaps:
		return nil, errdef.Errorf(errdef.Invalid, "%s: %d ranges, and the kernel takes %d", flag, len(out), maxMaps)
	case len(out) == 0 || out[0].ContainerID != 0:
		return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "%s: nothing is mapped to 0, and root of the container makes its files ready", flag), "map 0, too: 0:HOST:1")
	}
	return out, nil
}

func line(m specs.LinuxIDMapping) string {
	return strconv.FormatUint(uint64(m.ContainerID), 10) + ":" + strconv.FormatUint(uint64(m.HostID), 10) + ":" + strconv.FormatUint(uint64(m.Size), 10)
}

func meet(a, na, b, nb uint32) bool {
	return uint64(a) < uint64(b)+uint64(nb) && uint64(b) < uint64(a)+uint64(na)
}

// without takes from a map what another line maps, on either side.
func without(list []specs.LinuxIDMapping, by specs.LinuxIDMapping) []specs.LinuxIDMapping {
	var out []specs.LinuxIDMapping
	for _, m := range list {
		for _, part := range cut(m, by.ContainerID, by.Size, false) {
			out = append(out, cut(part, by.HostID, by.Size, true)...)
		}
	}
	return out
}

// cut returns what is left of a line without some ids, of the inside or the host's.
func cut(m specs.LinuxIDMapping, from, n uint32, host bool) []specs.LinuxIDMapping {
	begin := m.ContainerID
	if host {
		begin = m.HostID
	}
	if !meet(begin, m.Size, from, n) {
		return []specs.LinuxIDMapping{m}
	}
	var out []specs.LinuxIDMapping
	if from > begin {
		out = append(out, specs.LinuxIDMapping{ContainerID: m.ContainerID, HostID: m.HostID, Size: from - begin})
	}
	if end, last := uint64(from)+uint64(n), uint64(begin)+uint64(m.Size); end < last {
		skip := uint32(end - uint64(begin))
		out = append(out, specs.LinuxIDMapping{ContainerID: m.ContainerID + skip, HostID: m.HostID + skip, Size: m.Size - skip})
	}
	return out
}

// joined makes one of lines that follow each other on both sides.
func joined(list []specs.LinuxIDMapping) []specs.LinuxIDMapping {
	var out []specs.LinuxIDMapping
	for _, m := range list {
		if n := len(out) - 1; n >= 0 && out[n].ContainerID+out[n].Size == m.ContainerID && out[n].HostID+out[n].Size == m.HostID {
			out[n].Size += m.Size
			continue
		}
		out = append(out, m)
	}
	return out
}

// Plain reports whether the ids are those of the container's own range and no others.
func (i *IDs) Plain() bool {
	return i.uids.own && i.gids.own && len(i.uids.entries)+len(i.gids.entries) == 0
}
