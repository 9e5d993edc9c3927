package sys

import (
	"testing"
	"unsafe"
)

// TestProjectLayout: the structures are as long as the kernel's.
func TestProjectLayout(t *testing.T) {
	for name, got := range map[string][2]uintptr{
		"fsxattr": {unsafe.Sizeof(fsxattr{}), 28}, "fs_disk_quota": {unsafe.Sizeof(diskQuota{}), 112}, "fs_quota_stat": {unsafe.Sizeof(quotaState{}), 80},
		"d_bcount": {unsafe.Offsetof(diskQuota{}.blocks), 40}, "qs_flags": {unsafe.Offsetof(quotaState{}.flags), 2},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %d, want %d", name, got[0], got[1])
		}
	}
}
