package store

import (
	"cmp"
	"context"
	"slices"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Tagged is a name and what it points to.
type Tagged struct {
	Name       string
	Descriptor v1.Descriptor // with the annotations of index.json
}

// Lookup returns what a name points to, of kind NotFound when it is none. Of two entries that another tool left, the first counts.
func (s *Store) Lookup(name string) (Tagged, error) {
	if err := CheckName(name); err != nil {
		return Tagged{}, err
	}
	x, err := s.readIndex()
	if err != nil {
		return Tagged{}, err
	}
	e, _, ok := x.named(name)
	if !ok {
		return Tagged{}, errdef.Errorf(errdef.NotFound, "image %q: not in this store", name)
	}
	return Tagged{name, e.desc}, nil
}

// Tags returns all names, sorted. Entries of index.json that cannot be ours to use are left out; Fsck names them.
func (s *Store) Tags() ([]Tagged, error) {
	x, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	var out []Tagged
	for _, e := range x.all() {
		if e.name != "" {
			out = append(out, Tagged{e.name, e.desc})
		}
	}
	slices.SortStableFunc(out, func(a, b Tagged) int { return cmp.Compare(a.Name, b.Name) })
	return slices.CompactFunc(out, func(a, b Tagged) bool { return a.Name == b.Name }), nil
}

// Tag lets a name point to a blob that is here, and syncs both. A name that points there already costs one fsync and no write. The descriptor's
// annotations are kept.
func (s *Store) Tag(ctx context.Context, name string, desc v1.Descriptor, by Event) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if err := s.present(desc); err != nil {
		return errdef.Errorf(errdef.KindOf(err), "tag %q: %w", name, err)
	}
	return s.change(ctx, func(x *index) error {
		e, _, tagged := x.named(name)
		if tagged && e.desc.Digest == desc.Digest && e.desc.Size == desc.Size && e.desc.MediaType == desc.MediaType {
			return errNoChange
		}
		if err := s.present(desc); err != nil { // now GC cannot take it
			return errdef.Errorf(errdef.KindOf(err), "tag %q: %w", name, err)
		}
		if err := s.syncBlobs(); err != nil {
			return err
		}
		if err := s.journal(name, x, newRecord(name, desc, by)); err != nil {
			return err
		}
		return x.set(name, desc)
	})
}

// present wants a blob to be there as the descriptor says.
func (s *Store) present(desc v1.Descriptor) error {
	size, err := s.Stat(desc.Digest)
	if err != nil {
		return err
	}
	if desc.MediaType == "" {
		return errdef.Errorf(errdef.Invalid, "%s: a descriptor without a media type", desc.Digest)
	}
	if size != desc.Size {
		return errdef.Errorf(errdef.Invalid, "%s: has %d bytes, the descriptor says %d", desc.Digest, size, desc.Size)
	}
	return nil
}

// journal appends what happened to the name, and before that what happened to it unseen.
func (s *Store) journal(name string, x *index, r record) error {
	records, _, err := s.readJournal(journalName(name))
	if err != nil {
		return err
	}
	if unseen, ok := unrecorded(name, records, x); ok {
		return s.appendJournal(name, unseen, r)
	}
	return s.appendJournal(name, r)
}

// Untag takes a name away and returns what it pointed to. The content stays until GC. With by.Digest, the name must point there still, or it stays and the
// error is of kind Conflict.
func (s *Store) Untag(ctx context.Context, name string, by Event) (v1.Descriptor, error) {
	if err := CheckName(name); err != nil {
		return v1.Descriptor{}, err
	}
	var was v1.Descriptor
	err := s.change(ctx, func(x *index) error {
		e, _, ok := x.named(name)
		if !ok {
			return errdef.Errorf(errdef.NotFound, "image %q: not in this store", name)
		}
		if by.Digest != "" && e.desc.Digest != by.Digest {
			return errdef.Errorf(errdef.Conflict, "image %q: it points to %s by now, and not to %s", name, e.desc.Digest, by.Digest)
		}
		was = e.desc
		by.Action = ActionUntag
		if err := s.journal(name, x, newRecord(name, e.desc, by)); err != nil {
			return err
		}
		x.drop(name)
		return nil
	})
	return was, err
}

// errNoChange ends a change that there is no need for.
var errNoChange = errdef.Errorf(errdef.Exists, "nothing to change")

// change lets edit change index.json. GC is kept out, and so are others who change it.
func (s *Store) change(ctx context.Context, edit func(*index) error) error {
	unlockGC, err := s.lock(ctx, gcLock, atomicfile.Shared)
	if err != nil {
		return err
	}
	defer unlockGC()
	unlock, err := s.lock(ctx, indexLock, atomicfile.Exclusive)
	if err != nil {
		return err
	}
	defer unlock()
	x, err := s.readIndex()
	if err != nil {
		return err
	}
	if err := edit(x); err == errNoChange {
		return syncDir(s.root, "the image store") // it may have been written by somebody who was killed before he could
	} else if err != nil {
		return err
	}
	return s.writeIndex(x)
}

// syncBlobs makes the names of all blobs last that were committed so far.
func (s *Store) syncBlobs() error {
	if err := syncDir(s.sha256, "blobs/sha256"); err != nil {
		return err
	}
	return syncDir(s.sha512, "blobs/sha512")
}

// Attach stores that a manifest (a signature, a bill of materials) belongs to the subject: it has no name, Referrers finds it, and GC
// takes it when the subject is gone.
func (s *Store) Attach(ctx context.Context, subject digest.Digest, desc v1.Descriptor) error {
	if err := reference.CheckDigest(subject); err != nil {
		return err
	}
	if err := s.present(desc); err != nil {
		return errdef.Errorf(errdef.KindOf(err), "attach to %s: %w", subject, err)
	}
	return s.change(ctx, func(x *index) error {
		for _, e := range x.all() {
			if e.desc.Digest == desc.Digest && e.desc.Annotations[subjectAnnotation] == string(subject) {
				return errNoChange
			}
		}
		if err := s.syncBlobs(); err != nil {
			return err
		}
		annotations := map[string]string{}
		for key, value := range desc.Annotations {
			if key != nameAnnotation && key != fullNameAnnotation && key != namedAnnotation {
				annotations[key] = value
			}
		}
		annotations[subjectAnnotation] = string(subject)
		desc.Annotations, desc.URLs, desc.Data = annotations, nil, nil
		return x.add(desc)
	})
}

// Referrers returns what is attached to the subject.
func (s *Store) Referrers(subject digest.Digest) ([]v1.Descriptor, error) {
	x, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	var out []v1.Descriptor
	for _, e := range x.all() {
		if e.desc.Annotations[subjectAnnotation] == string(subject) {
			out = append(out, e.desc)
		}
	}
	return out, nil
}
