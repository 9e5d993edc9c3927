package assemble

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/mount"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// An IDMap is the value of idmap=: ids of the files, and what they are shown as on the host. Those that are relative count from the container's own.
type IDMap struct {
	UIDs, GIDs []specs.LinuxIDMapping
	Relative   [2]bool
}

// valued reads an option with a value.
func (p *Point) valued(o string) error {
	key, value, given := strings.Cut(o, "=")
	switch {
	case key == "idmap" && given:
		m, err := idMap(value)
		if err != nil {
			return errdef.WithHint(errdef.Errorf(errdef.Invalid, "option %.128q: %w", o, err), "idmap=uids=FILES-HOST-SIZE#...;gids=..., with @ before for ids of the container")
		}
		p.Idmap, p.IDs = true, m
		return nil
	case key == "upperdir" || key == "workdir":
		err := errdef.Errorf(errdef.Unsupported, "option %.64q: what an overlay keeps is thrown away with the container", o)
		return errdef.WithHint(err, "a volume keeps it")
	}
	return errdef.Errorf(errdef.Invalid, "invalid mode: %.64q", o)
}

// idMap reads the value of idmap=, as crun has it: uids=@0-1000-1#1-2000-5;gids=...
func idMap(value string) (*IDMap, error) {
	m := &IDMap{}
	for _, part := range strings.Split(value, ";") {
		kind, text, _ := strings.Cut(part, "=")
		to, n := &m.UIDs, 0
		switch kind {
		case "uids":
		case "gids":
			to, n = &m.GIDs, 1
		default:
			return nil, errdef.Errorf(errdef.Invalid, "%.32q is neither uids nor gids", kind)
		}
		text, m.Relative[n] = strings.CutPrefix(text, "@")
		for _, triple := range strings.Split(text, "#") {
			e, _, err := entry(strings.ReplaceAll(triple, "-", ":"))
			if err != nil || strings.Count(triple, "-") != 2 {
				return nil, errdef.Errorf(errdef.Invalid, "%.64q: wants FILES-HOST-SIZE", triple)
			}
			for _, o := range *to {
				if meet(e.ContainerID, e.Size, o.ContainerID, o.Size) || meet(e.HostID, e.Size, o.HostID, o.Size) {
					return nil, errdef.Errorf(errdef.Invalid, "%.64q overlaps another", triple)
				}
			}
			if *to = append(*to, e.LinuxIDMapping); len(*to) > maxMaps {
				return nil, errdef.Errorf(errdef.Invalid, "more than %d ranges", maxMaps)
			}
		}
	}
	if len(m.UIDs) == 0 || len(m.GIDs) == 0 {
		return nil, errdef.Errorf(errdef.Invalid, "wants uids and gids")
	}
	return m, nil
}

// Of returns the maps of a mount for a container with ids of its own.
func (m *IDMap) Of(uids, gids []specs.LinuxIDMapping) ([]specs.LinuxIDMapping, []specs.LinuxIDMapping, error) {
	var out [2][]specs.LinuxIDMapping
	for n, list := range [][]specs.LinuxIDMapping{m.UIDs, m.GIDs} {
		own := [][]specs.LinuxIDMapping{uids, gids}[n]
		for _, e := range list {
			if m.Relative[n] {
				at := slices.IndexFunc(own, func(o specs.LinuxIDMapping) bool {
					return e.HostID >= o.ContainerID && uint64(e.HostID)+uint64(e.Size) <= uint64(o.ContainerID)+uint64(o.Size)
				})
				if at < 0 {
					return nil, nil, errdef.Errorf(errdef.Invalid, "option idmap: the container has no ids %s", span(e))
				}
				e.HostID = own[at].HostID + e.HostID - own[at].ContainerID
			}
			out[n] = append(out[n], e)
		}
	}
	return out[0], out[1], nil
}

// subpath is a way within a volume or an image. What is there is looked up when the container starts, and does not lead out of it.
func (p *Point) subpath(text string) error {
	if text == "" {
		return nil
	}
	if path.IsAbs(text) || strings.HasPrefix(path.Clean(text), "..") || strings.ContainsRune(text, 0) {
		return errdef.Errorf(errdef.Invalid, "subpath %.256q: must be a relative path within the %s", text, p.Type)
	}
	if text = path.Clean(text); text != "." {
		p.Subpath, p.NoCopy = text, true // what an image has in the place belongs to the whole
	}
	return nil
}

// extra reads an option of --mount that Docker has no field for.
func (p *Point) extra(o string) error {
	switch {
	case p.Type == mount.TypeTmpfs && slices.Contains([]string{"exec", "noexec", "suid", "nosuid", "dev", "nodev", "tmpcopyup"}, o):
		p.Options = append(p.Options, o)
		return nil
	case p.Type == mount.TypeTmpfs && (o == "notmpcopyup" || o == "rw"):
		return nil // as it is
	case p.Type == mount.TypeImage && o == "rw":
		p.ReadOnly, p.Overlay = false, true
		return nil
	case p.Type == mount.TypeTmpfs, p.Type == mount.TypeImage, o == "O":
		return errdef.Errorf(errdef.Invalid, "option %.64q is not for a mount of type %s", o, p.Type)
	}
	return p.option(o)
}

// inherit reads --volumes-from: NAME[:OPTIONS].
func inherit(list []string, others func(string) ([]Point, error)) ([]Point, error) {
	var out []Point
	for _, text := range list {
		flag := "volumes-from " + strconv.Quote(text)
		name, mode, _ := strings.Cut(text, ":")
		if name == "" || others == nil {
			return nil, errdef.Errorf(errdef.Invalid, "%s: wants the name of a container", flag)
		}
		points, err := others(name)
		if err != nil {
			return nil, errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "%s: %w", flag, err), errdef.Hint(err))
		}
		for _, p := range points {
			if p.Type != mount.TypeBind && p.Type != mount.TypeVolume {
				continue
			}
			p.Flag, p.Inherited, p.NoCopy, p.Chown, p.Relabel, p.Anonymous = flag, name, true, false, NoRelabel, false // it stays when this one goes
			for _, o := range strings.Split(mode, ",") {
				switch o {
				case "rw", "": // no more than that one has
				case "ro", "z":
					_ = p.option(o) // which there is
				default:
					return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "%s: invalid mode: %.64q", flag, o), "ro, rw, z")
				}
			}
			// The last one that names a place has it, as with Docker.
			out = append(slices.DeleteFunc(out, func(o Point) bool { return o.Destination == p.Destination }), p)
		}
	}
	return out, nil
}

// mixed refuses options of another type of mount than the one that is asked for.
func mixed(m *mount.Mount) error {
	for _, o := range []struct {
		there bool
		kind  mount.Type
	}{
		{m.BindOptions != nil, mount.TypeBind},
		{m.VolumeOptions != nil, mount.TypeVolume},
		{m.TmpfsOptions != nil, mount.TypeTmpfs},
		{m.ImageOptions != nil, mount.TypeImage},
		{m.ClusterOptions != nil, mount.TypeCluster},
	} {
		if o.there && m.Type != o.kind {
			return errdef.Errorf(errdef.Invalid, "options of mounts of type %s are not for one of type %.32q", o.kind, m.Type)
		}
	}
	return nil
}
