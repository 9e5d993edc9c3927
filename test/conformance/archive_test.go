package conformance

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"time"
)

// dockerArchive is an image of one layer in the format of "docker save", which containerd and
// Docker import. Its reference is docker.io/library/busybox:judge.
func dockerArchive(t testing.TB) []byte {
	t.Helper()
	layer := busyboxTar(t)
	config := encode(t, map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Cmd": []string{"/bin/sh"}, "Env": []string{"PATH=/bin"}},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest(layer)}},
	})
	name := digest(config) + ".json"
	manifest := encode(t, []map[string]any{{
		"Config": name, "RepoTags": []string{"docker.io/library/busybox:judge"}, "Layers": []string{"layer.tar"},
	}})
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range []struct {
		name string
		data []byte
	}{{"layer.tar", layer}, {name, config}, {"manifest.json", manifest}} {
		h := tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.data)), ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// digest is SHA-256 in lower-case hexadecimal digits.
func digest(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }
