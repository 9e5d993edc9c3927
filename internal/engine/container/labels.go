package container

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/selinux"
	"github.com/moby/moby/api/types/mount"
	"golang.org/x/sys/unix"
)

// SELinux. A container gets its labels when it is made, and keeps them until it is removed: its files have them. Which pairs of categories are taken stands below Root, in the directory
// labelsDir; a claim of a container that is not there is void, and is swept.
const labelsDir = "selinux"

// SELinux are the labels of a container; nil in the record of one that was made where SELinux was not in force.
type SELinux struct {
	selinux.Labels
	Off string `json:",omitempty"` // the flag that took the process label; "": none did, or label=disable
}

// takeLabels draws the labels of a container that is being made, nil on a host without SELinux. Its directory must be there.
func (s *Service) takeLabels(ctx context.Context, r *Record) error {
	o, off, err := s.labelOptions(r)
	if err != nil {
		return err
	}
	if selinux.Current() == selinux.Disabled {
		return flagged("security-opt label", o.Without())
	}
	pool, err := selinux.OpenPool(s.labels())
	if err != nil {
		return err
	}
	defer pool.Close()
	l, err := pool.Allocate(ctx, r.ID, o)
	if errdef.Is(err, errdef.Unavailable) { // all pairs are taken, some perhaps by what is no more
		if _, err := pool.Reclaim(ctx, s.hasLabels); err != nil {
			return err
		}
		l, err = pool.Allocate(ctx, r.ID, o)
	}
	if err != nil {
		return flagged("security-opt label", err)
	}
	r.SELinux = &SELinux{l, off}
	return nil
}

// flagged says which flag an error is about.
func flagged(flag string, err error) error {
	if err == nil {
		return nil
	}
	return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "%s: %w", flag, err), errdef.Hint(err))
}

func (s *Service) labels() string { return filepath.Join(s.o.Root, labelsDir) }

// labelOptions are what is asked of a container's labels, and which flag turns them off. As with Docker the values of label= count before all; without any, a container that is to see the
// host's processes or its shared memory is not confined, and one that shares those of another container has that one's labels, for the policy would keep them apart else. A network is shared without
// that: sockets of IP have no categories, and files stay each container's own.
func (s *Service) labelOptions(r *Record) (o selinux.Options, off string, err error) {
	list, err := assemble.ParseOptions(r.Host.SecurityOpt)
	if err != nil {
		return o, "", err
	}
	h := &r.Host
	switch {
	case len(list.Labels) > 0:
		o, err = selinux.ParseOptions(list.Labels)
		return o, "", flagged("security-opt", err)
	case h.Privileged:
		return selinux.Options{Disable: true}, "privileged", nil
	case h.PidMode == "host":
		return selinux.Options{Disable: true}, "pid=host", nil
	case h.IpcMode == "host":
		return selinux.Options{Disable: true}, "ipc=host", nil
	}
	if selinux.Current() == selinux.Disabled {
		return o, "", nil
	}
	first := ""
	for _, name := range []string{h.PidMode.Container(), h.IpcMode.Container()} {
		if name == "" {
			continue
		}
		c, err := s.Get(name)
		if err != nil {
			return o, "", err
		}
		its, err := selinux.OptionsOf(c.label())
		if err != nil {
			return o, "", errdef.Errorf(errdef.KindOf(err), "label of container %s: %w", c.Name, err)
		}
		if first != "" && its != o {
			err := errdef.Errorf(errdef.Conflict, "pid, ipc: the containers %s and %s have different SELinux labels", first, name)
			return o, "", errdef.WithHint(err, "give both the same with --security-opt label=level:")
		}
		o, first = its, name
	}
	if o.Disable {
		off = "pid or ipc of container " + first
	}
	return o, off, nil
}

// oldLabels gives labels to a container that was made before SELinux was in force, or by an engine that did not know it: nothing starts without.
func (s *Service) oldLabels(ctx context.Context, r *Record) error {
	if r.SELinux != nil || selinux.Current() == selinux.Disabled {
		return nil
	}
	if err := s.takeLabels(ctx, r); err != nil {
		return err
	}
	return s.write(s.dir(r.ID), r)
}

// inForce are the labels of a container, nil on a host without SELinux, and where it is not in force any more.
func (r *Record) inForce() *SELinux {
	if r.SELinux == nil || selinux.Current() == selinux.Disabled {
		return nil
	}
	return r.SELinux
}

// label is that of a container's processes, "" if SELinux does not confine it.
func (r *Record) label() string {
	if l := r.inForce(); l != nil {
		return l.Process
	}
	return ""
}

// mountLabel is that of a container's files, "" without SELinux.
func (r *Record) mountLabel() string {
	if l := r.inForce(); l != nil {
		return l.Mount
	}
	return ""
}

// pipeLabel is that of the streams of a container's processes, "" for pipes as they come, which one that SELinux does not confine may use.
func (r *Record) pipeLabel() string {
	if r.label() == "" {
		return ""
	}
	return r.mountLabel()
}

// labelFacts are the labels for the configuration.
func (r *Record) labelFacts() assemble.Labels {
	l := r.inForce()
	if l == nil {
		return assemble.Labels{}
	}
	return assemble.Labels{Process: l.Process, Mount: l.Mount, Off: l.Off, Show: l.Nesting().Show, Nested: l.Nested}
}

// dropLabels gives the categories of a container back. That they cannot be is a warning: then they are swept.
func (s *Service) dropLabels(r *Record) {
	if r.SELinux == nil || r.SELinux.Level == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockTime)
	defer cancel()
	pool, err := selinux.OpenPool(s.labels())
	if err == nil {
		err = pool.Release(ctx, r.ID, r.SELinux.Level)
		_ = pool.Close()
	}
	s.warn(err)
}

func (s *Service) warn(err error) {
	if err != nil && s.o.Warn != nil {
		s.o.Warn(err)
	}
}

// hasLabels reports whether a container may have a claim: it is there, or is being made.
func (s *Service) hasLabels(id string) bool {
	for _, dir := range []string{s.dir(id), s.dir(id) + ".new"} {
		if _, err := os.Lstat(dir); err == nil {
			return true
		}
	}
	return false
}

// sweepLabels drops the claims of containers that are no more.
func (s *Service) sweepLabels() error {
	if _, err := os.Lstat(s.labels()); os.IsNotExist(err) {
		return nil // no container has had any
	}
	pool, err := selinux.OpenPool(s.labels())
	if err != nil {
		return err
	}
	defer pool.Close()
	ctx, cancel := context.WithTimeout(context.Background(), lockTime)
	defer cancel()
	_, err = pool.Reclaim(ctx, s.hasLabels)
	return err
}

// labelFiles labels what the engine has written for a container: each with the container's label, but for the program of --init, which all containers have.
func (s *Service) labelFiles(r *Record) error {
	label := r.mountLabel()
	if label == "" {
		return nil
	}
	for _, p := range s.files(r) {
		of := label
		if p.Destination == initPath {
			var err error
			if of, err = selinux.Common(); err != nil {
				return err
			}
		}
		if err := selinux.Set(p.Source, of); err != nil {
			return err
		}
	}
	if len(r.Secrets) == 0 {
		return nil
	}
	for _, dir := range []string{"files", "others"} { // not those that are variables
		err := filepath.WalkDir(filepath.Join(s.secretsOf(r.ID), dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return selinux.Set(path, label)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return errdef.Errorf(errdef.KindOf(err), "secret: %w", err)
		}
	}
	return nil
}

// labelLayers gives the layers of an image a label that all containers may read, once. The label of the mount decides about everything else;
// but older kernels (seen on 6.1, not on 6.12) look at a layer's own file when the protection of mapped memory changes (mprotect(2)), as the loader of every program does.
func (s *Service) labelLayers(ctx context.Context, dirs []string) error {
	if selinux.Current() == selinux.Disabled {
		return nil
	}
	label, err := selinux.Layers()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if selinux.SameType(selinux.Of(dir), label) {
			continue
		}
		if _, err := s.relabelTree(ctx, dir, selinux.Volume{Label: label, Shared: true}); err != nil {
			return flagged("layers of the image", err)
		}
	}
	return nil
}

// relabel labels the sources that a container's flags say so of: :z for all containers, :Z for this one.
func (s *Service) relabel(ctx context.Context, r *Record, points []assemble.Point) error {
	for i := range points {
		p := &points[i]
		if p.Type == mount.TypeBind && p.Relabel != assemble.NoRelabel {
			if err := s.relabelPoint(ctx, r, p, p.Relabel == assemble.Shared); err != nil {
				return err
			}
		}
	}
	return nil
}

// relabelVolume labels a volume for all containers, as Docker does, unless :Z is behind it: at each start, because what containers make in it has their own categories under some
// policies, as Debian's. A directory of the host's that is called a volume keeps its labels, unless a flag says so.
func (s *Service) relabelVolume(ctx context.Context, r *Record, p *assemble.Point) error {
	if p.Relabel == assemble.NoRelabel && !strings.HasPrefix(p.Source, volumesDir(s.o.Root)+"/") {
		return nil
	}
	return s.relabelPoint(ctx, r, p, p.Relabel != assemble.Private)
}

func (s *Service) relabelPoint(ctx context.Context, r *Record, p *assemble.Point, shared bool) error {
	if r.mountLabel() == "" {
		return nil
	}
	v := selinux.Volume{Label: r.mountLabel(), Shared: shared}
	if !strings.HasPrefix(p.Source, volumesDir(s.o.Root)+"/") {
		v.Guard = []string{s.o.Root, s.o.Run}
	}
	done, err := s.relabelTree(ctx, p.Source, v)
	if errdef.Is(err, errdef.Denied) { // it is the request that cannot be, not the program that may not run
		err = errdef.WithHint(errdef.Errorf(errdef.Invalid, "%w", err), errdef.Hint(err))
	}
	if err != nil {
		return flagged(p.Flag, err)
	}
	if done.Unsupported {
		s.warn(errdef.Errorf(errdef.Unsupported, "%s: the file system of %s keeps no labels: whether the container may use it is up to its one label", p.Flag, p.Source))
	}
	for _, dir := range done.Mounts {
		s.warn(errdef.Errorf(errdef.Unsupported, "%s: %s in it is a mount of its own, whose files keep their labels", p.Flag, dir))
	}
	return nil
}

// relabelTree labels a tree, while nobody else does.
func (s *Service) relabelTree(ctx context.Context, dir string, v selinux.Volume) (selinux.Done, error) {
	unlock, err := s.lockRelabel(ctx)
	if err != nil {
		return selinux.Done{}, err
	}
	defer unlock()
	return selinux.Relabel(ctx, dir, v)
}

// lockRelabel waits until nobody else relabels: two that do one tree at once would leave a mixture.
func (s *Service) lockRelabel(ctx context.Context) (unlock func(), err error) {
	fd, err := unix.Open(filepath.Join(s.o.Run, "relabel.lock"), unix.O_RDONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "relabel: lock: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err := atomicfile.Flock(ctx, fd, atomicfile.Exclusive); err != nil {
		_ = unix.Close(fd)
		return nil, errdef.Errorf(errdef.KindOf(err), "relabel: another command does: %w", err)
	}
	return func() { _ = unix.Close(fd) }, nil
}

// deniedSource is a hint for a start that was refused a file: a root or sources of bind mounts whose type no container may use.
func (s *Service) deniedSource(r *Record) string {
	if r.label() == "" || selinux.Current() != selinux.Enforcing {
		return ""
	}
	if f := r.Rootfs; f != nil && !f.Overlay {
		if label := selinux.Of(f.Path); label != "" && !selinux.UsableType(label, r.mountLabel()) {
			return "SELinux: " + f.Path + " has the label " + label + ", which the policy may keep from containers: " + f.Path + ":O shows it with the container's label, or chcon -R -t container_file_t " + f.Path
		}
	}
	for i := range r.Points {
		p := &r.Points[i]
		if p.Type != mount.TypeBind || p.Relabel != assemble.NoRelabel {
			continue
		}
		if label := selinux.Of(p.Source); label != "" && !selinux.UsableType(label, r.mountLabel()) {
			return "SELinux: " + p.Source + " has the label " + label + ", which the policy may keep from containers: :z behind the volume labels it for all of them, :Z for this one"
		}
	}
	return ""
}
