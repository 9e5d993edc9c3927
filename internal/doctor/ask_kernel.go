package doctor

import (
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/linux/feature"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
)

func (e *examiner) kernel(c *Caller) Kernel {
	k := Kernel{Landlock: sys.LandlockABI(), Features: map[feature.ID]string{}}
	for _, r := range feature.All() {
		k.Features[r.ID] = ""
		if r.Err != nil {
			k.Features[r.ID] = strings.TrimPrefix(r.Err.Error(), r.Name+": ")
		}
	}
	k.MemfdNoexec = sysctl("vm.memfd_noexec")
	k.Cmdline = read("/proc/cmdline")
	k.Lockdown = chosen(read("/sys/kernel/security/lockdown"))
	k.Vulnerable, k.CPUKnown = vulnerable("/sys/devices/system/cpu/vulnerabilities")
	if c.Privileged {
		k.IDMapTmpfs = tried(feature.Probe(feature.IDMapTmpfs))
	}
	if c.NoFile >= enoughToTry {
		e.spaces(c, &k)
	}
	if k.UserNS.works() {
		k.Procfs, k.Sysfs, k.OverlayUser = e.inUserNS(procOps()), e.inUserNS(sysOps()), e.inUserNS(overlayOps())
	}
	table := mountTable()
	k.ProcCovered, k.SysCovered = covered(table, "/proc"), covered(table, "/sys")
	return k
}

// enoughToTry is how many open files the children of tries need; with fewer, what they say would be about that.
const enoughToTry = 64

// chosen is the word in brackets of a list such as "[none] integrity confidentiality".
func chosen(text string) string {
	_, rest, ok := strings.Cut(text, "[")
	word, _, ok2 := strings.Cut(rest, "]")
	if !ok || !ok2 {
		return ""
	}
	return word
}

// covered lists what is mounted below a file system and hides a part of it. The kernel excepts directories that are made for being mounted
// upon, and empty (is_empty_dir_inode); those that every host has are left out by name.
func covered(table []procfs.Mount, at string) []string {
	var out []string
	for _, m := range table {
		if !strings.HasPrefix(m.Point, at+"/") {
			continue
		}
		switch {
		case strings.HasPrefix(m.Point, "/proc/sys/fs/binfmt_misc"), strings.HasPrefix(m.Point, "/proc/fs/nfsd"),
			strings.HasPrefix(m.Point, "/sys/fs/"), strings.HasPrefix(m.Point, "/sys/kernel/"), strings.HasPrefix(m.Point, "/sys/firmware/efi/efivars"):
		default:
			out = append(out, m.Point)
		}
	}
	return out
}
