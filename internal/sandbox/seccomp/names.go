package seccomp

// Names returns the names of all system calls that some architecture has, sorted.
func Names() []string {
	out := make([]string, numNames)
	for i := range out {
		out[i] = nameBytes[nameOffsets[i]:nameOffsets[i+1]]
	}
	return out
}

// Known reports whether some architecture has a call of the name.
func Known(name string) bool {
	_, ok := lookup(name)
	return ok
}

// An Arch is an architecture as profiles and as filters name it.
type Arch struct {
	Name  string // SCMP_ARCH_*
	Token uint32 // AUDIT_ARCH_*, as it stands in a filter's Data
}

// Native returns the architecture of this program; the zero Arch if profiles have no name for it.
func Native() Arch {
	a := nativeArch()
	if a == numArchs {
		return Arch{}
	}
	return Arch{archPrefix + archs[a].name, archs[a].token}
}

// ArchOf returns the architecture that a profile names; false if there is none of the name.
func ArchOf(name string) (Arch, bool) {
	a := archNamed(name)
	if a == numArchs {
		return Arch{}, false
	}
	return Arch{name, archs[a].token}, true
}

// Allows reports whether what a filter returned lets the call through: allow and log do.
func Allows(ret uint32) bool { return ret&retActionMask == retAllow || ret&retActionMask == retLog }

// Decide asks a filter of Compile for a call, and returns the action and its data (SECCOMP_RET_*). It is Run without a check of the program, which the compiler has made.
func (f *Filter) Decide(data *Data) uint32 {
	v, _ := run(f.Program, data, hostBigEndian)
	return v
}
