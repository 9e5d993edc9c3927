package manifest

import (
	"runtime"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Host returns the platform of this program.
func Host() v1.Platform {
	return Normalize(v1.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH})
}

// ParsePlatform reads os, architecture, os/architecture or os/architecture/variant, as `--platform` has it.
func ParsePlatform(s string) (v1.Platform, error) {
	parts := strings.Split(s, "/")
	p := Host()
	switch {
	case len(parts) == 1 && knownOS(strings.ToLower(s)):
		p.OS = s
	case len(parts) == 1:
		p = v1.Platform{OS: p.OS, Architecture: s}
	case len(parts) == 2:
		p = v1.Platform{OS: parts[0], Architecture: parts[1]}
	case len(parts) == 3:
		p = v1.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
	default:
		return v1.Platform{}, wrong("platform %q: more than os/architecture/variant", shorten(s))
	}
	for _, part := range parts {
		if part == "" {
			return v1.Platform{}, wrong("platform %q: an empty part", shorten(s))
		}
	}
	if err := checkPlatform(p); err != nil {
		return v1.Platform{}, err
	}
	p = Normalize(p)
	if len(parts) == 1 && !knownArchitecture(p.Architecture) {
		return v1.Platform{}, wrong("platform %q: neither a known os nor a known architecture", shorten(s))
	}
	return p, nil
}

// FormatPlatform returns os/architecture or os/architecture/variant.
func FormatPlatform(p v1.Platform) string {
	if p.OS == "" {
		return "unknown"
	}
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

func knownOS(s string) bool {
	switch s {
	case "linux", "windows", "darwin", "freebsd", "netbsd", "openbsd":
		return true
	}
	return false
}

func knownArchitecture(s string) bool {
	switch s {
	case "386", "amd64", "arm", "arm64", "loong64", "mips", "mipsle", "mips64", "mips64le", "ppc64", "ppc64le", "riscv64", "s390x", "wasm":
		return true
	}
	return false
}

// Normalize gives a platform the names that GOOS and GOARCH have, and leaves the variant out where it is the usual one.
func Normalize(p v1.Platform) v1.Platform {
	p.OS, p.Architecture, p.Variant = strings.ToLower(p.OS), strings.ToLower(p.Architecture), strings.ToLower(p.Variant)
	if p.OS == "" {
		p.OS = runtime.GOOS
	}
	if p.OS == "macos" {
		p.OS = "darwin"
	}
	switch p.Architecture {
	case "i386":
		p.Architecture, p.Variant = "386", ""
	case "x86_64", "x86-64", "amd64":
		p.Architecture = "amd64"
		if p.Variant == "v1" {
			p.Variant = ""
		}
	case "aarch64", "arm64":
		p.Architecture = "arm64"
		switch p.Variant {
		case "8", "v8", "v8.0":
			p.Variant = ""
		case "9", "9.0", "v9.0":
			p.Variant = "v9"
		}
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	case "arm":
		switch p.Variant {
		case "", "7":
			p.Variant = "v7"
		case "5", "6", "8":
			p.Variant = "v" + p.Variant
		}
	}
	return p
}

// Select returns what of the index is to be used on the platform: what fits best, and of equals the first. Best is the platform itself,
// then those that its processor runs too, in the order of containerd's platforms.Only: lower variants, then 386 on amd64, arm on arm64.
// An index with a single manifest and no platform in it fits any. Of kind NotFound when nothing fits; the error names what there is.
func Select(index v1.Index, platform v1.Platform) (v1.Descriptor, error) {
	for _, want := range compatible(Normalize(platform)) {
		for _, d := range index.Manifests {
			if d.Platform != nil && KindOf(d.MediaType) != Unknown && fits(want, *d.Platform) {
				return d, nil
			}
		}
	}
	if len(index.Manifests) == 1 && index.Manifests[0].Platform == nil {
		return index.Manifests[0], nil
	}
	return v1.Descriptor{}, errdef.WithHint(
		errdef.Errorf(errdef.NotFound, "index: nothing for %s; it has %s", FormatPlatform(Normalize(platform)), offered(index)),
		"--platform chooses another one")
}

func fits(want, have v1.Platform) bool {
	have = Normalize(have)
	return want.OS == have.OS && want.Architecture == have.Architecture && want.Variant == have.Variant &&
		(want.OSVersion == "" || want.OSVersion == have.OSVersion)
}

func offered(index v1.Index) string {
	const most = 16
	var names []string
	for _, d := range index.Manifests {
		if d.Platform == nil || d.Platform.OS == "unknown" { // attestations say unknown/unknown
			continue
		}
		if len(names) == most {
			names = append(names, "...")
			break
		}
		names = append(names, FormatPlatform(Normalize(*d.Platform)))
	}
	if len(names) == 0 {
		return "no platforms"
	}
	return strings.Join(names, ", ")
}

// compatible lists what runs on a normalized platform, the best first.
func compatible(p v1.Platform) []v1.Platform {
	var out []v1.Platform
	add := func(architecture, variant string) {
		out = append(out, Normalize(v1.Platform{OS: p.OS, OSVersion: p.OSVersion, Architecture: architecture, Variant: variant}))
	}
	add(p.Architecture, p.Variant)
	switch p.Architecture {
	case "amd64":
		for v := version(p.Variant) - 1; v >= 1; v-- {
			add("amd64", "v"+strconv.Itoa(v))
		}
		add("386", "")
	case "arm":
		for v := version(p.Variant) - 1; v >= 5; v-- {
			add("arm", "v"+strconv.Itoa(v))
		}
	case "arm64":
		for _, v := range belowARM64(p.Variant) {
			add("arm64", v)
		}
		for v := 8; v >= 5; v-- {
			add("arm", "v"+strconv.Itoa(v))
		}
	}
	return out
}

// version reads v7 as 7; 0 when it is none.
func version(variant string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(variant, "v"))
	if err != nil || n > 16 {
		return 0
	}
	return n
}

// belowARM64 lists the variants below a v8.x or v9.x. Armv9.n has what Armv8.(n+5) has, up to 8.9 (Arm ARM, A1.8).
func belowARM64(variant string) []string {
	if variant == "" {
		return nil
	}
	major, minor, _ := strings.Cut(strings.TrimPrefix(variant, "v"), ".")
	n, err := strconv.Atoi(minor)
	if minor != "" && (err != nil || n < 0 || n > 9) {
		return nil
	}
	var out []string
	down := func(major string, from int) {
		for v := from; v > 0; v-- {
			out = append(out, "v"+major+"."+strconv.Itoa(v))
		}
		out = append(out, "v"+major)
	}
	switch {
	case major == "8" && n > 0:
		down("8", n-1)
	case major == "9":
		if n > 0 {
			down("9", n-1)
		}
		down("8", min(n+5, 9))
	}
	return out
}
