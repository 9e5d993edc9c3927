package seccomp

import "runtime"

// arch is one calling convention of the kernel.
type arch struct {
	name  string // as in the profile, without SCMP_ARCH_
	token uint32 // AUDIT_ARCH_*, linux/audit.h
	wide  bool   // arguments are 64 bits
	big   bool   // the high word of an argument comes first
	mux   bool   // has socketcall (base + 102) and ipc (base + 117)
	base  uint32 // added to the numbers of the table
	nr    *[numNames]uint16
}

// Special entries of the number tables.
const (
	absent      = 0xffff
	private     = 0xf000  // from here: ARM's private calls
	privateBase = 0xf0000 // __ARM_NR_BASE
	x32Bit      = 0x40000000
	nrSocket    = 102
	nrIPC       = 117
)

// archID indexes archs.
type archID int

const (
	archX86 archID = iota
	archX8664
	archX32
	archARM
	archAARCH64
	archMIPS
	archMIPS64
	archMIPS64N32
	archMIPSEL
	archMIPSEL64
	archMIPSEL64N32
	archPPC
	archPPC64
	archPPC64LE
	archS390
	archS390X
	archPARISC
	archPARISC64
	archRISCV64
	archLOONGARCH64
	archM68K
	archSH
	archSHEB
	numArchs
)

var archs = [numArchs]arch{
	archX86:         {name: "X86", token: 0x40000003, mux: true, nr: &sysnumX86},
	archX8664:       {name: "X86_64", token: 0xc000003e, wide: true, nr: &sysnumX8664},
	archX32:         {name: "X32", token: 0xc000003e, base: x32Bit, nr: &sysnumX32},
	archARM:         {name: "ARM", token: 0x40000028, nr: &sysnumARM},
	archAARCH64:     {name: "AARCH64", token: 0xc00000b7, wide: true, nr: &sysnumAARCH64},
	archMIPS:        {name: "MIPS", token: 0x00000008, big: true, mux: true, base: 4000, nr: &sysnumMIPS},
	archMIPS64:      {name: "MIPS64", token: 0x80000008, wide: true, big: true, base: 5000, nr: &sysnumMIPS64},
	archMIPS64N32:   {name: "MIPS64N32", token: 0xa0000008, big: true, base: 6000, nr: &sysnumMIPS64N32},
	archMIPSEL:      {name: "MIPSEL", token: 0x40000008, mux: true, base: 4000, nr: &sysnumMIPS},
	archMIPSEL64:    {name: "MIPSEL64", token: 0xc0000008, wide: true, base: 5000, nr: &sysnumMIPS64},
	archMIPSEL64N32: {name: "MIPSEL64N32", token: 0xe0000008, base: 6000, nr: &sysnumMIPS64N32},
	archPPC:         {name: "PPC", token: 0x00000014, big: true, mux: true, nr: &sysnumPPC},
	archPPC64:       {name: "PPC64", token: 0x80000015, wide: true, big: true, mux: true, nr: &sysnumPPC64},
	archPPC64LE:     {name: "PPC64LE", token: 0xc0000015, wide: true, mux: true, nr: &sysnumPPC64},
	archS390:        {name: "S390", token: 0x00000016, big: true, mux: true, nr: &sysnumS390},
	archS390X:       {name: "S390X", token: 0x80000016, wide: true, big: true, mux: true, nr: &sysnumS390X},
	archPARISC:      {name: "PARISC", token: 0x0000000f, big: true, nr: &sysnumPARISC},
	archPARISC64:    {name: "PARISC64", token: 0x8000000f, wide: true, big: true, nr: &sysnumPARISC64},
	archRISCV64:     {name: "RISCV64", token: 0xc00000f3, wide: true, nr: &sysnumRISCV64},
	archLOONGARCH64: {name: "LOONGARCH64", token: 0xc0000102, wide: true, nr: &sysnumLOONGARCH64},
	archM68K:        {name: "M68K", token: 0x00000004, big: true, mux: true, nr: &sysnumM68K},
	archSH:          {name: "SH", token: 0x4000002a, mux: true, nr: &sysnumSH},
	archSHEB:        {name: "SHEB", token: 0x0000002a, big: true, mux: true, nr: &sysnumSH},
}

const archPrefix = "SCMP_ARCH_"

// archNamed returns the architecture that a profile calls name, numArchs if there is none.
func archNamed(name string) archID {
	if len(name) > len(archPrefix) && name[:len(archPrefix)] == archPrefix {
		for i := range archs {
			if archs[i].name == name[len(archPrefix):] {
				return archID(i)
			}
		}
	}
	return numArchs
}

// nativeArch returns the architecture of this program, numArchs if seccomp profiles have no name for it.
func nativeArch() archID {
	switch runtime.GOARCH {
	case "amd64":
		return archX8664
	case "386":
		return archX86
	case "arm64":
		return archAARCH64
	case "arm":
		return archARM
	case "riscv64":
		return archRISCV64
	case "loong64":
		return archLOONGARCH64
	case "ppc64le":
		return archPPC64LE
	case "ppc64":
		return archPPC64
	case "s390x":
		return archS390X
	case "mips":
		return archMIPS
	case "mipsle":
		return archMIPSEL
	case "mips64":
		return archMIPS64
	case "mips64le":
		return archMIPSEL64
	}
	return numArchs
}

// hostBigEndian says how this machine stores words.
const hostBigEndian = runtime.GOARCH == "s390x" || runtime.GOARCH == "ppc64" || runtime.GOARCH == "mips" || runtime.GOARCH == "mips64"

// number returns the number of the call with that index as the kernel reports it.
func (a *arch) number(id int) (uint32, bool) {
	n := a.nr[id]
	if n == absent {
		return 0, false
	}
	if n >= private {
		return privateBase + uint32(n-private), true
	}
	return a.base + uint32(n), true
}

// lookup returns the index of a call's name.
func lookup(name string) (int, bool) {
	for at := hashName(name); ; at++ {
		slot := int(nameSlots[at%uint32(len(nameSlots))])
		if slot == 0 {
			return 0, false
		}
		if nameBytes[nameOffsets[slot-1]:nameOffsets[slot]] == name {
			return slot - 1, true
		}
	}
}

// hashName is FNV-1a, folded; gen fills nameSlots with it.
func hashName(name string) uint32 {
	h := uint32(2166136261)
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return h ^ h>>15
}

// Number returns the number of a system call on an architecture of a profile (SCMP_ARCH_*), as it stands in a filter's Data.
func Number(archName, call string) (uint32, bool) {
	a := archNamed(archName)
	id, ok := lookup(call)
	if a == numArchs || !ok {
		return 0, false
	}
	return archs[a].number(id)
}
