package container

import (
	"context"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/moby/moby/api/types/events"
)

// Rename gives a container another name. The new name is claimed first, then the record says it, then the old one is free: a claim counts only if the record has the name, so that
// of a rename that is killed in between nothing is left but a claim that is void.
func (s *Service) Rename(ctx context.Context, name, to string) error {
	id, err := s.Resolve(name)
	if err != nil {
		return err
	}
	if len(to) > 0 && to[0] == '/' { // as inspect shows it
		to = to[1:]
	}
	if !validName(to) {
		return errdef.Errorf(errdef.Invalid, "name %.140q: invalid container name, only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", to)
	}
	if err := s.writable(); err != nil {
		return err
	}
	lock, err := s.lock(ctx, id)
	if err != nil {
		return err
	}
	defer lock.Close()
	c, err := s.get(id)
	if err != nil {
		return err
	}
	old := c.Name
	if old == to {
		return errdef.Errorf(errdef.Invalid, "rename %s: it has this name already", to)
	}
	if err := s.take("names", to, id); err != nil {
		return inTheWay(err)
	}
	r := c.Record
	r.Name = to
	if err := s.write(s.dir(id), &r); err != nil {
		s.drop("names", to, id)
		return err
	}
	if c.Alive {
		err = s.change(ctx, id, control.Request{Name: to, Claim: [2]string{s.claimPath("names", old), s.claimPath("names", to)}})
	}
	s.drop("names", old, id)
	s.event(&r, events.ActionRename, "oldName", "/"+old)
	return err
}

// inTheWay says what can be done about a name that another container has.
func inTheWay(err error) error {
	if errdef.Is(err, errdef.Exists) {
		return errdef.WithHint(err, "remove or rename that container, or choose another name")
	}
	return err
}
