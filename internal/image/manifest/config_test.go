package manifest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

const goodConfig = `{"created":"2026-01-02T03:04:05Z","architecture":"amd64","os":"linux","config":{"User":"1000:1000","Env":["PATH=/bin"],"Cmd":["sh"],
"Labels":{"Env":"a","env":"b","cmd":"c"},"Volumes":{"/data":{}},"ExposedPorts":{"80/tcp":{}},"WorkingDir":"/","StopSignal":"SIGTERM",
"Healthcheck":{"Test":["CMD","true"],"Interval":1000000000,"Retries":3},"Shell":["/bin/sh","-c"],"OnBuild":["RUN x"],"StopTimeout":7},
"rootfs":{"type":"layers","diff_ids":["$A","$B"]},"history":[{"created_by":"x","empty_layer":true}],"container_config":{"Cmd":["x"]},"docker_version":"20"}`

func decodeText(text string) (ImageConfig, error) {
	text = fill(text)
	return DecodeConfig([]byte(text), descriptor(v1.MediaTypeImageConfig, text))
}

func TestConfig(t *testing.T) {
	c, err := decodeText(goodConfig)
	if err != nil {
		t.Fatal(err)
	}
	if c.OS != "linux" || c.Config.User != "1000:1000" || c.RootFS.DiffIDs[1] != sumB || c.Config.Labels["env"] != "b" {
		t.Errorf("got %+v", c)
	}
	if d := c.Docker; d.Healthcheck == nil || d.Healthcheck.Interval != time.Second || d.Shell[0] != "/bin/sh" || *d.StopTimeout != 7 || d.OnBuild[0] != "RUN x" {
		t.Errorf("Docker's fields: %+v", d)
	}
	if err := CheckPair(v1.Manifest{Layers: make([]v1.Descriptor, 2)}, c); err != nil {
		t.Error(err)
	}
	wantError(t, "pair", CheckPair(v1.Manifest{Layers: make([]v1.Descriptor, 3)}, c), "manifest with 3 layers")
}

func TestConfigRefused(t *testing.T) {
	change := func(old, new string) string {
		if !strings.Contains(goodConfig, old) {
			t.Fatalf("%q is not there", old)
		}
		return strings.Replace(goodConfig, old, new, 1)
	}
	for _, c := range []struct{ text, want string }{
		{change(`"os":"linux"`, `"os":""`), "for which os and architecture"},
		{change(`"architecture":"amd64",`, ``), "for which os and architecture"},
		{change(`"os":"linux"`, `"os":"li\u0007nux"`), "is no name"},
		{change(`"os":"linux"`, `"os":"linux","OS":"x"`), `"OS" is spelled "os"`},
		{change(`"User"`, `"user"`), `"user" is spelled "User"`},
		{change(`"User":`, `"User":"root","User":`), "twice"},
		{change(`"layers"`, `"other"`), `rootfs.type is "other"`},
		{change(`"$A"`, `"$A","sha256:x"`), "diff_ids[1]: digest"},
		{change(`["$A","$B"]`, `["$A"`+strings.Repeat(`,"$A"`, 512)+`]`), "513 diff ids"},
		{change(`["PATH=/bin"]`, `["A=\u0000"]`), "Env[0]: a zero byte"},
		{change(`["PATH=/bin"]`, `["A=`+strings.Repeat("a", 131072)+`"]`), "Env[0]: 131074 bytes"},
		{change(`["sh"]`, `["a"`+strings.Repeat(`,"a"`, 8192)+`]`), "Cmd: 8193 entries"},
		{change(`["sh"]`, `"sh"`), "cannot unmarshal string"},
		{change(`"/data"`, `"/da\u0000ta"`), "Volumes[0]: a zero byte"},
		{change(`"1000:1000"`, `"x\u0000"`), "User[0]: a zero byte"},
		{change(`"Retries":3`, `"Retries":-3`), "is negative"},
		{change(`"StopTimeout":7`, `"StopTimeout":-7`), "StopTimeout: -7"},
		{change(`"2026-01-02T03:04:05Z"`, `"yesterday"`), "parsing time"},
		{change(`[{"created_by":"x","empty_layer":true}]`, `[{}`+strings.Repeat(",{}", 4096)+`]`), "a history of 4097"},
		{`{}`, "for which os"},
		{`{`, "the JSON ends"},
	} {
		_, err := decodeText(c.text)
		wantError(t, c.text, err, c.want)
	}
	_, err := DecodeConfig([]byte("{}"), descriptor(v1.MediaTypeImageManifest, "{}"))
	wantError(t, "media type", err, "is that of a manifest, where an image configuration should be")
	_, err = DecodeConfig([]byte("{}"), v1.Descriptor{MediaType: DockerConfig, Digest: sumA, Size: MaxConfig + 1})
	wantError(t, "size", err, "announced with 8388609 bytes, at most 8388608")
}

// TestSelect compares with the order of containerd's platforms.Only (github.com/containerd/platforms v1.0.0-rc.2), which
// testdata/select.txt has: the platform that is wanted, and what of all the others fits, the best first.
func TestSelect(t *testing.T) {
	table, err := os.ReadFile("testdata/select.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(table)), "\n")
	var all []string
	for _, line := range lines {
		want, _, _ := strings.Cut(line, ":")
		all = append(all, want)
	}
	all = all[12:] // the first are other spellings
	for _, line := range lines {
		name, rest, _ := strings.Cut(line, ": ")
		index := v1.Index{Manifests: []v1.Descriptor{{MediaType: v1.MediaTypeImageManifest}}}
		for i := range all {
			p := platform(all[len(all)-1-i])
			index.Manifests = append(index.Manifests, v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Platform: &p})
		}
		var got []string
		for {
			d, err := Select(index, platform(name))
			if err != nil {
				break
			}
			got = append(got, FormatPlatform(*d.Platform))
			for i, m := range index.Manifests {
				if m.Platform == d.Platform {
					index.Manifests = append(index.Manifests[:i:i], index.Manifests[i+1:]...)
					break
				}
			}
		}
		if s := strings.Join(got, " "); s != rest {
			t.Errorf("%s:\n got %s\nwant %s", name, s, rest)
		}
	}
}

func platform(s string) v1.Platform {
	f := append(strings.Split(s, "/"), "")
	return v1.Platform{OS: f[0], Architecture: f[1], Variant: f[2]}
}

func TestPlatform(t *testing.T) {
	for in, want := range map[string]string{
		"linux/amd64": "linux/amd64", "linux/x86_64/v1": "linux/amd64", "Linux/AArch64/v8": "linux/arm64", "arm64": "linux/arm64", "armhf": "linux/arm/v7",
		"linux/arm/6": "linux/arm/v6", "windows": "windows/" + Host().Architecture, "zos/s390x": "zos/s390x",
		"": "! an empty part", "a/b/c/d": "! more than os", "linux/": "! an empty part", "x": "! neither a known os", "li nux/x": "! is no name", "*": "! is no name",
	} {
		p, err := ParsePlatform(in)
		if text, refused := strings.CutPrefix(want, "! "); refused {
			wantError(t, in, err, text)
		} else if err != nil || FormatPlatform(p) != want {
			t.Errorf("%q: %s, %v, want %s", in, FormatPlatform(p), err, want)
		}
	}
	one := v1.Index{Manifests: []v1.Descriptor{{MediaType: v1.MediaTypeImageManifest, Digest: sumA}}}
	if d, err := Select(one, Host()); err != nil || d.Digest != sumA {
		t.Errorf("a single manifest without platform: %+v, %v", d, err)
	}
}

// documents returns those that podman 4.3 made of one Dockerfile, in both forms: TOOL.KIND.json.
func documents(t testing.TB, kind string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/documents/*." + kind + ".json")
	if err != nil || len(names) != 2 {
		t.Fatalf("documents of kind %s: %v, %v", kind, names, err)
	}
	out := map[string][]byte{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		form, _, _ := strings.Cut(filepath.Base(name), ".")
		out[form] = data
	}
	return out
}

func TestDocuments(t *testing.T) {
	configs := documents(t, "config")
	for form, data := range documents(t, "manifest") {
		mediaType, err := MediaType("application/json", data)
		if err != nil {
			t.Fatal(err)
		}
		m, err := DecodeManifest(data, descriptor(mediaType, string(data)))
		if err != nil {
			t.Fatal(err)
		}
		c, err := DecodeConfig(configs[form], m.Config)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(CheckImage(m), CheckPair(m, c)); err != nil {
			t.Error(err)
		}
		if c.Config.User != "1000:1000" || len(c.Config.Env) != 2 || c.Config.Labels["Env"] != "x" || (c.Docker.Healthcheck != nil) != (form == "docker") {
			t.Errorf("%s: %+v", form, c)
		}
	}
	for form, data := range documents(t, "index") {
		mediaType, err := MediaType("", data)
		if err != nil {
			t.Fatal(err)
		}
		index, err := DecodeIndex(data, descriptor(mediaType, string(data)))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"linux/amd64", "linux/arm64"} {
			if d, err := Select(index, platform(want)); err != nil || FormatPlatform(Normalize(*d.Platform)) != want {
				t.Errorf("%s: %s: %+v, %v", form, want, d, err)
			}
		}
	}
}

func FuzzConfig(f *testing.F) {
	for _, data := range documents(f, "config") {
		f.Add(data)
	}
	f.Add([]byte(fill(goodConfig)))
	f.Add([]byte(`{"architecture":"a","os":"b","rootfs":{"type":"layers"}}`))
	f.Add([]byte(`{"config":{"Env":null},"history":[{"created":"0001-01-01T00:00:00Z"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := DecodeConfig(data, descriptor(v1.MediaTypeImageConfig, string(data)))
		if err != nil {
			return
		}
		if c.OS == "" || len(c.RootFS.DiffIDs) > MaxLayers {
			t.Errorf("got %+v", c)
		}
		ChainIDs(c.RootFS.DiffIDs)
	})
}
