package apparmor

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/pidfd"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/lsm"
	"golang.org/x/sys/unix"
)

// lockTime bounds how long a command waits for the claims. They are locked for milliseconds, unless somebody stops the one who has the lock.
var lockTime = 20 * time.Second

// maxSlots bounds how many containers have one policy at once; each number is a name that is compiled once.
const maxSlots = 4096

// claimsDir is where claims are: they last as long as the kernel's profiles do.
const claimsDir = "/run/bulkhead/apparmor"

// A Slot is the name of a profile, claimed, and what the kernel has to be told of it.
type Slot struct {
	Name  string
	blob  []byte
	owner string
	host  *host
}

// A host is where profiles are compiled, claimed and loaded.
type host struct {
	*compiler
	kernel
	claims string
}

func theHost() *host { return &host{hostCompiler(), hostKernel, claimsDir} }

// Ready returns why no profile can be loaded on this host by this process, nil if one can. Errors are of kind Unsupported, with a hint.
func Ready() error {
	if !lsm.Host().AppArmor {
		err := errdef.Errorf(errdef.Unsupported, "apparmor: it is not enabled on this host")
		return errdef.WithHint(err, "boot with apparmor=1 security=apparmor, or add best-effort to the annotation "+lsm.AppArmorAnnotation)
	}
	return hostKernel.ready()
}

// Claim takes a name for the container whose state directory is owner, and has its profile compiled. The directory need not be there before this process
// ends. The default profile has one name for all, and is claimed by nobody.
func Claim(ctx context.Context, p *Policy, owner string) (*Slot, error) {
	return theHost().claim(ctx, p, owner)
}

// Load puts the profile into the kernel.
func (s *Slot) Load() error {
	if s.blob == nil {
		return nil // the default profile, loaded already
	}
	if err := s.host.load(s.blob); err != nil {
		return errdef.Errorf(errdef.Internal, "apparmor: load profile %s: %w", s.Name, err)
	}
	return nil
}

// Drop gives the name back if this process claimed it and no record of a container has it.
func (s *Slot) Drop() {
	if s == nil || s.owner == "" {
		return
	}
	_ = s.host.drop(s.Name, s.owner)
}

// Release removes a profile from the kernel, when the last process under it has ended, and gives its name back. It may be repeated. A name that another
// container has claimed, or that is not one of ours, is left alone. With survivors, processes may be left that nobody could end, as in the host's pid
// namespace: if there are, profile and name stay with them until another container wants the name and they are gone.
func Release(name, owner string, survivors bool) error {
	return theHost().release(name, owner, survivors)
}

func (h *host) claim(ctx context.Context, p *Policy, owner string) (*Slot, error) {
	weaker := p.request.BestEffort
	if p.request.Default {
		s := &Slot{Name: lsm.DefaultProfile, host: h}
		there, err := h.loaded(s.Name)
		if err != nil || there {
			return s, err
		}
		s.blob, err = h.get(ctx, p, s.Name, weaker)
		return s, err
	}
	name, err := h.take(ctx, p, owner)
	if err != nil {
		return nil, err
	}
	s := &Slot{Name: name, owner: owner, host: h}
	if s.blob, err = h.get(ctx, p, name, weaker); err != nil {
		_ = h.drop(name, owner)
		return nil, err
	}
	return s, nil
}

// lock opens the directory of claims, and makes it if need be.
func (h *host) lock(ctx context.Context) (int, error) {
	if err := os.MkdirAll(h.claims, 0o700); err != nil {
		return -1, errdef.Errorf(errdef.Unavailable, "apparmor: %w", err)
	}
	dir, err := unix.Open(h.claims, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, errdef.Errorf(errdef.Unavailable, "apparmor: open %s: %w", h.claims, err)
	}
	if !ours(dir) {
		unix.Close(dir)
		return -1, errdef.Errorf(errdef.Denied, "apparmor: %s: somebody else can write there", h.claims)
	}
	ctx, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	if err := atomicfile.Flock(ctx, dir, atomicfile.Exclusive); err != nil {
		unix.Close(dir)
		err = errdef.Errorf(errdef.KindOf(err), "apparmor: lock %s: %w", h.claims, err)
		return -1, errdef.WithHint(err, "fuser -v "+h.claims+" tells which process has it, perhaps a stopped one")
	}
	return dir, nil
}

// take claims the first free name of the policy.
func (h *host) take(ctx context.Context, p *Policy, owner string) (string, error) {
	dir, err := h.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unix.Close(dir)
	me, err := identity(unix.Getpid())
	if err != nil {
		return "", err
	}
	content := me + "\n" + owner + "\n"
	stem := prefix + p.Hash() + "-"
	for n := range maxSlots {
		name := stem + strconv.Itoa(n)
		free, err := h.free(dir, name)
		if err != nil {
			return "", err
		}
		if free {
			return name, atomicfile.WriteAt(dir, name, []byte(content), atomicfile.Options{Volatile: true})
		}
	}
	return "", errdef.Errorf(errdef.Unavailable, "apparmor: all %d names of policy %s are taken: as many containers have it", maxSlots, stem)
}

// free reports whether a name may be taken. One of a container that is gone is, once no process is left that its profile confines: to share a name is
// to be a peer, and to remove the profile sets its processes free.
func (h *host) free(dir int, name string) (bool, error) {
	who, old := readClaim(dir, name)
	if old == "" { // no such file; a profile without one is somebody else's, who has another /run
		there, err := h.loaded(name)
		return err == nil && !there, err
	}
	if alive(who) {
		return false, nil
	}
	if _, err := os.Lstat(old); err == nil || !os.IsNotExist(err) {
		return false, nil
	}
	there, err := h.loaded(name)
	if err != nil || !there {
		return err == nil, err
	}
	used, err := h.used(name)
	return err == nil && !used, err
}

func (h *host) release(name, owner string, survivors bool) error {
	if !strings.HasPrefix(name, prefix) || strings.Contains(name, "/") {
		return nil
	}
	dir, err := h.lock(context.Background())
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	if _, old := readClaim(dir, name); old != owner {
		return nil
	}
	if survivors {
		if used, err := h.used(name); used || err != nil {
			return err
		}
	}
	if err := h.remove(name); err != nil {
		return errdef.Errorf(errdef.Internal, "apparmor: remove profile %s: %w", name, err)
	}
	if err := unix.Unlinkat(dir, name, 0); err != nil && err != unix.ENOENT {
		return errdef.Errorf(errdef.Internal, "apparmor: remove claim %s: %w", filepath.Join(h.claims, name), err)
	}
	return nil
}

// drop gives a name back whose profile was never loaded.
func (h *host) drop(name, owner string) error {
	dir, err := h.lock(context.Background())
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	me, err := identity(unix.Getpid())
	if who, old := readClaim(dir, name); err != nil || old != owner || who != me {
		return err
	}
	return unix.Unlinkat(dir, name, 0)
}

// readClaim returns which process made a claim, and for which owner; both are empty if there is none.
func readClaim(dir int, name string) (who, owner string) {
	b, err := sys.ReadFileAt(dir, name, 8192)
	if err != nil {
		return "", ""
	}
	who, rest, _ := strings.Cut(string(b), "\n")
	return who, strings.TrimSuffix(rest, "\n")
}

// identity names a process for good: pid and start time.
func identity(pid int) (string, error) {
	proc, err := procfs.Host()
	if err != nil {
		return "", err
	}
	st, err := proc.Stat(pid)
	return strconv.Itoa(pid) + " " + strconv.FormatUint(st.StartTime, 10), err
}

// alive reports whether the process that identity named still runs.
func alive(who string) bool {
	first, second, _ := strings.Cut(who, " ")
	pid, err := strconv.Atoi(first)
	start, err2 := strconv.ParseUint(second, 10, 64)
	if err != nil || err2 != nil || pid <= 0 {
		return false
	}
	p, err := pidfd.OpenVerified(pid, start)
	if err != nil {
		return false
	}
	defer p.Close()
	return p.Alive()
}
