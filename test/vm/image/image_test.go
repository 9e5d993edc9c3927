package image

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMirror(t *testing.T) {
	m := mirror{archive: "A", security: "S"}
	m.take("https://example.org/node/\nhttp://mirror.example/x/debian/\nhttp://other.example/debian\nhttp://mirror.example/debian-security\n")
	if m.archive != "http://mirror.example/x/debian" || m.security != "http://mirror.example/debian-security" {
		t.Errorf("%+v", m)
	}
	m = mirror{archive: "A", security: "S"}
	m.take("http://x/$(reboot)/debian\nhttp://x/;true/debian-security\n")
	if m.archive != "A" || m.security != "S" {
		t.Errorf("words of a shell were taken: %+v", m)
	}
	got := proxies("Acquire::http \"\";\nAcquire::http::Proxy \"http://p:3128\";\nAcquire::https::Proxy \"DIRECT\";\nAcquire::Retries \"3\";\n")
	if want := []string{`Acquire::http::Proxy "http://p:3128"`, `Acquire::https::Proxy "DIRECT"`}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// bzImage is one with a payload that is said to be longer by extra.
func bzImage(payload string, extra int) []byte {
	b := make([]byte, 3*512)
	b[0x1f1] = 1
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint32(b[0x248:], 512)
	binary.LittleEndian.PutUint32(b[0x24c:], uint32(len(payload)+extra))
	return append(b, payload...)
}

func TestExtract(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "bz"), filepath.Join(dir, "vmlinux")
	for _, c := range []struct {
		data []byte
		want string // in the error; empty: success
	}{
		{bzImage("\x7fELFkernel", 0), ""},
		{bzImage("\x7fELFkernel", 1), "payload"},
		{bzImage("\x1f\x8bno gzip", 0), "no ELF"},
		{bzImage("what", 0), "unknown"},
		{make([]byte, 5000), "no bzImage"},
		{nil, "no bzImage"},
	} {
		if err := os.WriteFile(from, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		err := extract(from, to)
		if c.want == "" {
			if data, _ := os.ReadFile(to); err != nil || string(data) != "\x7fELFkernel" {
				t.Errorf("%v, %q", err, data)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func TestRecipe(t *testing.T) {
	list, err := packageList()
	if err != nil || !slices.Contains(list, "systemd") || !slices.Contains(list, "crun") {
		t.Errorf("%q, %v", list, err)
	}
	a, err := Key()
	if b, _ := Key(); err != nil || len(a) != 16 || a != b {
		t.Errorf("keys %q and %q, %v", a, b, err)
	}
}
