package manifest

import (
	"mime"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/strictjson"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Kind is what a media type stands for.
type Kind uint8

// The kinds.
const (
	Unknown      Kind = iota // not one of ours: an artifact's, a future one's
	Index                    // a list of manifests, one per platform
	Manifest                 // a configuration and layers
	Config                   // the configuration of an image
	Layer                    // a tar, plain, gzip or zstd
	ForeignLayer             // a layer that may not be distributed
	Schema1                  // a manifest of before 2016
)

var kindNames = [...]string{
	"something unknown", "an index", "a manifest", "an image configuration", "a layer", "a layer that may not be distributed", "a manifest of Docker's schema 1",
}

// String returns the kind in words, with its article.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[Unknown]
}

// Docker's media types (docs.docker.com, "Image manifest v 2, schema 2"), beside which image-spec's stand as its constants.
const (
	DockerIndex     = "application/vnd.docker.distribution.manifest.list.v2+json"
	DockerManifest  = "application/vnd.docker.distribution.manifest.v2+json"
	DockerConfig    = "application/vnd.docker.container.image.v1+json"
	DockerLayer     = "application/vnd.docker.image.rootfs.diff.tar"
	DockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	DockerLayerZstd = "application/vnd.docker.image.rootfs.diff.tar.zstd"

	dockerForeign     = "application/vnd.docker.image.rootfs.foreign.diff.tar"
	dockerForeignGzip = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	dockerSchema1     = "application/vnd.docker.distribution.manifest.v1+json"
	dockerSchema1JWS  = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	ociForeignPrefix  = "application/vnd.oci.image.layer.nondistributable.v1.tar"
)

// KindOf returns what a media type stands for. Media types have no parameters here and are compared byte by byte.
func KindOf(mediaType string) Kind {
	switch mediaType {
	case v1.MediaTypeImageIndex, DockerIndex:
		return Index
	case v1.MediaTypeImageManifest, DockerManifest:
		return Manifest
	case v1.MediaTypeImageConfig, DockerConfig:
		return Config
	case v1.MediaTypeImageLayer, v1.MediaTypeImageLayerGzip, v1.MediaTypeImageLayerZstd, DockerLayer, DockerLayerGzip, DockerLayerZstd:
		return Layer
	case ociForeignPrefix, ociForeignPrefix + "+gzip", ociForeignPrefix + "+zstd", dockerForeign, dockerForeignGzip:
		return ForeignLayer
	case dockerSchema1, dockerSchema1JWS:
		return Schema1
	}
	return Unknown
}

// Accept is what a registry is told that we read, the best first.
func Accept() []string {
	return []string{v1.MediaTypeImageIndex, v1.MediaTypeImageManifest, DockerIndex, DockerManifest}
}

func isDocker(mediaType string) bool { return strings.HasPrefix(mediaType, "application/vnd.docker.") }

// MediaType finds out what a registry has sent when no descriptor says it: the Content-Type of the answer and the document must not
// contradict each other. A header that says nothing (some registries have application/json for all) leaves it to the document.
func MediaType(header string, data []byte) (string, error) {
	said := ""
	if header != "" {
		parsed, _, err := mime.ParseMediaType(header)
		if err != nil {
			return "", wrong("Content-Type %q: %w", shorten(header), err)
		}
		said = parsed
	}
	if err := strictjson.Check(data, documentLimits()); err != nil {
		return "", err
	}
	var body struct {
		MediaType     string `json:"mediaType"`
		SchemaVersion int    `json:"schemaVersion"`
	}
	if err := strictjson.Decode(data, documentLimits(), &body); err != nil {
		return "", err
	}
	generic := said == "" || said == "application/json" || said == "application/octet-stream" || said == "text/plain"
	switch {
	case body.SchemaVersion == 1 || KindOf(said) == Schema1:
		return "", unwanted("schemaVersion 1", Schema1, Manifest)
	case generic && body.MediaType == "":
		return "", wrong("neither the Content-Type %q nor the document says what it is", said)
	case generic:
		said = body.MediaType
	case body.MediaType != "" && body.MediaType != said:
		return "", wrong("the Content-Type is %q, the document says %q of itself", shorten(said), shorten(body.MediaType))
	}
	if kind := KindOf(said); kind != Index && kind != Manifest {
		return "", errdef.Errorf(errdef.Unsupported, "media type %q is neither that of an index nor of a manifest", shorten(said))
	}
	return said, nil
}
