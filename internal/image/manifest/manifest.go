// Package manifest reads what describes an image: index, manifest, configuration, in the forms of OCI and of Docker schema 2.
//
// A registry says what it likes. Each decoder is therefore given the descriptor by which the bytes were found, and wants all to agree:
// the size, the digest, the media type of the descriptor and the one that the document says of itself. It bounds bytes, depth and
// counts, and refuses by name what another reader could understand differently: a document that is an index and a manifest at once
// (CVE-2021-41190), a key twice, a field in another spelling.
//
//	mediaType, err := manifest.MediaType(contentTypeHeader, data)       // of an answer to a tag, where there is no descriptor yet
//	index, err := manifest.DecodeIndex(data, desc)
//	desc, err = manifest.Select(index, platform)                        // as containerd chooses, variants included
//	m, err := manifest.DecodeManifest(data, desc)
//	err = manifest.CheckImage(m)                                        // an image that can run, not some artifact
//	config, err := manifest.DecodeConfig(data, m.Config)
//	err = manifest.CheckPair(m, config)                                 // as many layers here as there
//	chain := manifest.ChainIDs(config.RootFS.DiffIDs)                   // the names of the unpacked layers
//
// The types are image-spec's. Docker's schema 1 is refused by name, and so is a layer that is to be fetched from a URL.
//
// Links reads less strictly, for those who must know what a document names whatever it is: a garbage collector, a copier.
//
// Security: what a decoder returns is bounded and its digests, media types and platform names are safe to print and to use in file
// names. Annotations, labels, history, environment and commands are the text of whoever made the image: quote them.
// Errors are of kind Invalid unless said otherwise.
package manifest

import (
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/strictjson"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bounds of a document. Docker Hub takes manifests of 4 MiB; the largest configurations seen have some 100 KiB.
const (
	MaxManifest    = 4 << 20 // bytes of an index or a manifest
	MaxConfig      = 8 << 20 // bytes of a configuration
	MaxDepth       = 32      // nested objects and arrays
	MaxValues      = 100_000 // JSON values in one document: bounds the memory that decoding takes
	MaxManifests   = 4096    // in an index
	MaxLayers      = 512     // in a manifest, diff ids in a configuration
	MaxAnnotations = 1024    // in one object
	MaxBlob        = 1 << 40 // bytes that a descriptor may announce
)

var documentNames = []string{
	"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations", "digest", "size", "urls", "data",
	"platform", "architecture", "os", "os.version", "os.features", "variant",
}

func documentLimits() strictjson.Limits {
	return strictjson.Limits{Bytes: MaxManifest, Depth: MaxDepth, Values: MaxValues, Names: documentNames, Free: []string{"annotations"}}
}

// DecodeIndex reads an index, or Docker's manifest list.
func DecodeIndex(data []byte, desc v1.Descriptor) (v1.Index, error) {
	var index v1.Index
	err := decode(data, desc, Index, &index)
	if err == nil {
		err = checkIndex(index)
	}
	if err != nil {
		return v1.Index{}, errdef.Errorf(errdef.KindOf(err), "index %s: %w", name(desc), err)
	}
	index.MediaType = desc.MediaType
	return index, nil
}

// DecodeManifest reads a manifest of an image or an artifact.
func DecodeManifest(data []byte, desc v1.Descriptor) (v1.Manifest, error) {
	var m v1.Manifest
	err := decode(data, desc, Manifest, &m)
	if err == nil {
		err = checkManifest(m)
	}
	if err != nil {
		return v1.Manifest{}, errdef.Errorf(errdef.KindOf(err), "manifest %s: %w", name(desc), err)
	}
	m.MediaType = desc.MediaType
	return m, nil
}

// name is what a message calls the document.
func name(desc v1.Descriptor) string {
	if reference.CheckDigest(desc.Digest) != nil {
		return "without digest"
	}
	return desc.Digest.String()
}

func decode(data []byte, desc v1.Descriptor, want Kind, out any) error {
	if got := KindOf(desc.MediaType); got != want {
		return unwanted(desc.MediaType, got, want)
	}
	if err := Verify(data, desc, MaxManifest); err != nil {
		return err
	}
	if err := strictjson.Check(data, documentLimits()); err != nil {
		return err
	}
	if err := checkShape(data, desc.MediaType, want); err != nil {
		return err
	}
	return strictjson.Decode(data, documentLimits(), out)
}

// unwanted says why a document of this media type is none that was asked for.
func unwanted(mediaType string, got, want Kind) error {
	switch got {
	case Schema1:
		return errdef.WithHint(errdef.Errorf(errdef.Unsupported, "Docker's schema 1 (%s) is not supported", mediaType),
			"push the image again with a tool of this decade: schema 1 was superseded in 2016 and cannot be verified")
	case Unknown:
		if mediaType == "" {
			return wrong("the descriptor has no media type")
		}
		return errdef.Errorf(errdef.Unsupported, "media type %q is not known", shorten(mediaType))
	}
	return wrong("the media type %s is that of %s, where %s should be", mediaType, got, want)
}

// Verify reports whether the bytes are those that the descriptor announces, and no more than most.
func Verify(data []byte, desc v1.Descriptor, most int64) error {
	if err := reference.CheckDigest(desc.Digest); err != nil {
		return err
	}
	switch {
	case desc.Size < 0:
		return wrong("a size of %d bytes", desc.Size)
	case desc.Size > most:
		return wrong("announced with %d bytes, at most %d are read", desc.Size, most)
	case int64(len(data)) != desc.Size:
		return wrong("%d bytes came, %d were announced", len(data), desc.Size)
	}
	if got := desc.Digest.Algorithm().FromBytes(data); got != desc.Digest {
		return wrong("the content has the digest %s", got)
	}
	return nil
}

// checkShape looks at the members of a document before they get Go types: encoding/json would ignore those of another kind of document.
func checkShape(data []byte, mediaType string, want Kind) error {
	members := map[string][]byte{}
	for key, value := range strictjson.Object(data) {
		members[key] = value
	}
	has := func(key string) bool { _, ok := members[key]; return ok }
	if string(members["schemaVersion"]) == "1" || has("fsLayers") || has("signatures") {
		return unwanted("schemaVersion 1", Schema1, want)
	}
	if string(members["schemaVersion"]) != "2" {
		return wrong("schemaVersion is not 2")
	}
	if has("manifests") && (has("layers") || has("config")) {
		return wrong("an index and a manifest at once (CVE-2021-41190)")
	}
	if want == Index && !has("manifests") {
		return wrong("an index without manifests")
	}
	if want == Manifest && (has("manifests") || !has("layers") || !has("config")) {
		return wrong("a manifest without config and layers")
	}
	body, said := members["mediaType"]
	if !said {
		if isDocker(mediaType) {
			return wrong("the document does not say its media type, which Docker's must")
		}
		return nil
	}
	var text string
	if err := strictjson.Decode(body, documentLimits(), &text); err != nil {
		return wrong("mediaType is no string")
	}
	if text != mediaType {
		return wrong("the descriptor says %s, the document says %q of itself", mediaType, shorten(text))
	}
	return nil
}

func checkIndex(index v1.Index) error {
	if n := len(index.Manifests); n > MaxManifests {
		return wrong("%d manifests, at most %d", n, MaxManifests)
	}
	if err := checkAnnotations(index.Annotations, index.ArtifactType); err != nil {
		return err
	}
	for i, d := range index.Manifests {
		if err := checkDescriptor(d); err != nil {
			return errdef.Errorf(errdef.KindOf(err), "manifests[%d]: %w", i, err)
		}
	}
	return checkSubject(index.Subject)
}

func checkManifest(m v1.Manifest) error {
	if n := len(m.Layers); n > MaxLayers {
		return wrong("%d layers, at most %d", n, MaxLayers)
	}
	if err := checkAnnotations(m.Annotations, m.ArtifactType); err != nil {
		return err
	}
	if err := checkDescriptor(m.Config); err != nil {
		return errdef.Errorf(errdef.KindOf(err), "config: %w", err)
	}
	for i, d := range m.Layers {
		if err := checkDescriptor(d); err != nil {
			return errdef.Errorf(errdef.KindOf(err), "layers[%d]: %w", i, err)
		}
	}
	return checkSubject(m.Subject)
}

func checkSubject(subject *v1.Descriptor) error {
	if subject == nil {
		return nil
	}
	if err := checkDescriptor(*subject); err != nil {
		return errdef.Errorf(errdef.KindOf(err), "subject: %w", err)
	}
	return nil
}

// CheckImage reports why a manifest is none of an image that can be unpacked and run.
func CheckImage(m v1.Manifest) error {
	if kind := KindOf(m.Config.MediaType); kind != Config {
		return errdef.Errorf(errdef.Unsupported, "an artifact of type %s, no image", m.Config.MediaType)
	}
	for i, d := range m.Layers {
		switch KindOf(d.MediaType) {
		case Layer:
		case ForeignLayer:
			return errdef.Errorf(errdef.Unsupported, "layers[%d]: %s: layers that may not be distributed are not supported", i, d.MediaType)
		default:
			return errdef.Errorf(errdef.Unsupported, "layers[%d]: %s is no layer that can be unpacked", i, d.MediaType)
		}
	}
	return nil
}

// ChainIDs returns the names of the unpacked trees, the lowest first: of layer 0, of layers 0 and 1 together, and so on
// (image-spec config.md, "Layer ChainID").
func ChainIDs(diffIDs []digest.Digest) []digest.Digest {
	chain := make([]digest.Digest, len(diffIDs))
	for i, d := range diffIDs {
		if i == 0 {
			chain[0] = d
			continue
		}
		chain[i] = digest.FromString(chain[i-1].String() + " " + d.String())
	}
	return chain
}

// ChainID returns the last of ChainIDs, "" for an image without layers.
func ChainID(diffIDs []digest.Digest) digest.Digest {
	if len(diffIDs) == 0 {
		return ""
	}
	return ChainIDs(diffIDs)[len(diffIDs)-1]
}
