package doctor

import (
	"os"
	"path/filepath"

	"github.com/bulkhead-engine/bulkhead/internal/linux/feature"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"golang.org/x/sys/unix"
)

func (e *examiner) places(c *Caller) []Place {
	var out []Place
	table := mountTable()
	for _, p := range []Place{{ID: "state", Path: e.o.StateDir}, {ID: "data", Path: dataDir(c)}} {
		if !filepath.IsAbs(p.Path) {
			continue
		}
		place, answered := within(e, func() Place { p.look(c, table); return p })
		if !answered {
			place = Place{ID: p.ID, Path: p.Path, Silent: true}
		}
		out = append(out, place)
	}
	return out
}

// dataDir is where images and volumes are kept.
func dataDir(c *Caller) string {
	if c.UID == 0 && !c.InUserNS {
		return "/var/lib/bulkhead"
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "bulkhead")
	}
	if home := os.Getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local/share/bulkhead")
	}
	return ""
}

// look asks about the nearest directory that exists.
func (p *Place) look(c *Caller, table []procfs.Mount) {
	p.At = filepath.Clean(p.Path)
	var st unix.Stat_t
	for {
		err := unix.Stat(p.At, &st)
		if err == nil {
			break
		}
		if err != unix.ENOENT || p.At == "/" {
			p.Err = err.Error()
			return
		}
		p.At = filepath.Dir(p.At)
	}
	p.OtherOwner = p.At == filepath.Clean(p.Path) && int(st.Uid) != c.UID
	real, err := filepath.EvalSymlinks(p.At)
	if err != nil {
		p.Err = err.Error()
		return
	}
	p.Type = "file system unknown"
	if m := mountOf(table, real); m != nil {
		p.Type, p.Options = m.Type, m.Options
		if m.SuperHas("ro") && !m.Has("ro") {
			p.Options += ",ro"
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(real, &fs); err != nil {
		p.Err = err.Error()
		return
	}
	p.Bytes = fs.Bavail * uint64(fs.Bsize)
	p.Inodes, p.Counted = fs.Ffree, fs.Files != 0
	p.Writable = unix.Faccessat(unix.AT_FDCWD, real, unix.W_OK|unix.X_OK, unix.AT_EACCESS) == nil
	if p.Writable {
		p.files(real, c)
	}
	if c.Privileged {
		p.IDMap = tried(feature.IDMapOn(real))
	}
}

// files tries what the file system can do on a file without a name, which is gone with its descriptor.
func (p *Place) files(dir string, c *Caller) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	p.Tmpfile = tried(err)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	p.Flock = tried(unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB))
	name := "user.bulkhead"
	if c.Privileged {
		name = "trusted.bulkhead" // what overlayfs of root needs, and any file system with attributes has
	}
	p.Xattr = tried(unix.Fsetxattr(fd, name, []byte("1"), 0))
}
