// Package reference reads and writes the names of images: registry, repository, tag, digest.
//
// What a user types is short and ambiguous: `alpine`, `quay.io/team/app:1.2`, `localhost:5000/x@sha256:...`. Parse makes of it one
// Reference with every part spelled out, by the rules that Docker follows:
//
//	r, err := reference.Parse("alpine")      // Reference{Domain: "docker.io", Path: "library/alpine", Tag: "latest"}
//	r.String()                               // "docker.io/library/alpine:latest": for files, records, comparison
//	r.Familiar()                             // "alpine:latest": for people; Parse gives r again
//	r.Identifier()                           // "latest", or the digest when there is one: what a registry is asked for
//
// A name with a tag and a digest keeps both; the digest decides what is fetched. There is no regular expression in here: the parser reads
// each byte once, and an error says which part is wrong and why. github.com/distribution/reference is the oracle of the tests. This
// package is stricter in what no registry can be reached by: a port above 65535, an address in brackets that is none, a domain of more
// than MaxDomain bytes, a domain with an underscore (which the oracle takes for a path without domain), sha384.
//
// Security: a Reference that Parse returned has no control character, no space, no `..`, no empty part in it. It is nevertheless no
// file name: Path has slashes.
package reference

import (
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/opencontainers/go-digest"
)

// What a name without these parts means.
const (
	DefaultDomain = "docker.io"
	DefaultTag    = "latest"

	legacyDomain = "index.docker.io"
	official     = "library/" // the namespace of Docker Hub that is not written
	localhost    = "localhost"
)

// Bounds in bytes.
const (
	MaxLength = 1024 // of all
	MaxDomain = 255  // with the port; a DNS name has 253 at most (RFC 1035, 2.3.4)
	MaxPath   = 255  // as Docker has it
	MaxTag    = 128  // distribution-spec, "Pulling manifests"
)

// Reference names an image. The zero value names none. Parse leaves no part but Tag or Digest empty.
type Reference struct {
	Domain string        // host[:port] of the registry; docker.io stands for Docker Hub
	Path   string        // the repository in it
	Tag    string        // "" when the name has only a digest
	Digest digest.Digest // "" when the name has only a tag
}

// Parse reads a name as a user writes it. An error is of kind Invalid, or Unsupported for a digest that is not known.
func Parse(s string) (Reference, error) {
	r, err := parse(s)
	if err != nil {
		return Reference{}, errdef.Errorf(errdef.KindOf(err), "image name %q: %w", shorten(s), err)
	}
	return r, nil
}

func parse(s string) (Reference, error) {
	switch {
	case s == "":
		return Reference{}, wrong("is empty")
	case len(s) > MaxLength:
		return Reference{}, wrong("has %d bytes, at most %d", len(s), MaxLength)
	case len(s) == 64 && isHex(s):
		return Reference{}, wrong("is an id, no name: 64 hexadecimal digits")
	}
	rest, sum, digested := strings.Cut(s, "@")
	domain, rest := splitDomain(rest)
	path, tag, tagged := strings.Cut(rest, ":")
	r := Reference{Domain: domain, Path: path, Tag: tag}
	if err := checkDomain(domain); err != nil {
		return r, err
	}
	if err := checkPath(path); err != nil {
		return r, err
	}
	if tagged {
		if err := CheckTag(tag); err != nil {
			return r, err
		}
	}
	if digested {
		d, err := ParseDigest(sum)
		if err != nil {
			return r, err
		}
		r.Digest = d
	} else if !tagged {
		r.Tag = DefaultTag
	}
	return r, nil
}

// splitDomain tells the registry from the repository: what stands before the first slash is a registry if it could be no namespace of
// Docker Hub, that is if it has a dot, a colon or an upper-case letter in it, or is localhost.
func splitDomain(s string) (domain, rest string) {
	first, after, cut := strings.Cut(s, "/")
	switch {
	case !cut:
		return DefaultDomain, official + s
	case first == legacyDomain:
		domain, rest = DefaultDomain, after
	case isDomain(first):
		domain, rest = first, after
	default:
		return DefaultDomain, s
	}
	if domain == DefaultDomain && !strings.Contains(rest, "/") {
		rest = official + rest
	}
	return domain, rest
}

func isDomain(first string) bool {
	return first == localhost || strings.ContainsAny(first, ".:") || strings.ToLower(first) != first
}

// String returns the whole name, "" for the zero value. Parse(r.String()) is r.
func (r Reference) String() string {
	if r.Path == "" {
		return ""
	}
	return r.Repository() + r.suffix()
}

// Familiar returns the shortest name of which Parse makes r again, but for the tag, which is always shown.
func (r Reference) Familiar() string {
	if r.Domain != DefaultDomain {
		return r.String()
	}
	path := r.Path
	if short, ok := strings.CutPrefix(path, official); ok && !strings.Contains(short, "/") {
		path = short
	} else if first, _, _ := strings.Cut(path, "/"); isDomain(first) {
		return r.String() // without docker.io its first part would be taken for a registry
	}
	return path + r.suffix()
}

func (r Reference) suffix() string {
	var s string
	if r.Tag != "" {
		s = ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}

// Repository returns the name without tag and digest: domain/path.
func (r Reference) Repository() string { return r.Domain + "/" + r.Path }

// Identifier returns what of the repository is meant: the digest, or the tag if there is none.
func (r Reference) Identifier() string {
	if r.Digest != "" {
		return r.Digest.String()
	}
	return r.Tag
}

// WithTag returns the name of a tag in the same repository. A digest of r is dropped: it belongs to what r named.
func (r Reference) WithTag(tag string) (Reference, error) {
	if err := CheckTag(tag); err != nil {
		return Reference{}, errdef.Errorf(errdef.KindOf(err), "repository %q: %w", r.Repository(), err)
	}
	return Reference{Domain: r.Domain, Path: r.Path, Tag: tag}, nil
}

// WithDigest returns the name of a content in the same repository. A tag of r is dropped.
func (r Reference) WithDigest(d digest.Digest) (Reference, error) {
	if err := CheckDigest(d); err != nil {
		return Reference{}, errdef.Errorf(errdef.KindOf(err), "repository %q: %w", r.Repository(), err)
	}
	return Reference{Domain: r.Domain, Path: r.Path, Digest: d}, nil
}
