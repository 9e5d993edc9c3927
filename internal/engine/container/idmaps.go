package container

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/defaults"
	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Maps are the ids of a container that has others than one range of its own. Ranges are claimed by files: N is whole and one container's, N+ID says that ID has ids of it, too, because
// somebody said so. A container that is to have a range of its own gets none that anybody has ids of.
type Maps struct {
	Own    []uint32 `json:",omitempty"` // numbers of ranges
	Shared []uint32 `json:",omitempty"`
	UIDs   []specs.LinuxIDMapping
	GIDs   []specs.LinuxIDMapping
}

// A rangeKeeper claims ranges, or only looks at what would be claimed.
type rangeKeeper struct {
	take  func(n uint32) (first uint32, err error) // n of them, one after the other
	share func(number uint32) error
}

// giveIDs finds out which ids a container has.
func (s *Service) giveIDs(r *Record, k rangeKeeper) error {
	ids := r.ids
	if s.rt.Rootless {
		if ids.Join != "" || ids.User != "" || string(r.Host.UsernsMode) != "" && !ids.Host {
			err := errdef.Errorf(errdef.Unsupported, "userns, uidmap, gidmap: who is not root has one id to give, his own")
			return errdef.WithHint(err, "leave them away, or run the engine as root")
		}
		return nil
	}
	if ids.Join != "" {
		return s.joinIDs(r, k)
	}
	plain := ids.Host || ids.Own == defaults.IDs && ids.Plain()
	n := (ids.Own + defaults.IDs - 1) / defaults.IDs
	if plain {
		n = 1
	}
	var first uint32
	m := &Maps{}
	if n > 0 {
		var err error
		if first, err = k.take(n); err != nil {
			return err
		}
		r.Range = first
		for i := range n {
			m.Own = append(m.Own, first+i)
		}
	}
	if plain {
		return nil
	}
	r.Maps = m
	var err error
	if m.UIDs, m.GIDs, err = ids.Maps(defaults.FirstID + first*defaults.IDs); err != nil {
		return err
	}
	for _, number := range touched(append(slices.Clone(m.UIDs), m.GIDs...)) {
		if slices.Contains(m.Own, number) {
			continue
		}
		if err := k.share(number); err != nil {
			return err
		}
		m.Shared = append(m.Shared, number)
	}
	return nil
}

// joinIDs gives a container the ids of another one.
func (s *Service) joinIDs(r *Record, k rangeKeeper) error {
	other, err := s.Get(r.ids.Join)
	if err != nil {
		return err
	}
	if userNSOff(&other.Record) {
		err := errdef.Errorf(errdef.Invalid, "userns=container:%s: that one has the host's user namespace", other.Name)
		return errdef.WithHint(err, "userns=host")
	}
	h := host(&other.Record)
	r.Maps = &Maps{UIDs: h.UIDs, GIDs: h.GIDs, Shared: []uint32{other.Range}}
	if m := other.Maps; m != nil {
		r.Maps.Shared = append(slices.Clone(m.Own), m.Shared...)
	}
	for _, number := range r.Maps.Shared {
		if err := k.share(number); err != nil {
			return err
		}
	}
	return nil
}

// touched are the numbers of the ranges that maps have ids of.
func touched(maps []specs.LinuxIDMapping) []uint32 {
	const last = uint64(defaults.FirstID) + ranges*defaults.IDs - 1
	var out []uint32
	for _, m := range maps {
		from, to := max(uint64(m.HostID), defaults.FirstID), min(uint64(m.HostID)+uint64(m.Size)-1, last)
		if from > to || to-from+1 == ranges*defaults.IDs { // all of them: keep-id, which is recorded as such
			continue
		}
		for n := (from - defaults.FirstID) / defaults.IDs; n <= (to-defaults.FirstID)/defaults.IDs; n++ {
			if !slices.Contains(out, uint32(n)) {
				out = append(out, uint32(n))
			}
		}
	}
	return out
}

// claims are the names of the claims of ranges that a container has.
func (r *Record) claims() []string {
	if r.Maps == nil {
		return []string{strconv.Itoa(int(r.Range))}
	}
	var out []string
	for _, n := range r.Maps.Own {
		out = append(out, strconv.Itoa(int(n)))
	}
	for _, n := range r.Maps.Shared {
		out = append(out, sharedClaim(n, r.ID))
	}
	return out
}

func sharedClaim(number uint32, id string) string { return strconv.Itoa(int(number)) + "+" + id }

// dropRanges gives the claims of ranges back.
func (s *Service) dropRanges(r *Record) {
	for _, name := range r.claims() {
		s.drop("ranges", name, r.ID)
	}
}

// keeper claims ranges for a container.
func (s *Service) keeper(r *Record) rangeKeeper {
	return rangeKeeper{
		take: func(n uint32) (uint32, error) { return s.takeRanges(r, n) },
		share: func(number uint32) error {
			dir, unlock, err := s.lockClaims("ranges")
			if err != nil {
				return err
			}
			defer unlock()
			return s.writeClaim(dir, sharedClaim(number, r.ID), r.ID)
		},
	}
}

// looker finds what a container would get, and claims nothing.
func (s *Service) looker() rangeKeeper {
	return rangeKeeper{
		take: func(n uint32) (uint32, error) {
			taken, err := s.takenRanges()
			if err != nil {
				return 0, err
			}
			return free(taken, n, 0)
		},
		share: func(uint32) error { return nil },
	}
}

// takenRanges are the numbers of ranges that somebody has, or is about to have.
func (s *Service) takenRanges() (map[uint32]bool, error) {
	entries, err := os.ReadDir(filepath.Join(s.o.Root, "ranges"))
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "ranges: %w", err)
	}
	out := map[uint32]bool{}
	for _, e := range entries {
		text, _, _ := strings.Cut(e.Name(), "+")
		n, err := strconv.ParseUint(text, 10, 32)
		if err == nil && !out[uint32(n)] && s.held("ranges", e.Name()) {
			out[uint32(n)] = true
		}
	}
	return out, nil
}

// held reports whether a claim is somebody's: of a container that is there, or that is being made.
func (s *Service) held(kind, name string) bool {
	if _, there := s.claim(kind, name); there {
		return true
	}
	data, err := atomicfile.Read(s.claimPath(kind, name))
	_, pid, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	return err == nil && making(pid)
}

// free finds n numbers in a row that nobody has, from a number on.
func free(taken map[uint32]bool, n, from uint32) (uint32, error) {
	for first := from; first+n <= ranges; first++ {
		ok := true
		for i := range n {
			ok = ok && !taken[first+i]
		}
		if ok {
			return first, nil
		}
	}
	if n == 1 {
		return 0, errdef.Errorf(errdef.Unavailable, "container: all %d ranges of user ids are taken: as many containers are there", ranges)
	}
	return 0, errdef.Errorf(errdef.Unavailable, "container: no %d free ids in a row", n*defaults.IDs)
}

// takeRanges claims ranges that nobody has ids of, and returns the first one's number.
func (s *Service) takeRanges(r *Record, n uint32) (uint32, error) {
	for from := uint32(0); ; {
		taken, err := s.takenRanges()
		if err != nil {
			return 0, err
		}
		first, err := free(taken, n, from)
		if err != nil {
			return 0, err
		}
		for i := range n {
			if err = s.take("ranges", strconv.Itoa(int(first+i)), r.ID); err != nil {
				for j := range i {
					s.drop("ranges", strconv.Itoa(int(first+j)), r.ID)
				}
				break
			}
		}
		if !errdef.Is(err, errdef.Exists) {
			return first, err
		}
		from = first // somebody was faster
	}
}

// shared reports whether somebody has ids of a range that is not his own. The caller has the lock of the claims.
func (s *Service) shared(number string) bool {
	found, _ := filepath.Glob(filepath.Join(s.o.Root, "ranges", number+"+*")) // the pattern is fine
	return slices.ContainsFunc(found, func(path string) bool { return s.held("ranges", filepath.Base(path)) })
}

// sharing are the names of other containers that have ids of the same ranges.
func (s *Service) sharing(r *Record) []string {
	if r.Maps == nil || len(r.Maps.Shared) == 0 {
		return nil
	}
	var out []string
	for _, n := range r.Maps.Shared {
		number := strconv.Itoa(int(n))
		files, _ := filepath.Glob(filepath.Join(s.o.Root, "ranges", number+"+*"))
		for _, path := range append(files, filepath.Join(s.o.Root, "ranges", number)) {
			id, there := s.claim("ranges", filepath.Base(path))
			if !there || id == r.ID {
				continue
			}
			if o, err := s.read(id); err == nil && !slices.Contains(out, o.Name) && string(r.Host.UsernsMode) != "container:"+o.Name {
				out = append(out, o.Name)
			}
		}
	}
	slices.Sort(out)
	return out
}

// lockClaims serialises those who make claims of a kind, and returns a descriptor of their directory.
func (s *Service) lockClaims(kind string) (dir int, unlock func(), err error) {
	dir, err = unix.Open(filepath.Join(s.o.Root, kind), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, nil, errdef.Errorf(errdef.Unavailable, "%s: %w", kind, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockTime)
	defer cancel()
	if err := atomicfile.Flock(ctx, dir, atomicfile.Exclusive); err != nil {
		_ = unix.Close(dir)
		return -1, nil, errdef.Errorf(errdef.KindOf(err), "%s: %w", kind, err)
	}
	return dir, func() { _ = unix.Close(dir) }, nil
}

func (s *Service) writeClaim(dir int, name, id string) error {
	return atomicfile.WriteAt(dir, name, []byte(id+" "+strconv.Itoa(os.Getpid())+"\n"), atomicfile.Options{Volatile: true})
}

// userNSOff reports whether the container has the host's user namespace.
func userNSOff(r *Record) bool {
	ids, err := assemble.ParseIDs(&r.Host, nil, nil)
	return err == nil && ids.Host
}
