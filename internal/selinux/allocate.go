package selinux

import (
	"context"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/selinux/category"
	policy "github.com/opencontainers/selinux/go-selinux"
)

// A Pool hands out labels with categories, of which package category keeps who has which. It may be used by several goroutines.
type Pool struct{ *category.Pool }

// OpenPool opens the directory of a pool and makes it, not its parents, if it is not there. The error is of kind Denied for one that others may write.
func OpenPool(dir string) (*Pool, error) {
	p, err := category.Open(dir)
	if err != nil {
		return nil, err
	}
	return &Pool{p}, nil
}

// Allocate returns the labels of a container and, unless the options name a level, claims a pair of categories that no other has. The
// container must be recorded, so that Reclaim's keep knows it, before this is called. An id that has a claim already gets a second one: to
// try again, Release first.
//
// Without SELinux the labels are empty; options that ask for some are then an error of kind Unsupported. A label that the policy does not have is
// of kind Invalid, no pair left of kind Unavailable. After an error nothing is claimed.
func (p *Pool) Allocate(ctx context.Context, id string, o Options) (Labels, error) {
	if Current() == Disabled {
		return Labels{}, o.Without()
	}
	if o.Disable {
		return Labels{Mount: policy.PrivContainerMountLabel()}, nil
	}
	process, file, err := defaults(o.Kind)
	if err != nil {
		return Labels{}, err
	}
	if process.level == "" || file.level == "" {
		err := errdef.Errorf(errdef.Unsupported, "selinux: the labels %q and %q of the policy have no level: containers would not be kept from each other", process, file)
		return Labels{}, errdef.WithHint(err, "load a policy with MCS, or take label=disable")
	}
	return p.claimed(ctx, id, o, process, file)
}

// claimed claims a level and puts it into labels that the kernel is asked about.
func (p *Pool) claimed(ctx context.Context, id string, o Options, process, file parts) (l Labels, err error) {
	level := o.Level
	if level == "" {
		if level, err = p.Draw(ctx, id); err != nil {
			return Labels{}, err
		}
	} else if err := p.Claim(ctx, id, level); err != nil {
		return Labels{}, err
	}
	l = o.labels(process, file, level)
	if err = Check(l.Process); err == nil {
		err = Check(l.Mount)
	}
	if err != nil {
		_ = p.Release(context.WithoutCancel(ctx), id, level) // else Reclaim's
		return Labels{}, err
	}
	return l, nil
}

// labels puts the options over the policy's labels, as Docker does: user and level are for the process and the files.
func (o *Options) labels(process, file parts, level string) Labels {
	process.level, file.level = level, level
	if o.User != "" {
		process.user, file.user = o.User, o.User
	}
	if o.Role != "" {
		process.role = o.Role
	}
	if o.Type != "" {
		process.kind = o.Type
	}
	if o.FileType != "" {
		file.kind = o.FileType
	}
	return Labels{Process: process.String(), Mount: file.String(), Level: level, Nested: o.Nested}
}
