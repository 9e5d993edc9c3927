package container

import (
	"context"
	"io"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/engine/archive"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

// StatPath describes a file of a container: of what it sees if it runs, and else of its layers and its volumes.
func (s *Service) StatPath(ctx context.Context, name, path string) (st api.PathStat, err error) {
	c, err := s.Get(name)
	if err != nil {
		return st, err
	}
	err = s.inside(ctx, c, func(r *archive.Root) error {
		st, err = r.Stat(path)
		return err
	})
	return st, inContainer(c, path, err)
}

// GetArchive writes a file of a container, or a directory with all that is in it, as an archive. Before that it tells what it is.
func (s *Service) GetArchive(ctx context.Context, name, path string, w io.Writer, stat func(api.PathStat) error) error {
	c, err := s.Get(name)
	if err != nil {
		return err
	}
	err = s.inside(ctx, c, func(r *archive.Root) error {
		st, err := r.Stat(path)
		if err == nil {
			err = stat(st)
		}
		if err != nil {
			return err
		}
		return r.Write(ctx, path, w)
	})
	return inContainer(c, path, s.told(c, events.ActionArchivePath, err))
}

// PutArchive extracts an archive into a directory of a container. The owners are those of the archive; with CopyUIDGID the container's user, if it has one, as Docker has it.
func (s *Service) PutArchive(ctx context.Context, name, path string, content io.Reader, o option.Put) error {
	c, err := s.Get(name)
	if err != nil {
		return err
	}
	err = s.inside(ctx, c, func(r *archive.Root) error {
		how := archive.Options{KeepKind: o.NoOverwriteDirNonDir}
		if o.CopyUIDGID && c.Config.User != "" {
			owner, err := userOf(c)
			if err != nil {
				return err
			}
			how.Owner = owner
		}
		return r.Extract(ctx, path, content, how)
	})
	return inContainer(c, path, s.told(c, events.ActionExtractToDir, err))
}

// inContainer names the container where a path of it is not there.
func inContainer(c *Container, path string, err error) error {
	if errdef.Is(err, errdef.NotFound) {
		return errdef.Errorf(errdef.NotFound, "could not find the file %.256s in container %s: %w", path, c.Name, err)
	}
	return err
}

// userOf is the user of a container whose user is given in numbers. A name is in a file of the container, which may say anything by now.
func userOf(c *Container) (*[2]int, error) {
	user, group, both := strings.Cut(c.Config.User, ":")
	uid, err := strconv.Atoi(user)
	gid := 0
	if err == nil && both {
		gid, err = strconv.Atoi(group)
	}
	if err != nil || uid < 0 || gid < 0 {
		err := errdef.Errorf(errdef.Unsupported, "copy with owners: the user %.64q of the container is a name", c.Config.User)
		return nil, errdef.WithHint(err, "copy without -a, or run the container with a user in numbers")
	}
	return &[2]int{uid, gid}, nil
}
