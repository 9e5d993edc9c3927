package filter

import (
	"io"
	"os"

	"github.com/bulkhead-engine/bulkhead/internal/defaults"
	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// maxProfile bounds a profile, in bytes.
const maxProfile = 1 << 20

// A Profile is one that was read.
type Profile struct {
	Name    string // the file, or the level
	Rules   *specs.LinuxSeccomp
	program *seccomp.Filter
	whole   *assemble.Profile // as it stands in the file; nil for a level
}

// Load reads a profile from a file, from standard input if the name is -, or takes that of a level by its name.
func Load(name string) (*Profile, error) {
	if level, err := defaults.ParseLevel(name); err == nil {
		return compiled(&Profile{Name: name, Rules: defaults.Seccomp(level)})
	}
	f := os.Stdin
	if name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return nil, errdef.WithHint(errdef.Errorf(errdef.NotFound, "profile: %w", err), "a file, - for standard input, or compat, hardened, untrusted")
		}
		defer f.Close()
	}
	data, err := io.ReadAll(io.LimitReader(f, maxProfile+1))
	switch {
	case err != nil:
		return nil, errdef.Errorf(errdef.Unavailable, "profile %s: %w", name, err)
	case len(data) > maxProfile:
		return nil, errdef.Errorf(errdef.Invalid, "profile %s: more than %d bytes", name, maxProfile)
	}
	return Parse(name, data)
}

// Parse reads a profile in OCI's or Docker's format.
func Parse(name string, data []byte) (*Profile, error) {
	whole, err := assemble.ParseProfile(data)
	if err != nil {
		return nil, errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "profile %s: %w", name, err), errdef.Hint(err))
	}
	var u unix.Utsname
	_ = unix.Uname(&u)
	caps := defaults.Spec(defaults.Hardened, defaults.Host{}).Process.Capabilities.Bounding
	return compiled(&Profile{Name: name, Rules: whole.For(caps, unix.ByteSliceToString(u.Release[:])), whole: whole})
}

func compiled(p *Profile) (*Profile, error) {
	var err error
	if p.program, err = seccomp.Compile(p.Rules); err != nil {
		return nil, errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "profile %s: %w", p.Name, err), errdef.Hint(err))
	}
	return p, nil
}

// decide asks the program for a call of this machine's architecture.
func (p *Profile) decide(number uint32, args [6]uint64) uint32 {
	return p.decideOn(seccomp.Native().Token, number, args)
}

func (p *Profile) decideOn(arch, number uint32, args [6]uint64) uint32 {
	return p.program.Decide(&seccomp.Data{NR: number, Arch: arch, Args: args})
}

// A Program is what the kernel gets.
type Program struct {
	Instructions int    `json:"instructions"`
	Flags        uint32 `json:"flags"`
	Listing      string `json:"listing"`
	Bytes        []byte `json:"bytes"` // struct sock_filter each, in this machine's byte order
}

// Compile returns the program of a profile.
func Compile(p *Profile) *Program {
	return &Program{Instructions: len(p.program.Program), Flags: p.program.Flags, Listing: seccomp.Disassemble(p.program.Program), Bytes: p.program.Bytes()}
}
