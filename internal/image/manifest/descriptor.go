package manifest

import (
	"bytes"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/strictjson"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func wrong(format string, args ...any) error { return errdef.Errorf(errdef.Invalid, format, args...) }

// shorten keeps hostile text from filling the terminal.
func shorten(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

// checkDescriptor wants what every descriptor must have, and no URL.
func checkDescriptor(d v1.Descriptor) error {
	if err := reference.CheckDigest(d.Digest); err != nil {
		return err
	}
	if d.Size < 0 || d.Size > MaxBlob {
		return wrong("%s: a size of %d bytes, at most %d", d.Digest, d.Size, int64(MaxBlob))
	}
	if err := checkMediaType(d.MediaType); err != nil {
		return errdef.Errorf(errdef.Invalid, "%s: %w", d.Digest, err)
	}
	if len(d.URLs) > 0 {
		return errdef.Errorf(errdef.Unsupported, "%s: is to be fetched from %q: content from outside of the registry is not supported", d.Digest, shorten(d.URLs[0]))
	}
	if err := checkAnnotations(d.Annotations, d.ArtifactType); err != nil {
		return errdef.Errorf(errdef.Invalid, "%s: %w", d.Digest, err)
	}
	if d.Data != nil {
		if int64(len(d.Data)) != d.Size || !bytes.Equal([]byte(d.Digest.Algorithm().FromBytes(d.Data)), []byte(d.Digest)) {
			return wrong("%s: the embedded data is something else", d.Digest)
		}
	}
	if d.Platform != nil {
		if err := checkPlatform(*d.Platform); err != nil {
			return errdef.Errorf(errdef.Invalid, "%s: %w", d.Digest, err)
		}
	}
	return nil
}

func checkAnnotations(annotations map[string]string, artifactType string) error {
	if n := len(annotations); n > MaxAnnotations {
		return wrong("%d annotations, at most %d", n, MaxAnnotations)
	}
	if artifactType == "" {
		return nil
	}
	return checkMediaType(artifactType)
}

// checkMediaType wants type/subtype of the characters that RFC 6838, section 4.2, has.
func checkMediaType(s string) error {
	const most = 127 // for each half
	kind, sub, cut := strings.Cut(s, "/")
	if !cut || !restricted(kind, most) || !restricted(sub, most) {
		return wrong("%q is no media type", shorten(s))
	}
	return nil
}

func restricted(s string, most int) bool {
	if s == "" || len(s) > most {
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || strings.IndexByte("!#$&-^_.+", c) < 0) {
			return false
		}
	}
	return true
}

// checkPlatform wants short words, which may be empty.
func checkPlatform(p v1.Platform) error {
	for _, s := range append([]string{p.OS, p.Architecture, p.Variant, p.OSVersion}, p.OSFeatures...) {
		if len(s) > 64 {
			return wrong("platform: %q has more than 64 bytes", shorten(s))
		}
		for i := range len(s) {
			c := s[i]
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._-+", c) >= 0) {
				return wrong("platform: %q is no name", s)
			}
		}
	}
	if n := len(p.OSFeatures); n > 64 {
		return wrong("platform: %d features, at most 64", n)
	}
	return nil
}

// Links returns what a document names: manifests, config, layers, blobs and subject, in this order, each with a digest that is one. It
// wants only the bounds and the strict JSON, and knows no media types, so it follows artifacts and forms to come as well. A document
// that is no object names nothing.
func Links(data []byte) ([]v1.Descriptor, error) {
	limits := documentLimits()
	if err := strictjson.Check(data, limits); err != nil {
		return nil, err
	}
	members := map[string][]byte{}
	for key, value := range strictjson.Object(data) {
		members[key] = value
	}
	var links []v1.Descriptor
	for _, key := range []string{"manifests", "config", "layers", "blobs", "subject"} {
		value := members[key]
		if len(value) == 0 || value[0] != '[' && value[0] != '{' {
			continue
		}
		if value[0] == '{' {
			value = append(append([]byte{'['}, value...), ']')
		}
		for element := range strictjson.Array(value) {
			d, ok, err := link(element)
			if err != nil {
				return nil, errdef.Errorf(errdef.Invalid, "%s: %w", key, err)
			}
			if ok {
				links = append(links, d)
			}
		}
	}
	return links, nil
}

// link reads one descriptor; without a digest it is none, as the config of an image's configuration.
func link(element []byte) (v1.Descriptor, bool, error) {
	var only struct {
		Digest *string `json:"digest"`
	}
	if element[0] != '{' {
		return v1.Descriptor{}, false, nil
	}
	limits := documentLimits()
	if err := strictjson.Decode(element, limits, &only); err != nil || only.Digest == nil {
		return v1.Descriptor{}, false, err
	}
	var d v1.Descriptor
	if err := strictjson.Decode(element, limits, &d); err != nil {
		return v1.Descriptor{}, false, err
	}
	if err := reference.CheckDigest(d.Digest); err != nil {
		return v1.Descriptor{}, false, err
	}
	return d, true, nil
}
