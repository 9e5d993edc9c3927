package snapshot_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/image/snapshot"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"golang.org/x/sys/unix"
)

// TestSELinuxLabel: all files of a mount have its label, those of the layers, those that are made and those that are changed, whatever way this kernel mounts them: few layers and
// many, with mapped ids and without.
func TestSELinuxLabel(t *testing.T) {
	if mode, _ := os.ReadFile("/sys/fs/selinux/enforce"); string(mode) != "1" {
		if os.Getenv("BULKHEAD_TEST_LSM") == "selinux" {
			t.Fatal("this machine was booted for SELinux, which does not enforce")
		}
		t.Skip("SELinux does not enforce on this machine")
	}
	s := open(t)
	var layers [][]byte
	for i := range 40 { // more than the one string of kernels before 6.7 has room for
		layers = append(layers, archiveOf(fmt.Sprintf("f%d=%d", i, i), "d/", fmt.Sprintf("d/f%d=", i)))
	}
	chains := add(t, s, layers...)
	ids := []idmap.Range{{Inside: 0, Outside: 200000, Count: 65536}}
	const want = "system_u:object_r:container_file_t:s0:c12,c345"
	for _, chain := range []int{0, 39} {
		for _, m := range []idmap.Mapping{{}, {UIDs: ids, GIDs: ids}} {
			dir := mounted(t, s, snapshot.MountOptions{Upper: t.TempDir(), Work: t.TempDir(), IDs: m, Label: want}, chains[chain])
			for _, name := range []string{"made", "f0"} {
				f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.WriteString("more"); err != nil {
					t.Error(err)
				}
				f.Close()
			}
			for _, name := range []string{".", "made", "f0", "d", "d/f0"} {
				buf := make([]byte, 256)
				n, err := unix.Lgetxattr(dir+"/"+name, "security.selinux", buf)
				if got := strings.TrimRight(string(buf[:max(n, 0)]), "\x00"); got != want {
					t.Errorf("%d layers, ids %v: %q has %q, %v", chain+1, !m.Empty(), name, got, err)
				}
			}
		}
	}
}
