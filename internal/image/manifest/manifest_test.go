package manifest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

const (
	sumA = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	sumB = "sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
)

func descriptor(mediaType, text string) v1.Descriptor {
	return v1.Descriptor{MediaType: mediaType, Digest: digest.FromString(text), Size: int64(len(text))}
}

// fill writes out what the documents of the tests abbreviate: M, C, L and I are media types, A and B digests.
func fill(text string) string {
	return strings.NewReplacer(
		"$M", v1.MediaTypeImageManifest, "$C", v1.MediaTypeImageConfig, "$L", v1.MediaTypeImageLayerGzip, "$I", v1.MediaTypeImageIndex,
		"$DM", DockerManifest, "$DI", DockerIndex, "$A", sumA, "$B", sumB,
		"$config", `"config":{"mediaType":"`+v1.MediaTypeImageConfig+`","digest":"`+sumA+`","size":7}`,
		"$layer", `{"mediaType":"`+v1.MediaTypeImageLayerGzip+`","digest":"`+sumB+`","size":9}`,
	).Replace(text)
}

func TestManifest(t *testing.T) {
	for _, mediaType := range []string{v1.MediaTypeImageManifest, DockerManifest} {
		text := fill(`{"schemaVersion":2,"mediaType":"` + mediaType + `",$config,"layers":[$layer,$layer],"annotations":{"Layers":"free","layers":"too"},"x":[1]}`)
		m, err := DecodeManifest([]byte(text), descriptor(mediaType, text))
		if err != nil {
			t.Fatal(err)
		}
		if m.MediaType != mediaType || m.Config.Digest != sumA || len(m.Layers) != 2 || m.Layers[1].Size != 9 {
			t.Errorf("got %+v", m)
		}
		if err := CheckImage(m); err != nil {
			t.Error(err)
		}
	}
	text := fill(`{"schemaVersion":2,$config,"layers":[]}`)
	if m, err := DecodeManifest([]byte(text), descriptor(v1.MediaTypeImageManifest, text)); err != nil || m.MediaType != v1.MediaTypeImageManifest {
		t.Errorf("OCI's media type may be left out: %+v, %v", m, err)
	}
	text = fill(`{"schemaVersion":2,"manifests":[{"mediaType":"$M","digest":"$A","size":5,"platform":{"os":"linux","architecture":"arm64","variant":"v8"}}]}`)
	index, err := DecodeIndex([]byte(text), descriptor(v1.MediaTypeImageIndex, text))
	if err != nil || len(index.Manifests) != 1 || index.Manifests[0].Platform.Variant != "v8" {
		t.Errorf("got %+v, %v", index, err)
	}
}

// TestRefused has the sentence for each document that is refused.
func TestRefused(t *testing.T) {
	long := strings.Repeat("x", 200)
	for _, c := range []struct{ as, text, want string }{
		{"$M", `{"schemaVersion":2,$config,"layers":[$layer],"manifests":[]}`, "an index and a manifest at once"},
		{"$I", `{"schemaVersion":2,"manifests":[],"layers":[]}`, "an index and a manifest at once"},
		{"$I", `{"schemaVersion":2,"manifests":[],"config":{}}`, "an index and a manifest at once"},
		{"$I", `{"schemaVersion":2,$config,"layers":[$layer]}`, "an index without manifests"},
		{"$M", `{"schemaVersion":2,"manifests":[]}`, "a manifest without config and layers"},
		{"$M", `{"schemaVersion":2,$config}`, "a manifest without config and layers"},
		{"$M", `{"schemaVersion":2,"layers":[]}`, "a manifest without config and layers"},
		{"$M", `{"schemaVersion":2,$config,"layers":[],"layers":[$layer]}`, `"layers" stands there twice`},
		{"$M", `{"schemaVersion":2,$config,"layers":[],"Layers":[$layer]}`, `"Layers" is spelled "layers"`},
		{"$M", `{"schemaVersion":2,"Config":{},$config,"layers":[]}`, `"Config" is spelled "config"`},
		{"$M", `{"schemaVersion":2,"mediaType":"$I",$config,"layers":[]}`, "the descriptor says application/vnd.oci.image.manifest.v1+json, the document says"},
		{"$M", `{"schemaVersion":2,"mediaType":7,$config,"layers":[]}`, "mediaType is no string"},
		{"$M", `{"schemaVersion":2,"mediaType":"$M; charset=utf-8",$config,"layers":[]}`, "the document says"},
		{"$DM", `{"schemaVersion":2,$config,"layers":[]}`, "which Docker's must"},
		{"$M", `{"schemaVersion":1,$config,"layers":[]}`, "Docker's schema 1"},
		{"$M", `{"schemaVersion":2,$config,"layers":[],"fsLayers":[]}`, "Docker's schema 1"},
		{"$M", `{"schemaVersion":2,$config,"layers":[],"signatures":[]}`, "Docker's schema 1"},
		{"$M", `{"schemaVersion":3,$config,"layers":[]}`, "schemaVersion is not 2"},
		{"$M", `{"schemaVersion":2.0,$config,"layers":[]}`, "schemaVersion is not 2"},
		{"$M", `{$config,"layers":[]}`, "schemaVersion is not 2"},
		{"$M", `{"schemaVersion":2,$config,"layers":{}}`, "cannot unmarshal object"},
		{"$M", `{"schemaVersion":2,$config,"layers":[{"mediaType":"$L","digest":"$A","size":"9"}]}`, "cannot unmarshal string"},
		{"$M", `{"schemaVersion":2,$config,"layers":[{"mediaType":"$L","digest":"$A","size":1e30}]}`, "cannot unmarshal number"},
		{"$M", `{"schemaVersion":2,$config,"layers":[{"mediaType":"$L","digest":"$A","size":-1}]}`, "layers[0]: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08: a size of -1 bytes"},
		{"$M", `{"schemaVersion":2,$config,"layers":[{"mediaType":"$L","digest":"$A","size":1099511627777}]}`, "at most 1099511627776"},
		{"$M", `{"schemaVersion":2,$config,"layers":[{"mediaType":"$L","digest":"sha256:../../etc","size":1}]}`, "digits, sha256 has 64"},
		{"$M", `{"schemaVersion":2,$config,"layers":[{"mediaType":"$L","size":1}]}`, "no algorithm"},
		{"$M", `{"schemaVersion":2,$config,"layers":[{"mediaType":"$L","digest":"md5:9e107d9d372bb6826bd81d3542a419d6","size":1}]}`, "neither sha256 nor sha512"},
		{"$M", `{"schemaVersion":2,$config,"layers":[{"digest":"$A","size":1}]}`, `"" is no media type`},
		{"$M", `{"schemaVersion":2,$config,"layers":[{"mediaType":"a/b\u001b[31m","digest":"$A","size":1}]}`, "is no media type"},
		{"$M", `{"schemaVersion":2,$config,"layers":[{"mediaType":"a/` + long + `","digest":"$A","size":1}]}`, "is no media type"},
		{"$M", `{"schemaVersion":2,$config,"layers":[{"mediaType":"$L","digest":"$A","size":1,"urls":["https://evil/x"]}]}`, `is to be fetched from "https://evil/x"`},
		{"$M", `{"schemaVersion":2,$config,"layers":[{"mediaType":"$L","digest":"$A","size":1,"data":"eA=="}]}`, "the embedded data is something else"},
		{"$M", `{"schemaVersion":2,$config,"layers":[],"subject":{"mediaType":"$M","digest":"x","size":1}}`, "subject: digest"},
		{"$M", `{"schemaVersion":2,$config,"layers":[],"artifactType":"none"}`, `"none" is no media type`},
		{"$M", `{"schemaVersion":2,"config":null,"layers":[]}`, "config: digest"},
		{"$I", `{"schemaVersion":2,"manifests":[{"mediaType":"$M","digest":"$A","size":1,"platform":{"os":"li\u001bnux","architecture":"x"}}]}`, "is no name"},
		{"$I", `{"schemaVersion":2,"manifests":[{"mediaType":"$M","digest":"$A","size":1,"platform":{"os":"` + long + `","architecture":"x"}}]}`, "more than 64 bytes"},
		{"$M", `[]`, "schemaVersion is not 2"},
		{"$M", `null`, "schemaVersion is not 2"},
		{"$M", ``, "the JSON ends"},
		{"$M", `{"schemaVersion":2` + strings.Repeat(`,"x":[`, 1) + strings.Repeat("[", 40) + strings.Repeat("]", 41) + `}`, "nested deeper than 32"},
		{"$M", `{"x":[` + strings.Repeat("0,", 100_000) + `0]}`, "more than 100000 values"},
		{"$M", `{"schemaVersion":2,$config,"layers":[` + strings.Repeat("$layer,", 512) + `$layer]}`, "513 layers, at most 512"},
		{"$I", `{"schemaVersion":2,"manifests":[` + strings.Repeat("$layer,", 4096) + `$layer]}`, "4097 manifests, at most 4096"},
		{"$C", `{}`, "is that of an image configuration, where a"},
		{"$L", `{}`, "is that of a layer, where a"},
		{"", `{}`, "has no media type"},
		{"text/html", `{}`, `"text/html" is not known`},
		{dockerSchema1JWS, `{}`, "Docker's schema 1"},
	} {
		text := fill(c.text)
		desc := descriptor(fill(c.as), text)
		var err error
		if c.as == "$I" {
			_, err = DecodeIndex([]byte(text), desc)
		} else {
			_, err = DecodeManifest([]byte(text), desc)
		}
		wantError(t, c.text, err, c.want)
	}
	if _, err := DecodeIndex([]byte("{}"), descriptor(v1.MediaTypeImageManifest, "{}")); err == nil || !strings.Contains(err.Error(), "where an index should be") {
		t.Errorf("a manifest as an index: %v", err)
	}
}

func wantError(t *testing.T, what string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%.100s: %v, want %q", what, err, want)
		return
	}
	if kind := errdef.KindOf(err); kind != errdef.Invalid && kind != errdef.Unsupported {
		t.Errorf("%.100s: kind %v", what, kind)
	}
	if strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 600 {
		t.Errorf("%.100s: the error is not for a terminal: %q", what, err)
	}
}

func TestVerify(t *testing.T) {
	good := descriptor(v1.MediaTypeImageManifest, "abc")
	for want, change := range map[string]func(*v1.Descriptor){
		"3 bytes came, 4 were announced":           func(d *v1.Descriptor) { d.Size = 4 },
		"a size of -1 bytes":                       func(d *v1.Descriptor) { d.Size = -1 },
		"announced with 11 bytes, at most 10":      func(d *v1.Descriptor) { d.Size = 11 },
		"the content has the digest sha256:ba7816": func(d *v1.Descriptor) { d.Digest = sumA },
		"no algorithm":                             func(d *v1.Descriptor) { d.Digest = "" },
	} {
		desc := good
		change(&desc)
		wantError(t, want, Verify([]byte("abc"), desc, 10), want)
	}
	long := v1.Descriptor{Digest: digest.SHA512.FromString("abc"), Size: 3}
	if err := Verify([]byte("abc"), long, 3); err != nil {
		t.Error(err)
	}
}

func TestCheckImage(t *testing.T) {
	config := v1.Descriptor{MediaType: v1.MediaTypeImageConfig}
	for want, m := range map[string]v1.Manifest{
		"an artifact of type application/vnd.oci.empty.v1+json": {Config: v1.Descriptor{MediaType: v1.MediaTypeEmptyJSON}},
		"layers[0]: " + dockerForeignGzip + ": layers that may": {Config: config, Layers: []v1.Descriptor{{MediaType: dockerForeignGzip}}},
		"layers[1]: application/x+encrypted is no layer":        {Config: config, Layers: []v1.Descriptor{{MediaType: DockerLayer}, {MediaType: "application/x+encrypted"}}},
	} {
		wantError(t, want, CheckImage(m), want)
	}
}

func TestMediaType(t *testing.T) {
	for _, c := range []struct{ header, text, want string }{
		{"$M", `{"schemaVersion":2}`, "$M"},
		{"$M; charset=utf-8", `{"mediaType":"$M"}`, "$M"},
		{"application/json", `{"mediaType":"$DI"}`, "$DI"},
		{"", `{"mediaType":"$I"}`, "$I"},
		{"$M", `{"mediaType":"$I"}`, "! the document says"},
		{"application/json", `{"schemaVersion":2,"layers":[]}`, "! says what it is"},
		{"text/html", `{}`, "! neither that of an index"},
		{"text/html", `<html>`, "! where a value should stand"},
		{"$C", `{}`, "! neither that of an index"},
		{dockerSchema1JWS, `{}`, "! schema 1"},
		{"$M", `{"schemaVersion":1}`, "! schema 1"},
		{"a b c", `{}`, "! Content-Type"},
		{"$M", `{"mediaType":"$M","mediatype":"$I"}`, "! is spelled"},
	} {
		got, err := MediaType(fill(c.header), []byte(fill(c.text)))
		if want, refused := strings.CutPrefix(c.want, "! "); refused {
			wantError(t, c.header+c.text, err, want)
		} else if err != nil || got != fill(want) {
			t.Errorf("%s %s: %q, %v", c.header, c.text, got, err)
		}
	}
}

func TestLinks(t *testing.T) {
	text := fill(`{"mediaType":"x/y","manifests":[{"digest":"$A"},{"digest":"$B","mediaType":"$M","size":3}],$config,"layers":[$layer],"blobs":[$layer],"subject":{"digest":"$A"},"other":{"digest":"$A"}}`)
	links, err := Links([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range links {
		got = append(got, d.Digest.String()[7:9])
	}
	if s := strings.Join(got, " "); s != "9f 60 9f 60 60 9f" {
		t.Errorf("got %s", s)
	}
	for _, text := range []string{`[]`, `"x"`, `{"config":{"Env":[]}}`, `{"layers":[1,"x"]}`, `{"manifests":null}`} {
		if links, err := Links([]byte(text)); err != nil || len(links) != 0 {
			t.Errorf("%s: %v, %v", text, links, err)
		}
	}
	for text, want := range map[string]string{
		`{"layers":[{"digest":"sha256:/../x"}]}`:              "layers: digest",
		`{"layers":[{"digest":7}]}`:                           "layers: json",
		`{"layers":[],"layers":[]}`:                           "twice",
		`{"Manifests":[{"digest":"` + sumA + `"}]}`:           "is spelled",
		`{"layers":[{"digest":"` + sumA + `","size":"big"}]}`: "layers: json",
	} {
		_, err := Links([]byte(text))
		wantError(t, text, err, want)
	}
}

func TestChainIDs(t *testing.T) {
	ids := []digest.Digest{sumA, sumB, sumA, sumA}
	got := ChainIDs(ids)
	for i, want := range identity.ChainIDs(append([]digest.Digest(nil), ids...)) {
		if got[i] != want {
			t.Errorf("chain %d: %s, want %s", i, got[i], want)
		}
	}
	if ids[1] != sumB {
		t.Error("the argument was changed")
	}
	if ChainID(ids) != got[3] || ChainID(nil) != "" {
		t.Error("ChainID is not the last")
	}
}

func FuzzManifest(f *testing.F) {
	for form, data := range documents(f, "manifest") {
		f.Add(data, form == "docker")
	}
	for _, s := range []string{
		`{"schemaVersion":2,$config,"layers":[$layer]}`, `{"schemaVersion":2,"mediaType":"$DM",$config,"layers":[$layer],"subject":$layer}`, `{"schemaVersion":1}`,
		`{"schemaVersion":2,$config,"layers":[{"mediaType":"$L","digest":"$A","size":1,"data":"eA=="}],"annotations":{"a":"b"}}`, `{"layers":[{}]}`,
	} {
		f.Add([]byte(fill(s)), true)
		f.Add([]byte(fill(s)), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, docker bool) {
		mediaType := v1.MediaTypeImageManifest
		if docker {
			mediaType = DockerManifest
		}
		m, err := DecodeManifest(data, descriptor(mediaType, string(data)))
		links, linksErr := Links(data)
		if err != nil {
			return
		}
		want := append([]v1.Descriptor{m.Config}, m.Layers...)
		if m.Subject != nil {
			want = append(want, *m.Subject)
		}
		// blobs stand before the subject and are not in the manifest
		if linksErr != nil || len(links) < len(want) {
			t.Fatalf("%q: %d links (%v), the manifest has %d", data, len(links), linksErr, len(want))
		}
		holds(t, m, mediaType, want)
	})
}

// holds checks what a decoded document promises.
func holds(t *testing.T, document any, mediaType string, descriptors []v1.Descriptor) {
	for _, d := range descriptors {
		if d.Digest.Validate() != nil || d.Size < 0 || len(d.URLs) > 0 || d.MediaType == "" {
			t.Errorf("descriptor %+v", d)
		}
	}
	if _, err := json.Marshal(document); err != nil {
		t.Errorf("%s: %v", mediaType, err)
	}
}

func FuzzIndex(f *testing.F) {
	for _, data := range documents(f, "index") {
		f.Add(data)
	}
	for _, s := range []string{
		`{"schemaVersion":2,"manifests":[{"mediaType":"$M","digest":"$A","size":5,"platform":{"os":"linux","architecture":"arm64","variant":"v8"}}]}`,
		`{"schemaVersion":2,"mediaType":"$I","manifests":[],"annotations":{},"artifactType":"a/b"}`, `{"manifests":[{"digest":"$B"}]}`,
	} {
		f.Add([]byte(fill(s)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = MediaType("application/json", data)
		index, err := DecodeIndex(data, descriptor(v1.MediaTypeImageIndex, string(data)))
		if err != nil {
			return
		}
		holds(t, index, v1.MediaTypeImageIndex, index.Manifests)
		if d, err := Select(index, v1.Platform{OS: "linux", Architecture: "arm64"}); err == nil && d.Digest == "" {
			t.Errorf("%q: selected nothing", data)
		}
	})
}

func BenchmarkDecodeManifest(b *testing.B) {
	text := fill(`{"schemaVersion":2,"mediaType":"$M",$config,"layers":[` + strings.Repeat("$layer,", 99) + `$layer]}`)
	desc := descriptor(v1.MediaTypeImageManifest, text)
	b.SetBytes(desc.Size)
	for b.Loop() {
		if _, err := DecodeManifest([]byte(text), desc); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleSelect() {
	index := v1.Index{Manifests: []v1.Descriptor{{MediaType: v1.MediaTypeImageManifest, Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}}}
	_, err := Select(index, v1.Platform{OS: "linux", Architecture: "s390x"})
	fmt.Println(err)
	// Output: index: nothing for linux/s390x; it has linux/arm64
}
