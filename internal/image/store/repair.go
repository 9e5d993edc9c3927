package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// quarantine moves a file out of the way, whatever it is, and lets it keep its name in front of a new one.
func (s *Store) quarantine(ctx context.Context, dir int, name string) error {
	unlock, err := s.lock(ctx, gcLock, atomicfile.Exclusive)
	if err != nil {
		return err
	}
	defer unlock()
	to, err := s.directory(stateDir + "/" + quarantineDir)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	var random [4]byte
	_, _ = rand.Read(random[:])
	target := cut(name, 200) + "." + hex.EncodeToString(random[:])
	if err := unix.Renameat(dir, name, to, target); err != nil && err != unix.ENOENT {
		return errdef.Errorf(kindOf(err), "quarantine %q: %w", name, err)
	}
	return nil
}

// quarantineBlobs takes away the blobs whose content is wrong.
func (f *checker) quarantineBlobs(ctx context.Context) error {
	for i, p := range f.report.Problems {
		text, ok := strings.CutPrefix(p.Object, "blob ")
		if !ok || !f.o.Repair {
			continue
		}
		dir, name, err := f.s.place(digest.Digest(text))
		if err == nil {
			err = f.s.quarantine(ctx, dir, name)
		}
		if err != nil {
			return err
		}
		f.report.Problems[i].Repaired = true
	}
	return nil
}

// journals reads every journal.
func (f *checker) journals(ctx context.Context) error {
	names, err := readDir(f.s.tags)
	if err != nil {
		return err
	}
	for _, name := range names {
		object := fmt.Sprintf("%s/%s/%q", stateDir, tagsDir, name)
		if _, err := hex.DecodeString(name); err != nil || len(name) != 64 {
			f.problem(object, "no journal")
			err = f.repaired(func() error { return f.s.quarantine(ctx, f.s.tags, name) })
			if err != nil {
				return err
			}
			continue
		}
		records, bad, err := f.s.readJournal(name)
		switch {
		case errdef.Is(err, errdef.Conflict):
			f.problem(object, "%v", err)
			err = f.repaired(func() error { return f.s.quarantine(ctx, f.s.tags, name) })
		case err == nil && bad > 0:
			f.problem(object, "%d of %d lines are no records of this name", bad, bad+len(records))
			err = f.repaired(func() error { return f.s.rewriteJournal(ctx, name) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rewriteJournal leaves out the lines that are none.
func (s *Store) rewriteJournal(ctx context.Context, file string) error {
	unlock, err := s.lock(ctx, indexLock, atomicfile.Exclusive)
	if err != nil {
		return err
	}
	defer unlock()
	records, _, err := s.readJournal(file)
	if err != nil {
		return err
	}
	var lines bytes.Buffer
	for _, r := range records {
		line, err := json.Marshal(r)
		if err != nil {
			return errdef.Errorf(errdef.Internal, "journal %s: %w", file, err)
		}
		lines.Write(append(line, '\n'))
	}
	return atomicfile.WriteAt(s.tags, file, lines.Bytes(), atomicfile.Options{})
}

// index wants index.json to be readable.
func (f *checker) index(ctx context.Context) error {
	_, err := f.s.readIndex()
	if !errdef.Is(err, errdef.Invalid) && !errdef.Is(err, errdef.Conflict) {
		return err
	}
	f.problem(indexFile, "%v", err)
	return f.repaired(func() error {
		if err := f.s.quarantine(ctx, f.s.root, indexFile); err != nil {
			return err
		}
		return f.s.change(ctx, f.s.rebuild)
	})
}

// rebuild makes index.json of what the journals say.
func (s *Store) rebuild(x *index) error {
	names, err := readDir(s.tags)
	if err != nil {
		return err
	}
	for _, file := range names {
		records, _, err := s.readJournal(file)
		if err != nil || len(records) == 0 {
			continue
		}
		last := records[len(records)-1]
		desc := v1.Descriptor{MediaType: last.MediaType, Digest: last.Digest, Size: last.Size}
		if _, _, there := x.named(last.Name); last.gone() || there || s.present(desc) != nil {
			continue
		}
		if err := x.set(last.Name, desc); err != nil {
			return err
		}
	}
	return nil
}

// names wants every entry of index.json to be one, and to point to something whole. GC is kept out meanwhile.
func (f *checker) names(ctx context.Context) error {
	unlock, err := f.s.lock(ctx, gcLock, atomicfile.Shared)
	if err != nil {
		return err
	}
	x, err := f.s.readIndex()
	if err != nil {
		unlock()
		if errdef.Is(err, errdef.Invalid) || errdef.Is(err, errdef.Conflict) {
			return nil // said already
		}
		return err
	}
	verdicts := f.judge(x)
	unlock()
	wrong := 0
	for i, v := range verdicts {
		object := fmt.Sprintf("%s: manifests[%d]", indexFile, i)
		if v.entry.name != "" {
			object = fmt.Sprintf("name %q", v.entry.name)
			f.report.Names++
		}
		if v.text != "" {
			f.problem(object, "%s", v.text)
			wrong++
		}
	}
	if wrong == 0 || !f.o.Repair {
		return nil
	}
	if err := f.s.change(ctx, f.dropWrong); err != nil {
		return err
	}
	for i := range wrong {
		f.report.Problems[len(f.report.Problems)-1-i].Repaired = true
	}
	return nil
}

// verdict is what is wrong with an entry of index.json; text is "" if nothing is.
type verdict struct {
	entry  entry
	text   string
	second bool // another entry has the name
}

func (f *checker) judge(x *index) []verdict {
	out := make([]verdict, len(x.entries))
	used, seen := map[string]bool{}, map[digest.Digest]string{}
	for i, element := range x.entries {
		e, err := decode(element)
		switch {
		case err != nil:
			out[i].text = err.Error()
			continue
		case e.left():
			continue // GC takes it
		case e.name != "" && used[e.name]:
			out[i].text, out[i].second = "a second entry has this name", true
		default:
			out[i].text = f.whole(e.desc, seen)
		}
		out[i].entry = e
		used[e.name] = true
	}
	return out
}

// dropWrong takes entries out of index.json and says so in the journals of their names.
func (f *checker) dropWrong(x *index) error {
	var keep [][]byte
	for i, v := range f.judge(x) {
		if v.text == "" {
			keep = append(keep, x.entries[i])
			continue
		}
		if v.entry.name == "" || v.second {
			continue
		}
		if err := f.s.journal(v.entry.name, x, newRecord(v.entry.name, v.entry.desc, Event{Action: ActionFsck, Source: v.text})); err != nil {
			return err
		}
	}
	x.entries = keep
	return nil
}

func (f *checker) wholeOnce(d v1.Descriptor, seen map[digest.Digest]string) string {
	size, err := f.s.Stat(d.Digest)
	if err != nil {
		return err.Error()
	}
	if size != d.Size {
		return fmt.Sprintf("blob %s has %d bytes, %d are said", d.Digest, size, d.Size)
	}
	links, err := f.s.links(d)
	if err != nil {
		return err.Error()
	}
	kind := manifest.KindOf(d.MediaType)
	for _, link := range links {
		if kind != manifest.Manifest {
			if _, err := f.s.Stat(link.Digest); errdef.Is(err, errdef.NotFound) {
				continue // of another platform, or an artifact's
			}
		}
		switch manifest.KindOf(link.MediaType) {
		case manifest.ForeignLayer:
			continue
		case manifest.Index, manifest.Manifest:
			if kind == manifest.Manifest {
				continue // the subject, which may be elsewhere
			}
		case manifest.Unknown:
			if kind == manifest.Manifest {
				link.MediaType = v1.MediaTypeImageLayer
			}
		}
		if text := f.whole(link, seen); text != "" {
			return text
		}
	}
	return ""
}
