package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// TestRead: a file as it is; what is no file or too large is an error that names it, and holds nobody up.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, want := range map[string]string{"empty": "", "some": "text\n"} {
		if err := os.WriteFile(at(name), []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		if data, err := Read(at(name)); string(data) != want || err != nil {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	if err := errors.Join(unix.Mkfifo(at("pipe"), 0o600), os.Mkdir(at("dir"), 0o700), os.WriteFile(at("huge"), nil, 0o600), os.Truncate(at("huge"), 1<<40)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pipe", "dir", "huge"} {
		if data, err := Read(at(name)); !errdef.Is(err, errdef.Internal) || !strings.Contains(err.Error(), at(name)) {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
	}
	if _, err := Read(at("absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
