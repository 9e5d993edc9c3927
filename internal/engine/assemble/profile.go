package assemble

import (
	"encoding/json"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// A Profile is a seccomp profile in Docker's format (docs.docker.com, "Seccomp security profiles for Docker"): the runtime specification's, with a list of
// architectures that belong together, and with rules that hold for some capabilities, architectures or kernels only.
type Profile struct {
	specs.LinuxSeccomp
	ArchMap  []archMap `json:"archMap"`
	Syscalls []rule    `json:"syscalls"`
}

type archMap struct {
	Arch      specs.Arch   `json:"architecture"`
	SubArches []specs.Arch `json:"subArchitectures"`
}

type rule struct {
	specs.LinuxSyscall
	Name     string `json:"name"` // before Docker 1.12
	Includes filter `json:"includes"`
	Excludes filter `json:"excludes"`
}

type filter struct {
	Caps      []string `json:"caps"`
	Arches    []string `json:"arches"`
	MinKernel string   `json:"minKernel"`
}

// ParseProfile reads a profile.
func ParseProfile(data []byte) (*Profile, error) {
	p := &Profile{}
	if err := json.Unmarshal(data, p); err != nil {
		return nil, errdef.Errorf(errdef.Invalid, "the profile: %w", err)
	}
	if p.DefaultAction == "" {
		return nil, errdef.Errorf(errdef.Invalid, "the profile has no defaultAction")
	}
	if len(p.Architectures) > 0 && len(p.ArchMap) > 0 {
		return nil, errdef.Errorf(errdef.Invalid, "the profile has both architectures and archMap")
	}
	for i, r := range p.Syscalls {
		if r.Name != "" && len(r.Names) > 0 || r.Name == "" && len(r.Names) == 0 {
			return nil, errdef.Errorf(errdef.Invalid, "the profile: syscalls[%d] wants either name or names", i)
		}
		for _, f := range []filter{r.Includes, r.Excludes} {
			if _, _, err := version(f.MinKernel); err != nil {
				return nil, errdef.Errorf(errdef.Invalid, "the profile: syscalls[%d]: minKernel %.32q: %w", i, f.MinKernel, err)
			}
		}
	}
	return p, nil
}

// For returns what of the profile holds for a process with these capabilities on a kernel of this release (uname -r).
func (p *Profile) For(caps []string, release string) *specs.LinuxSeccomp {
	out := p.LinuxSeccomp
	native := map[string]specs.Arch{"amd64": specs.ArchX86_64, "arm64": specs.ArchAARCH64}[runtime.GOARCH]
	for _, a := range p.ArchMap {
		if a.Arch == native {
			out.Architectures = append([]specs.Arch{a.Arch}, a.SubArches...)
		}
	}
	out.Syscalls = nil
	for _, r := range p.Syscalls {
		if !r.Includes.all(caps, release) || r.Excludes.any(caps, release) {
			continue
		}
		call := r.LinuxSyscall
		if r.Name != "" {
			call.Names = []string{r.Name}
		}
		out.Syscalls = append(out.Syscalls, call)
	}
	return &out
}

// all reports whether every condition holds: of those in one list, all capabilities, and one of the architectures.
func (f *filter) all(caps []string, release string) bool {
	for _, c := range f.Caps {
		if !slices.Contains(caps, c) {
			return false
		}
	}
	return (len(f.Arches) == 0 || slices.Contains(f.Arches, runtime.GOARCH)) && (f.MinKernel == "" || atLeast(release, f.MinKernel))
}

// any reports whether one of the conditions holds.
func (f *filter) any(caps []string, release string) bool {
	return slices.ContainsFunc(f.Caps, func(c string) bool { return slices.Contains(caps, c) }) ||
		slices.Contains(f.Arches, runtime.GOARCH) || f.MinKernel != "" && atLeast(release, f.MinKernel)
}

func atLeast(release, least string) bool {
	major, minor, err := version(release)
	wantMajor, wantMinor, err2 := version(least)
	return err == nil && err2 == nil && (major > wantMajor || major == wantMajor && minor >= wantMinor)
}

// version reads the first two numbers of a release, 0 for "".
func version(s string) (major, minor int, err error) {
	if s == "" {
		return 0, 0, nil
	}
	first, rest, _ := strings.Cut(s, ".")
	second := rest
	if end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		second = rest[:end]
	}
	if major, err = strconv.Atoi(first); err == nil {
		minor, err = strconv.Atoi(second)
	}
	if err != nil {
		err = errdef.Errorf(errdef.Invalid, "wants MAJOR.MINOR")
	}
	return major, minor, err
}
