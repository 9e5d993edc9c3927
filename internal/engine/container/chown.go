package container

import (
	"context"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/resolve"
	"github.com/bulkhead-engine/bulkhead/internal/selinux"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// chown gives the sources that flags say so of to the container's user: :U.
func (s *Service) chown(ctx context.Context, result *assemble.Result) error {
	if len(result.Chown) == 0 {
		return nil
	}
	unlock, err := s.lockRelabel(ctx) // two that give one tree away at once would leave a mixture
	if err != nil {
		return err
	}
	defer unlock()
	for i := range result.Chown {
		p := &result.Chown[i]
		if err := s.chownPoint(ctx, p, result); err != nil {
			return flagged(p.Flag, err)
		}
	}
	return nil
}

func (s *Service) chownPoint(ctx context.Context, p *assemble.Point, result *assemble.Result) error {
	o, err := ownerIn(p, result)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(p.Source, volumesDir(s.o.Root)+"/") {
		o.Guard = []string{s.o.Root, s.o.Run}
	}
	fd, err := unix.Open(p.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return errdef.Errorf(errdef.NotFound, "option U: %s: %w", p.Source, err)
	}
	defer unix.Close(fd)
	at := fd
	if p.Subpath != "" {
		if at, err = resolve.InRoot(fd, p.Subpath, unix.O_PATH); err != nil {
			return err
		}
		defer unix.Close(at)
	}
	done, err := selinux.GiveAt(ctx, at, p.Source, o)
	if errdef.Is(err, errdef.Denied) || errdef.Is(err, errdef.NotFound) { // it is the request that cannot be, not the program that may not run
		err = errdef.WithHint(errdef.Errorf(errdef.Invalid, "%w", err), errdef.Hint(err))
	}
	for _, dir := range done.Mounts {
		s.warn(errdef.Errorf(errdef.Unsupported, "%s: %s in it is a mount of its own, whose files keep their owners", p.Flag, dir))
	}
	return err
}

// ownerIn is the container's user as the files of a source have it: what the mount then shows as him.
func ownerIn(p *assemble.Point, result *assemble.Result) (selinux.Owner, error) {
	l := result.Spec.Linux
	o := selinux.Owner{UID: result.UID, GID: result.GID}
	if p.Idmap && p.IDs == nil {
		return o, nil
	}
	o.UID, o.GID = outside(l.UIDMappings, o.UID), outside(l.GIDMappings, o.GID)
	if p.IDs == nil {
		return o, nil
	}
	uids, gids, err := p.IDs.Of(l.UIDMappings, l.GIDMappings)
	if err != nil {
		return o, err
	}
	uid, ok := inFiles(uids, o.UID)
	gid, ok2 := inFiles(gids, o.GID)
	if !ok || !ok2 {
		return o, errdef.Errorf(errdef.Invalid, "option U: no id of the files is shown as the container's user: see option idmap")
	}
	o.UID, o.GID = uid, gid
	return o, nil
}

func inFiles(maps []specs.LinuxIDMapping, host uint32) (uint32, bool) {
	for _, m := range maps {
		if host >= m.HostID && host-m.HostID < m.Size {
			return m.ContainerID + host - m.HostID, true
		}
	}
	return 0, false
}
