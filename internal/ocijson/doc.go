// Package ocijson reads and writes the JSON documents of the OCI runtime specification, and Bulkhead's own small records,
// without reflection.
//
// A container starts in about four milliseconds. The standard library's encoding/json costs a tenth of that before main runs and a
// quarter of it for one config.json, so nothing that a runtime links may import it. Here the code for each struct is generated
// (files z*.go, by `go generate`, from the types themselves), and calls a handful of hand-written primitives: a pull Decoder
// over one string, and append functions.
//
//	var spec specs.Spec
//	err := ocijson.UnmarshalSpec(data, &spec)
//	out := ocijson.AppendState(nil, &specs.State{Version: specs.Version, ID: "web", Status: specs.StateRunning})
//
// It is not a general JSON library: there is no streaming, and no decoding into types that the generator has not seen. Other
// packages get code for their own structs with
//
//	//go:generate go run ../../ocijson/gen -type Record,Stats
//
// which writes z_json.go with UnmarshalRecord, DecodeRecord, AppendRecord and so on beside the types.
//
// # What is accepted
//
// RFC 8259, whole: one value, and only space after it. The result is what encoding/json makes of the same document, with these
// differences, each of which refuses what encoding/json would quietly repair or choose for you. Two programs that read one document
// differently are how a check is passed with one meaning and acted upon with another (CVE-2021-41190):
//
//   - a field that stands twice, and a map key that stands twice, are refused. encoding/json takes the last (and merges objects),
//     other parsers the first;
//   - a name that is written in other case than it should ("Seccomp", "CPU") is the field, as for encoding/json and so for runc, whose callers
//     write such names. Where both stand in one object that is a field that stands twice, and refused: encoding/json would mix them, and a
//     case-sensitive reader would see the one alone. Case is that of ASCII letters; what only Unicode folds to a name (the Kelvin sign
//     to a k), which encoding/json takes too, is refused. Keys of maps are never folded;
//   - bytes that are not UTF-8, and halves of surrogate pairs, are refused rather than replaced: a path with U+FFFD in it is not the
//     path that was meant;
//   - values nest at most [MaxDepth] deep, and all arrays and maps together hold at most [MaxElements] elements, which bounds the
//     memory that a document can ask for at a small multiple of its size. The caller bounds the size;
//   - a document that is null is refused.
//
// Names that are not known are skipped, as the specification demands of a runtime (config.md, Extensibility), but what they hold must be
// valid JSON. null leaves a field at its zero value. An integer is written as one: 1.0 and 1e3 are refused, as by encoding/json, and
// so is what does not fit the field's width.
//
// Strings of the result are slices of one copy of the document, and keep it alive.
//
// # Security
//
// The input is hostile. The decoder never panics (fuzzed), recurses at most MaxDepth deep, and its errors carry bytes of the document
// only quoted, so that a control character never reaches a terminal. The encoder escapes all control characters, C1 and DEL included,
// and writes valid UTF-8 whatever it is given.
package ocijson

//go:generate go run ./gen -pkg github.com/opencontainers/runtime-spec/specs-go -type Spec,State,Process,LinuxResources=Resources,LinuxSeccomp=Seccomp,Hooks,Hook,ContainerProcessState -out z_specs
//go:generate go run ./gen -pkg github.com/opencontainers/runtime-spec/specs-go/features -type Features -out z_features
