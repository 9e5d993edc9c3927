package doctor

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"golang.org/x/sys/unix"
)

func (e *examiner) maps(c *Caller) Maps {
	var m Maps
	if c.UID == 0 {
		return m // maps directly
	}
	uids, gids := readLink("/etc/subuid"), readLink("/etc/subgid")
	m.Elsewhere = subidSource(readLink("/etc/nsswitch.conf"))
	u, sumU := ownRange(uids, c)
	g, sumG := ownRange(gids, c)
	m.SubUID, m.SubGID = sumU, sumG
	m.FreeID = max(freeID(uids), freeID(gids))
	table := mountTable()
	m.NewUIDMap = mapHelperAt(findProgram("newuidmap"), unix.CAP_SETUID, table)
	m.NewGIDMap = mapHelperAt(findProgram("newgidmap"), unix.CAP_SETGID, table)
	if c.NoFile >= enoughToTry && u.Count >= enoughIDs-1 && g.Count >= enoughIDs-1 && m.NewUIDMap.Path != "" && m.NewGIDMap.Path != "" {
		u.Count, g.Count = min(u.Count, enoughIDs), min(g.Count, enoughIDs)
		m.Mapped = e.mapRanges(c, u, g)
	}
	return m
}

// ranges calls each with the lines of subuid(5).
func ranges(text string, each func(owner string, start, count uint64)) {
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 3 {
			continue
		}
		start, err := strconv.ParseUint(f[1], 10, 32)
		count, err2 := strconv.ParseUint(f[2], 10, 32)
		if err == nil && err2 == nil {
			each(f[0], start, count)
		}
	}
}

// ownRange returns the largest range of a user, by name or number, and how many ids all of his have.
func ownRange(text string, c *Caller) (largest idmap.Range, sum uint32) {
	total := uint64(0)
	ranges(text, func(owner string, start, count uint64) {
		if owner != number(c.UID) && (c.Name == "" || owner != c.Name) {
			return
		}
		total += count
		if count > uint64(largest.Count) {
			largest = idmap.Range{Outside: uint32(start), Count: uint32(count)}
		}
	})
	return largest, uint32(min(total, 1<<32-1))
}

// freeID returns the first id above all ranges.
func freeID(text string) uint32 {
	free := uint64(0)
	ranges(text, func(_ string, start, count uint64) { free = max(free, start+count) })
	return uint32(min(free, 1<<32-1))
}

// subidSource returns what nsswitch.conf(5) names for subordinate ids, "" for the files.
func subidSource(text string) string {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "subid:"); ok {
			if v = strings.TrimSpace(v); v != "files" {
				return v
			}
		}
	}
	return ""
}

// findProgram is exec.LookPath, with the places that a PATH may leave out.
func findProgram(name string) string {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/bin", "/bin", "/usr/sbin") {
		path := filepath.Join(dir, name)
		var st unix.Stat_t
		if filepath.IsAbs(path) && unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && unix.Access(path, unix.X_OK) == nil {
			return path
		}
	}
	return ""
}

// mapHelperAt looks what a helper may do.
func mapHelperAt(path string, capability int, table []procfs.Mount) MapHelper {
	h := MapHelper{Path: path}
	if path == "" {
		return h
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		real = path
	}
	var st unix.Stat_t
	if unix.Stat(real, &st) == nil {
		h.Setuid = st.Uid == 0 && st.Mode&unix.S_ISUID != 0
	}
	buf := make([]byte, 64)
	if n, err := unix.Getxattr(real, "security.capability", buf); err == nil {
		h.Caps = hasFileCap(buf[:n], capability)
	}
	if m := mountOf(table, real); m != nil && m.Has("nosuid") {
		h.NoSuid = m.Point
	}
	return h
}

// hasFileCap reports whether struct vfs_cap_data (capabilities(7), "File capabilities") permits the capability, and makes it effective.
func hasFileCap(data []byte, capability int) bool {
	if len(data) < 12 {
		return false
	}
	magic, permitted := binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:])
	return magic&1 != 0 && permitted&(1<<capability) != 0
}

// mountOf returns the mount that a path without symbolic links lies on.
func mountOf(table []procfs.Mount, path string) *procfs.Mount {
	var best *procfs.Mount
	for i := range table {
		p := table[i].Point
		if path != p && p != "/" && !strings.HasPrefix(path, p+"/") {
			continue
		}
		if best == nil || len(p) >= len(best.Point) {
			best = &table[i]
		}
	}
	return best
}
