package rootfs

import (
	"sort"

	"golang.org/x/sys/unix"
)

// effect says how an option acts.
type effect uint8

const (
	nothing     effect = iota // accepted, changes nothing (defaults)
	attr                      // attribute of the mount; rec: recursive
	accessTime                // one of the three access-time modes; rec: recursive
	superblock                // flag of the superblock
	logging                   // silent, loud: only classic mount(2) knows them
	version                   // iversion: only classic mount(2) knows it
	propagation               // shared subtrees; rec: recursive
	bindMount                 // rec: rbind
	remount
	idMap // rec: ridmap
	copyUp
	noFollow // the three words of crun; bits says which
)

const (
	followSource      = 1 // src-nofollow
	followDestination = 2 // dest-nofollow
	copyLink          = 3 // copy-symlink
)

// option is a row of the table. The options of runtime-spec 1.3.0 config.md ("Linux mount options") are all in it, and those that only
// runc or crun know.
type option struct {
	name  string
	what  effect
	clear bool    // the option takes the flag away
	rec   bool    // the recursive form
	bits  uint64  // MOUNT_ATTR_*, or MS_* for propagation
	ms    uintptr // MS_* of classic mount(2)
}

// The table is an array, not a map, so that it costs nothing at start. ACL is missing on purpose: "acl" belongs to the file system.
var table = [...]option{
	{"async", superblock, true, false, 0, unix.MS_SYNCHRONOUS},
	{"atime", accessTime, true, false, unix.MOUNT_ATTR_NOATIME, unix.MS_NOATIME},
	{"bind", bindMount, false, false, 0, unix.MS_BIND},
	{"copy-symlink", noFollow, false, false, copyLink, 0},
	{"defaults", nothing, false, false, 0, 0},
	{"dest-nofollow", noFollow, false, false, followDestination, 0},
	{"dev", attr, true, false, unix.MOUNT_ATTR_NODEV, unix.MS_NODEV},
	{"diratime", attr, true, false, unix.MOUNT_ATTR_NODIRATIME, unix.MS_NODIRATIME},
	{"dirsync", superblock, false, false, 0, unix.MS_DIRSYNC},
	{"exec", attr, true, false, unix.MOUNT_ATTR_NOEXEC, unix.MS_NOEXEC},
	{"idmap", idMap, false, false, 0, 0},
	{"iversion", version, false, false, 0, unix.MS_I_VERSION},
	{"lazytime", superblock, false, false, 0, unix.MS_LAZYTIME},
	{"loud", logging, true, false, 0, unix.MS_SILENT},
	{"mand", superblock, false, false, 0, unix.MS_MANDLOCK},
	{"noatime", accessTime, false, false, unix.MOUNT_ATTR_NOATIME, unix.MS_NOATIME},
	{"nodev", attr, false, false, unix.MOUNT_ATTR_NODEV, unix.MS_NODEV},
	{"nodiratime", attr, false, false, unix.MOUNT_ATTR_NODIRATIME, unix.MS_NODIRATIME},
	{"noexec", attr, false, false, unix.MOUNT_ATTR_NOEXEC, unix.MS_NOEXEC},
	{"noiversion", version, true, false, 0, unix.MS_I_VERSION},
	{"nolazytime", superblock, true, false, 0, unix.MS_LAZYTIME},
	{"nomand", superblock, true, false, 0, unix.MS_MANDLOCK},
	{"norelatime", accessTime, true, false, unix.MOUNT_ATTR_RELATIME, unix.MS_RELATIME},
	{"nostrictatime", accessTime, true, false, unix.MOUNT_ATTR_STRICTATIME, unix.MS_STRICTATIME},
	{"nosuid", attr, false, false, unix.MOUNT_ATTR_NOSUID, unix.MS_NOSUID},
	{"nosymfollow", attr, false, false, unix.MOUNT_ATTR_NOSYMFOLLOW, unix.MS_NOSYMFOLLOW},
	{"private", propagation, false, false, unix.MS_PRIVATE, 0},
	{"ratime", accessTime, true, true, unix.MOUNT_ATTR_NOATIME, 0},
	{"rbind", bindMount, false, true, 0, unix.MS_BIND | unix.MS_REC},
	{"rdev", attr, true, true, unix.MOUNT_ATTR_NODEV, 0},
	{"rdiratime", attr, true, true, unix.MOUNT_ATTR_NODIRATIME, 0},
	{"relatime", accessTime, false, false, unix.MOUNT_ATTR_RELATIME, unix.MS_RELATIME},
	{"remount", remount, false, false, 0, unix.MS_REMOUNT},
	{"rexec", attr, true, true, unix.MOUNT_ATTR_NOEXEC, 0},
	{"ridmap", idMap, false, true, 0, 0},
	{"rnoatime", accessTime, false, true, unix.MOUNT_ATTR_NOATIME, 0},
	{"rnodev", attr, false, true, unix.MOUNT_ATTR_NODEV, 0},
	{"rnodiratime", attr, false, true, unix.MOUNT_ATTR_NODIRATIME, 0},
	{"rnoexec", attr, false, true, unix.MOUNT_ATTR_NOEXEC, 0},
	{"rnorelatime", accessTime, true, true, unix.MOUNT_ATTR_RELATIME, 0},
	{"rnostrictatime", accessTime, true, true, unix.MOUNT_ATTR_STRICTATIME, 0},
	{"rnosuid", attr, false, true, unix.MOUNT_ATTR_NOSUID, 0},
	{"rnosymfollow", attr, false, true, unix.MOUNT_ATTR_NOSYMFOLLOW, 0},
	{"ro", attr, false, false, unix.MOUNT_ATTR_RDONLY, unix.MS_RDONLY},
	{"rprivate", propagation, false, true, unix.MS_PRIVATE, 0},
	{"rrelatime", accessTime, false, true, unix.MOUNT_ATTR_RELATIME, 0},
	{"rro", attr, false, true, unix.MOUNT_ATTR_RDONLY, 0},
	{"rrw", attr, true, true, unix.MOUNT_ATTR_RDONLY, 0},
	{"rshared", propagation, false, true, unix.MS_SHARED, 0},
	{"rslave", propagation, false, true, unix.MS_SLAVE, 0},
	{"rstrictatime", accessTime, false, true, unix.MOUNT_ATTR_STRICTATIME, 0},
	{"rsuid", attr, true, true, unix.MOUNT_ATTR_NOSUID, 0},
	{"rsymfollow", attr, true, true, unix.MOUNT_ATTR_NOSYMFOLLOW, 0},
	{"runbindable", propagation, false, true, unix.MS_UNBINDABLE, 0},
	{"rw", attr, true, false, unix.MOUNT_ATTR_RDONLY, unix.MS_RDONLY},
	{"shared", propagation, false, false, unix.MS_SHARED, 0},
	{"silent", logging, false, false, 0, unix.MS_SILENT},
	{"slave", propagation, false, false, unix.MS_SLAVE, 0},
	{"src-nofollow", noFollow, false, false, followSource, 0},
	{"strictatime", accessTime, false, false, unix.MOUNT_ATTR_STRICTATIME, unix.MS_STRICTATIME},
	{"suid", attr, true, false, unix.MOUNT_ATTR_NOSUID, unix.MS_NOSUID},
	{"symfollow", attr, true, false, unix.MOUNT_ATTR_NOSYMFOLLOW, unix.MS_NOSYMFOLLOW},
	{"sync", superblock, false, false, 0, unix.MS_SYNCHRONOUS},
	{"tmpcopyup", copyUp, false, false, 0, 0},
	{"unbindable", propagation, false, false, unix.MS_UNBINDABLE, 0},
}

// lookup finds an option in the table, which is sorted by name.
func lookup(name string) *option {
	i := sort.Search(len(table), func(i int) bool { return table[i].name >= name })
	if i < len(table) && table[i].name == name {
		return &table[i]
	}
	return nil
}

// KnownOptions returns the names of the options that are not left to the file system, sorted, for the `features` command.
func KnownOptions() []string {
	names := make([]string, len(table))
	for i := range table {
		names[i] = table[i].name
	}
	return names
}
