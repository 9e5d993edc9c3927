package assemble

import (
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
)

// A Point is something mounted into a container.
type Point struct {
	Type        mount.Type        // bind, volume, tmpfs
	Name        string            // of a volume; "": one without a name, which the engine makes and then names
	Anonymous   bool              // the engine has named it
	Driver      map[string]string `json:",omitempty"` // options of a volume that is made
	Labels      map[string]string `json:",omitempty"` // of such a one
	Source      string            // of a bind mount, absolute; of a volume, what the engine fills in
	Destination string            // absolute, clean
	ReadOnly    bool
	Propagation string // rprivate, rslave ...; "": rprivate
	Relabel     Relabel
	Chown       bool // U: the files are given to the container's user
	NoCopy      bool // a new volume is not filled from the image
	Recursive   bool // of a bind mount: with what is mounted below
	NoExec      bool
	Dev, Suid   bool     // device nodes and set-id bits count, which is not the default
	Make        bool     // a source that does not exist is made, as -v has it
	Idmap       bool     // mapped to the container's ids, which is the default; --mount and -v can say noidmap
	Options     []string // of a tmpfs
	Flag        string   // that asked for it
}

// Relabel says whether a source gets an SELinux label that the container may use.
type Relabel uint8

// The values.
const (
	NoRelabel Relabel = iota
	Shared            // z
	Private           // Z
)

// Points reads what is to be mounted: -v, --mount, --tmpfs, and the volumes of the image. Two for one destination are refused, but a volume of the image gives
// way. The result is sorted, so that what lies deeper comes later.
func Points(c *container.Config, h *container.HostConfig) ([]Point, error) {
	var out []Point
	taken := map[string]string{}
	add := func(p Point, err error) error {
		if err != nil {
			return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "%s: %w", p.Flag, err), errdef.Hint(err))
		}
		if p.Destination, err = destination(p.Destination); err != nil {
			return errdef.Errorf(errdef.Invalid, "%s: %w", p.Flag, err)
		}
		if by, twice := taken[p.Destination]; twice {
			return errdef.Errorf(errdef.Invalid, "duplicate mount point: %s: of %s and of %s", p.Destination, by, p.Flag)
		}
		taken[p.Destination] = p.Flag
		out = append(out, p)
		return nil
	}
	for _, b := range h.Binds {
		if err := add(bind(b)); err != nil {
			return nil, err
		}
	}
	for i := range h.Mounts {
		if err := add(mounted(&h.Mounts[i])); err != nil {
			return nil, err
		}
	}
	for _, dest := range keys(h.Tmpfs) {
		p := Point{Type: mount.TypeTmpfs, Destination: dest, Flag: "tmpfs " + strconv.Quote(dest)}
		if h.Tmpfs[dest] != "" {
			p.Options = strings.Split(h.Tmpfs[dest], ",")
		}
		if err := add(p, nil); err != nil {
			return nil, err
		}
	}
	for _, dest := range keys(c.Volumes) {
		clean, err := destination(dest)
		if err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "volume of the image: %w", err)
		}
		if _, given := taken[clean]; given {
			continue
		}
		if err := add(Point{Type: mount.TypeVolume, Destination: dest, Idmap: true, Flag: "volume " + strconv.Quote(dest)}, nil); err != nil {
			return nil, err
		}
	}
	sort.SliceStable(out, func(i, j int) bool {
		return strings.Count(out[i].Destination, "/") < strings.Count(out[j].Destination, "/")
	})
	return out, nil
}

func keys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func destination(path string) (string, error) {
	switch {
	case !strings.HasPrefix(path, "/"):
		return "", errdef.Errorf(errdef.Invalid, "destination %.256q: mount path must be absolute", path)
	case strings.ContainsAny(path, "\x00"):
		return "", errdef.Errorf(errdef.Invalid, "destination %.256q: NUL", path)
	}
	path = filepath.Clean(path)
	if path == "/" {
		return "", errdef.Errorf(errdef.Invalid, "destination can't be '/'")
	}
	return path, nil
}

// bind reads the value of -v: [SOURCE:]DESTINATION[:OPTIONS].
func bind(text string) (Point, error) {
	p := Point{Type: mount.TypeBind, Idmap: true, Recursive: true, Make: true, Flag: "volume " + strconv.Quote(text)}
	parts := strings.Split(text, ":")
	switch len(parts) {
	case 1:
		p.Type, p.Destination = mount.TypeVolume, parts[0]
		return p, nil
	case 2, 3:
	default:
		return p, errdef.Errorf(errdef.Invalid, "wants [SOURCE:]DESTINATION[:OPTIONS]")
	}
	p.Source, p.Destination = parts[0], parts[1]
	switch {
	case strings.HasPrefix(p.Source, "/"):
		p.Source = filepath.Clean(p.Source)
	case p.Source == "" || strings.HasPrefix(p.Source, "."):
		return p, errdef.WithHint(errdef.Errorf(errdef.Invalid, "source %.256q: wants an absolute path or the name of a volume", p.Source), "give $PWD/... instead")
	default:
		p.Type, p.Name, p.Source = mount.TypeVolume, p.Source, ""
		if !volumeName(p.Name) {
			return p, errdef.Errorf(errdef.Invalid, "%.256q includes invalid characters for a volume name: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", p.Name)
		}
	}
	if len(parts) == 3 {
		for _, o := range strings.Split(parts[2], ",") {
			if err := p.option(o); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

func volumeName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("_.-", rune(c))) {
			return false
		}
	}
	return len(s) >= 2 && len(s) <= 255
}

// option reads one of the options of -v.
func (p *Point) option(o string) error {
	switch o {
	case "ro":
		p.ReadOnly = true
	case "rw", "":
		p.ReadOnly = false
	case "z":
		p.Relabel = Shared
	case "Z":
		p.Relabel = Private
	case "U":
		p.Chown = true
	case "nocopy":
		p.NoCopy = true
	case "copy":
		p.NoCopy = false
	case "rbind":
		p.Recursive = true
	case "bind":
		p.Recursive = false
	case "noexec":
		p.NoExec = true
	case "exec":
		p.NoExec = false
	case "dev":
		p.Dev = true
	case "nodev":
		p.Dev = false
	case "suid":
		p.Suid = true
	case "nosuid":
		p.Suid = false
	case "idmap":
		p.Idmap = true
	case "noidmap":
		p.Idmap = false
	case "cached", "delegated", "consistent": // meant Docker Desktop's file sharing, and mean nothing on Linux, as with Docker
	case "private", "rprivate", "shared", "rshared", "slave", "rslave":
		if p.Type == mount.TypeVolume {
			return errdef.Errorf(errdef.Invalid, "option %q is for bind mounts", o)
		}
		return p.propagation(o)
	case "O":
		return errdef.Errorf(errdef.Unsupported, "option O, an overlay over the source, is not supported")
	default:
		return errdef.Errorf(errdef.Invalid, "invalid mode: %.64q", o)
	}
	return nil
}

// propagation decides which mounts below a source are seen on the other side.
func (p *Point) propagation(o string) error {
	if o == "shared" || o == "rshared" {
		err := errdef.Errorf(errdef.Unsupported, "option %s: what a container mounts stays in it", o)
		return errdef.WithHint(err, strings.Replace(o, "shared", "slave", 1)+": what the host mounts below the source is seen inside")
	}
	p.Propagation = o
	return nil
}

// mounted reads a value of --mount.
func mounted(m *mount.Mount) (Point, error) {
	p := Point{Type: m.Type, Destination: m.Target, ReadOnly: m.ReadOnly, Idmap: true, Flag: "mount " + strconv.Quote(string(m.Type)+","+m.Target)}
	switch m.Type {
	case mount.TypeBind:
		if !filepath.IsAbs(m.Source) {
			return p, errdef.Errorf(errdef.Invalid, "invalid mount path: %.256q mount path must be absolute", m.Source)
		}
		p.Source, p.Recursive = filepath.Clean(m.Source), true
		if o := m.BindOptions; o != nil {
			p.Recursive, p.Make = !o.NonRecursive, o.CreateMountpoint
			if err := p.propagation(string(o.Propagation)); err != nil {
				return p, err
			}
		}
		if m.VolumeOptions != nil || m.TmpfsOptions != nil {
			return p, errdef.Errorf(errdef.Invalid, "options of volumes and tmpfs are not for a bind mount")
		}
	case mount.TypeVolume:
		p.Name = m.Source
		if p.Name != "" && !volumeName(p.Name) {
			return p, errdef.Errorf(errdef.Invalid, "%.256q includes invalid characters for a volume name", p.Name)
		}
		if o := m.VolumeOptions; o != nil {
			p.NoCopy = o.NoCopy
			p.Labels = o.Labels
			if o.Subpath != "" || o.DriverConfig != nil && o.DriverConfig.Name != "" && o.DriverConfig.Name != "local" {
				return p, errdef.Errorf(errdef.Unsupported, "volume-subpath and volume drivers are not supported")
			}
			if o.DriverConfig != nil {
				p.Driver = o.DriverConfig.Options
			}
		}
	case mount.TypeTmpfs:
		if m.Source != "" {
			return p, errdef.Errorf(errdef.Invalid, "a tmpfs has no source")
		}
		if o := m.TmpfsOptions; o != nil {
			if o.SizeBytes > 0 {
				p.Options = append(p.Options, "size="+strconv.FormatInt(o.SizeBytes, 10))
			}
			if o.Mode != 0 {
				p.Options = append(p.Options, "mode="+strconv.FormatUint(uint64(o.Mode)&0o7777, 8))
			}
			for _, kv := range o.Options {
				p.Options = append(p.Options, strings.Join(kv, "="))
			}
		}
	default:
		return p, errdef.Errorf(errdef.Unsupported, "mounts of type %.32q are not supported", m.Type)
	}
	return p, nil
}
