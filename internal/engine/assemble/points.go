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
	Type        mount.Type        // bind, volume, tmpfs, image
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

	Overlay   bool   `json:",omitempty"` // O: what the container writes goes into a layer that is thrown away
	Subpath   string `json:",omitempty"` // within the volume or image
	TopOnly   bool   `json:",omitempty"` // read-only are not the mounts below
	IDs       *IDMap `json:",omitempty"` // idmap=: other ids than the container's
	Image     string `json:",omitempty"` // of an image: its id
	Chain     string `json:",omitempty"` // and its layers
	Inherited string `json:",omitempty"` // the container whose it is: volumes-from
	Place     string `json:"-"`          // where the engine has mounted it, instead of the source
}

// Prepared reports whether the engine mounts something itself, and the runtime binds that: what cannot be said by a path, or is no directory.
func (p *Point) Prepared() bool { return p.Overlay || p.Subpath != "" || p.Type == mount.TypeImage }

// Sources are what else is known of mounts than Docker's request says.
type Sources struct {
	Options map[string][]string // of --mount, by target: those that Docker has no field for, as -v has them
	// Others returns what is mounted into another container, for --volumes-from.
	Others func(container string) ([]Point, error)
}

// Relabel says whether a source gets an SELinux label that the container may use.
type Relabel uint8

// The values.
const (
	NoRelabel Relabel = iota
	Shared            // z
	Private           // Z
)

// Points reads what is to be mounted: -v, --mount, --tmpfs, --volumes-from, and the volumes of the image. Two for one destination are refused, but what another container has gives way, and
// a volume of the image does. The result is sorted, so that what lies deeper comes later.
func Points(c *container.Config, h *container.HostConfig, from Sources) ([]Point, error) {
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
		if err := add(mounted(&h.Mounts[i], from.Options[h.Mounts[i].Target])); err != nil {
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
	rest, err := yielding(c, h, from)
	if err != nil {
		return nil, err
	}
	for _, p := range rest {
		if _, given := taken[p.Destination]; given {
			continue
		}
		if err := add(p, nil); err != nil {
			return nil, err
		}
	}
	sort.SliceStable(out, func(i, j int) bool {
		return strings.Count(out[i].Destination, "/") < strings.Count(out[j].Destination, "/")
	})
	return out, nil
}

// yielding are those that give way to others in their place: what another container has, and the volumes of the image.
func yielding(c *container.Config, h *container.HostConfig, from Sources) ([]Point, error) {
	out, err := inherit(h.VolumesFrom, from.Others)
	if err != nil {
		return nil, err
	}
	for _, dest := range keys(c.Volumes) {
		clean, err := destination(dest)
		if err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "volume of the image: %w", err)
		}
		out = append(out, Point{Type: mount.TypeVolume, Destination: clean, Idmap: true, Flag: "volume " + strconv.Quote(dest)})
	}
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
		p.Overlay = true
	default:
		return p.valued(o)
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

// mounted reads a value of --mount, and options that Docker has no field for.
func mounted(m *mount.Mount, more []string) (Point, error) {
	p, err := described(m)
	for _, o := range more {
		if err != nil {
			return p, err
		}
		err = p.extra(o)
	}
	return p, err
}

func described(m *mount.Mount) (Point, error) {
	if err := mixed(m); err != nil {
		return Point{Flag: "mount " + strconv.Quote(string(m.Type)+","+m.Target)}, err
	}
	p := Point{Type: m.Type, Destination: m.Target, ReadOnly: m.ReadOnly, Idmap: true, Flag: "mount " + strconv.Quote(string(m.Type)+","+m.Target)}
	switch m.Type {
	case mount.TypeBind:
		if !filepath.IsAbs(m.Source) {
			return p, errdef.Errorf(errdef.Invalid, "invalid mount path: %.256q mount path must be absolute", m.Source)
		}
		p.Source, p.Recursive = filepath.Clean(m.Source), true
		if o := m.BindOptions; o != nil {
			p.Recursive, p.Make, p.TopOnly = !o.NonRecursive, o.CreateMountpoint, o.ReadOnlyNonRecursive
			if err := p.propagation(string(o.Propagation)); err != nil {
				return p, err
			}
		}
	case mount.TypeVolume:
		return p, p.volume(m)
	case mount.TypeTmpfs:
		return p, p.tmpfs(m)
	case mount.TypeImage:
		p.Source, p.ReadOnly = m.Source, true // but for rw
		if m.Source == "" {
			return p, errdef.Errorf(errdef.Invalid, "wants an image as its source")
		}
		if o := m.ImageOptions; o != nil {
			if err := p.subpath(o.Subpath); err != nil {
				return p, err
			}
		}
	default:
		err := errdef.Errorf(errdef.Unsupported, "mounts of type %.32q are not supported", m.Type)
		return p, errdef.WithHint(err, "bind, volume, tmpfs, image")
	}
	return p, nil
}

func (p *Point) volume(m *mount.Mount) error {
	p.Name = m.Source
	if p.Name != "" && !volumeName(p.Name) {
		return errdef.Errorf(errdef.Invalid, "%.256q includes invalid characters for a volume name", p.Name)
	}
	if o := m.VolumeOptions; o != nil {
		p.NoCopy = o.NoCopy
		p.Labels = o.Labels
		if o.DriverConfig != nil && o.DriverConfig.Name != "" && o.DriverConfig.Name != "local" {
			return errdef.Errorf(errdef.Unsupported, "volume-driver %.64q: there are no drivers but local", o.DriverConfig.Name)
		}
		if err := p.subpath(o.Subpath); err != nil {
			return err
		}
		if o.DriverConfig != nil {
			p.Driver = o.DriverConfig.Options
		}
	}
	return nil
}

func (p *Point) tmpfs(m *mount.Mount) error {
	if m.Source != "" {
		return errdef.Errorf(errdef.Invalid, "a tmpfs has no source")
	}
	if m.ReadOnly {
		p.Options = append(p.Options, "ro")
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
	return nil
}
