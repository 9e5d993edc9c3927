package store

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/strictjson"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bounds of index.json and of a name in it.
const (
	MaxIndex = 32 << 20 // bytes: some 100,000 images
	MaxName  = 512      // bytes

	indexDepth  = 32
	indexValues = 2_000_000
)

// Annotations of a descriptor in index.json.
const (
	nameAnnotation     = v1.AnnotationRefName                 // what skopeo, crane, oras and umoci go by, and we
	fullNameAnnotation = "io.containerd.image.name"           // what containerd's import goes by; the whole name when the other has its tag
	namedAnnotation    = "io.github.bulkhead-engine.named"    // written by Tag: without a name, another tool has given that to something else
	subjectAnnotation  = "io.github.bulkhead-engine.referrer" // written by Attach: belongs to this digest, and goes when that goes
)

var indexNames = []string{"schemaVersion", "manifests", "mediaType", "digest", "size", "annotations", "platform", "artifactType"}

func indexLimits() strictjson.Limits {
	return strictjson.Limits{Bytes: MaxIndex, Depth: indexDepth, Values: indexValues, Names: indexNames, Free: []string{"annotations"}}
}

// index is index.json: its members as they stand, and its entries, which are decoded only when somebody asks for them. What other tools
// wrote into it is kept byte by byte.
type index struct {
	members []member
	entries [][]byte
	changed time.Time // of the file; zero when there is none
}

type member struct {
	key   string
	value []byte
}

// entry is a decoded descriptor of index.json.
type entry struct {
	desc v1.Descriptor
	name string // "" for one without
}

// tries bounds the reading of an index that another tool is just writing in place.
const tries = 20

// readIndex reads index.json. One that is not there is empty.
func (s *Store) readIndex() (*index, error) {
	var err error
	for range tries {
		var x *index
		if x, err = s.readIndexOnce(); err == nil {
			return x, nil
		}
		if !errdef.Is(err, errdef.Invalid) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "image store %q: %w", s.path, err), repairHint)
}

func (s *Store) readIndexOnce() (*index, error) {
	f, size, err := s.openFile(s.root, indexFile)
	if errdef.Is(err, errdef.NotFound) {
		return &index{}, nil
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.KindOf(err), "%s: %w", indexFile, err)
	}
	defer f.Close()
	if size > MaxIndex {
		return nil, errdef.Errorf(errdef.Conflict, "%s has %d bytes, at most %d are read", indexFile, size, MaxIndex)
	}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data, err := readAll(f, indexFile, size, MaxIndex)
	if err != nil {
		return nil, errdef.WithKind(errdef.Invalid, err) // shorter than a moment ago: being written
	}
	x, err := parseIndex(data)
	if err != nil {
		return nil, err
	}
	x.changed = st.ModTime()
	return x, nil
}

func parseIndex(data []byte) (*index, error) {
	if err := strictjson.Check(data, indexLimits()); err != nil {
		return nil, errdef.Errorf(errdef.Invalid, "%s: %w", indexFile, err)
	}
	if c := bytes.TrimLeft(data, " \t\r\n"); c[0] != '{' {
		return nil, errdef.Errorf(errdef.Invalid, "%s: no object", indexFile)
	}
	x := &index{}
	for key, value := range strictjson.Object(data) {
		if key != "manifests" {
			x.members = append(x.members, member{key, value})
			continue
		}
		if value[0] != '[' && value[0] != 'n' {
			return nil, errdef.Errorf(errdef.Invalid, "%s: manifests is no list", indexFile)
		}
		for element := range strictjson.Array(value) {
			x.entries = append(x.entries, element)
		}
	}
	return x, nil
}

// decode reads an entry. What is no descriptor of something that could be here is of kind Invalid.
func decode(element []byte) (entry, error) {
	var e entry
	if element[0] != '{' {
		return e, errdef.Errorf(errdef.Invalid, "no descriptor")
	}
	if err := json.Unmarshal(element, &e.desc); err != nil {
		return e, errdef.WithKind(errdef.Invalid, err)
	}
	if err := reference.CheckDigest(e.desc.Digest); err != nil {
		return e, err
	}
	if e.desc.Size < 0 {
		return e, errdef.Errorf(errdef.Invalid, "%s: a size of %d bytes", e.desc.Digest, e.desc.Size)
	}
	e.name = nameOf(e.desc.Annotations)
	if e.name == "" {
		return e, nil
	}
	return e, CheckName(e.name)
}

// nameOf reads the name from annotations: the whole one if the usual one is only its tag, as containerd exports it.
func nameOf(annotations map[string]string) string {
	name, full := annotations[nameAnnotation], annotations[fullNameAnnotation]
	if name != "" && !strings.ContainsAny(name, "/:") && strings.HasSuffix(full, ":"+name) {
		return full
	}
	return name
}

// left reports whether the entry had its name from Tag and lost it to another tool: skopeo takes a name away and leaves the rest.
func (e entry) left() bool { return e.name == "" && e.desc.Annotations[namedAnnotation] != "" }

// CheckName reports what is wrong with a name for Tag. Names are those of images, or short ones as skopeo makes them.
func CheckName(name string) error {
	if name == "" || len(name) > MaxName {
		return errdef.Errorf(errdef.Invalid, "a name of %d bytes, from 1 to %d are allowed", len(name), MaxName)
	}
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '[' && (i == 0 || strings.IndexByte("._:/@+-]", c) < 0) {
			return errdef.Errorf(errdef.Invalid, "name %q: %q at byte %d is not allowed", name, name[i:i+1], i)
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return errdef.Errorf(errdef.Invalid, "name %q: the part %q", name, part)
		}
	}
	return nil
}

// mayName reports whether a name can stand in an entry: its bytes do, or some escape does.
func mayName(element []byte, name string) bool {
	return bytes.Contains(element, []byte(name)) || bytes.IndexByte(element, '\\') >= 0
}

// named returns the decoded entry of a name and where it stands. Only entries in which the name can stand are decoded.
func (x *index) named(name string) (entry, int, bool) {
	for i, element := range x.entries {
		if !mayName(element, name) {
			continue
		}
		if e, err := decode(element); err == nil && e.name == name {
			return e, i, true
		}
	}
	return entry{}, -1, false
}

// all decodes every entry; those that are none are left out.
func (x *index) all() []entry {
	out := make([]entry, 0, len(x.entries))
	for _, element := range x.entries {
		if e, err := decode(element); err == nil {
			out = append(out, e)
		}
	}
	return out
}

// remove takes out what the function says, and reports how many it were.
func (x *index) remove(is func(element []byte) bool) int {
	before := len(x.entries)
	x.entries = slices.DeleteFunc(x.entries, is)
	return before - len(x.entries)
}

// set gives the name to the descriptor and takes it from any other.
func (x *index) set(name string, desc v1.Descriptor) error {
	x.drop(name)
	annotations := map[string]string{}
	for key, value := range desc.Annotations {
		annotations[key] = value
	}
	annotations[nameAnnotation], annotations[fullNameAnnotation], annotations[namedAnnotation] = name, name, "1"
	desc.Annotations, desc.URLs, desc.Data = annotations, nil, nil
	return x.add(desc)
}

func (x *index) add(desc v1.Descriptor) error {
	element, err := json.Marshal(desc)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "%s: %w", indexFile, err)
	}
	x.entries = append(x.entries, element)
	return nil
}

// drop takes out every entry of the name: another tool may have left two.
func (x *index) drop(name string) int {
	return x.remove(func(element []byte) bool {
		if !mayName(element, name) {
			return false
		}
		e, err := decode(element)
		return err == nil && e.name == name
	})
}

// bytes writes the index, an entry a line.
func (x *index) bytes() []byte {
	var b bytes.Buffer
	b.WriteString("{")
	if len(x.members) == 0 {
		b.WriteString(`"schemaVersion":2,"mediaType":"` + v1.MediaTypeImageIndex + `",`)
	}
	for _, m := range x.members {
		key, _ := json.Marshal(m.key) // a string
		b.Write(key)
		b.WriteByte(':')
		b.Write(m.value)
		b.WriteByte(',')
	}
	b.WriteString(`"manifests":[`)
	for i, element := range x.entries {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		b.Write(element)
	}
	b.WriteString("\n]}\n")
	return b.Bytes()
}

// writeIndex replaces index.json; index.lock is held.
func (s *Store) writeIndex(x *index) error {
	data := x.bytes()
	if len(data) > MaxIndex {
		return errdef.Errorf(errdef.Unavailable, "image store %q: %s would have %d bytes, at most %d", s.path, indexFile, len(data), MaxIndex)
	}
	if err := atomicfile.WriteAt(s.root, indexFile, data, atomicfile.Options{}); err != nil {
		return writeFailed(err, "image store %q", s.path)
	}
	return nil
}
