package category

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// A Pool hands out pairs of categories. Its state is a directory:
//
//	c12,c345          who has this pair: a line per container, "own ID" if it was drawn for it, "share ID" if it asked for it by level:
//	levels/c1,c2,c3   the same for levels of one category, or of three and more, that somebody asked for
//
// All of it is read and written under a flock of the directory, so that a process that is killed holds nothing up. A Pool may be used by several goroutines.
type Pool struct {
	dir        int // the directory, for openat
	levels     int
	categories int // 1024 but in tests
}

const (
	levelsDir = "levels"
	// attempts at random before the pairs are counted through: at half of them taken, 64 fail once in 2^64.
	attempts = 64
	// maxAvoided is the size of an explicit level up to which pairs that it covers are not drawn. One that covers more is meant to see others.
	maxAvoided = 32
	maxID      = 128
	maxClaim   = 1 << 20 // bytes of a claim file: some ten thousand containers that share one level
)

// reserved is the pair of what has no container's label (label=disable): no container's.
var reserved = [2]int{Count - 2, Count - 1}

// Open opens the directory of a pool and makes it, not its parents, if it is not there. The error is of kind Denied for one that others may write.
func Open(dir string) (*Pool, error) {
	p := &Pool{dir: -1, levels: -1, categories: Count}
	var err error
	if p.dir, err = openOwn(unix.AT_FDCWD, dir); err != nil {
		return nil, err
	}
	if p.levels, err = openOwn(p.dir, levelsDir); err != nil {
		unix.Close(p.dir)
		return nil, err
	}
	return p, nil
}

func openOwn(at int, dir string) (int, error) {
	if err := unix.Mkdirat(at, dir, 0o700); err != nil && err != unix.EEXIST {
		return -1, errdef.Errorf(errdef.Internal, "make directory %q: %w", dir, err)
	}
	fd, err := unix.Openat(at, dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, errdef.Errorf(errdef.Internal, "open directory %q: %w", dir, err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && (int(st.Uid) != unix.Geteuid() || st.Mode&0o022 != 0) {
		err = errdef.Errorf(errdef.Denied, "categories in %q: the directory is another user's or others may write it", dir)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Close closes the descriptors; claims stay.
func (p *Pool) Close() error {
	err := unix.Close(p.levels)
	if err2 := unix.Close(p.dir); err == nil {
		err = err2
	}
	return err
}

// locked calls f while this open file, and no other, has the lock of the pool.
func (p *Pool) locked(ctx context.Context, f func() error) error {
	fd, err := unix.Openat(p.dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "open the directory of categories: %w", err)
	}
	defer unix.Close(fd)
	if err := atomicfile.Flock(ctx, fd, atomicfile.Exclusive); err != nil {
		return errdef.Errorf(errdef.KindOf(err), "categories: %w", err)
	}
	return f()
}

// Draw claims a pair that nobody has for a container, and returns the level with it. An id that has a claim already gets a second one: to try again, Release first.
// The error is of kind Unavailable if no pair is left.
func (p *Pool) Draw(ctx context.Context, id string) (level string, err error) {
	pair, err := p.draw(ctx, id)
	if err != nil {
		return "", err
	}
	return "s0:" + categoryName(pair), nil
}

func (p *Pool) draw(ctx context.Context, id string) (pair []int, err error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	err = p.locked(ctx, func() error {
		avoid, err := p.avoided()
		if err != nil {
			return err
		}
		if pair, err = p.free(avoid); err != nil {
			return err
		}
		return atomicfile.CreateAt(p.dir, categoryName(pair), []byte("own "+id+"\n"), atomicfile.Options{})
	})
	return pair, err
}

// The avoided are levels that somebody asked for: a pair that covers one, or is covered by one, would not keep its container from the other.
type avoided struct {
	single [Count]bool
	larger [][]int
}

func (a *avoided) has(pair []int) bool {
	if pair[0] == reserved[0] && pair[1] == reserved[1] || a.single[pair[0]] || a.single[pair[1]] {
		return true
	}
	return slices.ContainsFunc(a.larger, func(set []int) bool { return within(pair, set) })
}

// avoided reads the names in levels/.
func (p *Pool) avoided() (*avoided, error) {
	names, err := listDir(p.levels)
	if err != nil {
		return nil, err
	}
	a := &avoided{}
	for _, name := range names {
		set, err := parseOneLevel("s0:" + name)
		switch {
		case err != nil:
		case len(set) == 1:
			a.single[set[0]] = true
		default:
			a.larger = append(a.larger, set)
		}
	}
	return a, nil
}

// free finds a free pair: at random first, then by going through all of them from a random place.
func (p *Pool) free(avoid *avoided) ([]int, error) {
	for range attempts {
		pair := []int{rand.IntN(p.categories), rand.IntN(p.categories)}
		slices.Sort(pair)
		if pair[0] == pair[1] || avoid.has(pair) {
			continue
		}
		var st unix.Stat_t
		switch err := unix.Fstatat(p.dir, categoryName(pair), &st, unix.AT_SYMLINK_NOFOLLOW); err {
		case unix.ENOENT:
			return pair, nil
		case nil:
		default:
			return nil, errdef.Errorf(errdef.Internal, "categories: look for %s: %w", categoryName(pair), err)
		}
	}
	names, err := listDir(p.dir)
	if err != nil {
		return nil, err
	}
	taken := make(map[string]bool, len(names))
	for _, name := range names {
		taken[name] = true
	}
	all := p.categories * p.categories
	pair := make([]int, 2)
	for n, start := 0, rand.IntN(all); n < all; n++ {
		k := (start + n) % all
		pair[0], pair[1] = k/p.categories, k%p.categories
		if pair[0] < pair[1] && !avoid.has(pair) && !taken[categoryName(pair)] {
			return pair, nil
		}
	}
	err = errdef.Errorf(errdef.Unavailable, "categories: all pairs are taken, by %d claims", len(names))
	return nil, errdef.WithHint(err, "remove containers that are not needed, or let one share a level with label=level:")
}

// place says where the claims of a set of categories are; dir is -1 where nothing is claimed: no category, or so many that they are meant to be shared.
func (p *Pool) place(set []int) (dir int, name string) {
	switch {
	case len(set) == 0 || len(set) > maxAvoided:
		return -1, ""
	case len(set) == 2:
		return p.dir, categoryName(set)
	}
	return p.levels, categoryName(set)
}

// Claim records that a container has a level that it was given, not drawn: one that the user named, or that a container has which comes from
// elsewhere. Others may have it too; what it prevents is that it is drawn for somebody else. To claim twice is no error.
func (p *Pool) Claim(ctx context.Context, id, level string) error {
	set, err := ParseLevel(level)
	if err != nil {
		return errdef.Errorf(errdef.Invalid, "level %.64q: %w", level, err)
	}
	if err := checkID(id); err != nil {
		return err
	}
	dir, name := p.place(set)
	if dir < 0 {
		return nil
	}
	return p.locked(ctx, func() error {
		owners, err := readClaim(dir, name)
		if err != nil || slices.ContainsFunc(owners, func(o owner) bool { return o.id == id }) {
			return err
		}
		return writeClaim(dir, name, append(owners, owner{"share", id}))
	})
}

// Release takes the claim of a container back. A level that is not known, because the engine was killed before it wrote it down, is
// "": then all claims are looked through. To release what is not claimed is no error.
func (p *Pool) Release(ctx context.Context, id, level string) error {
	if level == "" {
		_, err := p.drop(ctx, func(o string) bool { return o == id })
		return err
	}
	set, err := ParseLevel(level)
	if err != nil {
		return errdef.Errorf(errdef.Invalid, "level %.64q: %w", level, err)
	}
	dir, name := p.place(set)
	if dir < 0 {
		return nil
	}
	return p.locked(ctx, func() error {
		_, err := dropFrom(dir, name, func(o string) bool { return o == id })
		return err
	})
}

// Reclaim drops the claims of containers that keep does not know, and what killed processes left, and returns how many claims it dropped. A container must be
// known to keep from before its Allocate until after its Release; then Reclaim may run at any time beside both. Keep is called
// without the lock, once per container, before anything is dropped.
func (p *Pool) Reclaim(ctx context.Context, keep func(id string) bool) (int, error) {
	known := map[string]bool{}
	for _, dir := range []int{p.dir, p.levels} {
		names, err := listDir(dir)
		if err != nil {
			return 0, err
		}
		for _, name := range names {
			owners, err := readClaim(dir, name)
			if err != nil {
				return 0, err
			}
			for _, o := range owners {
				if _, asked := known[o.id]; !asked {
					known[o.id] = keep(o.id)
				}
			}
		}
		if err := ctx.Err(); err != nil {
			return 0, errdef.Errorf(errdef.Timeout, "categories: reclaim: %w", err)
		}
	}
	// Who was not there when keep was asked is new.
	return p.drop(ctx, func(id string) bool { k, asked := known[id]; return asked && !k })
}

// drop goes through all claims under the lock.
func (p *Pool) drop(ctx context.Context, gone func(id string) bool) (n int, err error) {
	err = p.locked(ctx, func() error {
		for _, dir := range []int{p.dir, p.levels} {
			names, err := readNames(dir)
			if err != nil {
				return err
			}
			for _, name := range names {
				if strings.HasPrefix(name, ".") { // a temporary file: nobody writes while we have the lock
					if err := unlink(dir, name); err != nil {
						return err
					}
					continue
				}
				if name == levelsDir {
					continue
				}
				k, err := dropFrom(dir, name, gone)
				if n += k; err != nil {
					return err
				}
			}
		}
		return nil
	})
	return n, err
}

type owner struct{ how, id string }

// dropFrom takes containers out of one claim, and the file away when none is left.
func dropFrom(dir int, name string, gone func(id string) bool) (int, error) {
	owners, err := readClaim(dir, name)
	if err != nil {
		return 0, err
	}
	had := len(owners)
	owners = slices.DeleteFunc(owners, func(o owner) bool { return gone(o.id) })
	switch {
	case len(owners) == 0:
		return had, unlink(dir, name)
	case len(owners) == had:
		return 0, nil
	}
	return had - len(owners), writeClaim(dir, name, owners)
}

func writeClaim(dir int, name string, owners []owner) error {
	var b bytes.Buffer
	for _, o := range owners {
		b.WriteString(o.how + " " + o.id + "\n")
	}
	return atomicfile.WriteAt(dir, name, b.Bytes(), atomicfile.Options{})
}

// readClaim reads who has a claim; of a file that is not there, nobody. Lines that are none of ours name nobody.
func readClaim(dir int, name string) ([]owner, error) {
	data, err := readFile(dir, name)
	if err != nil {
		return nil, err
	}
	var owners []owner
	for line := range strings.Lines(string(data)) {
		how, id, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if (how == "own" || how == "share") && checkID(id) == nil {
			owners = append(owners, owner{how, id})
		}
	}
	return owners, nil
}

// checkID holds the id of a container to what stands in a line.
func checkID(id string) error {
	bad := id == "" || len(id) > maxID
	for _, c := range []byte(id) {
		bad = bad || c != '_' && c != '.' && c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z')
	}
	if bad {
		return errdef.Errorf(errdef.Invalid, "container %.64q: not 1 to "+strconv.Itoa(maxID)+" letters, digits, '_', '.' and '-'", id)
	}
	return nil
}
