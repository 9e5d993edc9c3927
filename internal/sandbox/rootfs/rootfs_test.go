package rootfs

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

const (
	ro, nosuid, nodev, noexec = unix.MOUNT_ATTR_RDONLY, unix.MOUNT_ATTR_NOSUID, unix.MOUNT_ATTR_NODEV, unix.MOUNT_ATTR_NOEXEC
	noatime, strict, atimes   = unix.MOUNT_ATTR_NOATIME, unix.MOUNT_ATTR_STRICTATIME, unix.MOUNT_ATTR__ATIME
	nodiratime                = unix.MOUNT_ATTR_NODIRATIME
)

func TestParseOptions(t *testing.T) {
	flag := func(k string) Param { return Param{Key: k, Flag: true} }
	for _, test := range []struct {
		fstype  string
		options string // separated by spaces
		want    Options
	}{
		{"proc", "", Options{}},
		{"proc", "defaults", Options{}},
		{"proc", "nosuid noexec nodev", Options{AttrSet: nosuid | noexec | nodev, LegacyFlags: unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV}},
		{"proc", "nosuid,noexec ,nodev,", Options{AttrSet: nosuid | noexec | nodev, LegacyFlags: unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV}},
		{"tmpfs", "nosuid strictatime mode=755 size=65536k", Options{
			AttrSet: nosuid | strict, AttrClr: atimes, LegacyFlags: unix.MS_NOSUID | unix.MS_STRICTATIME, LegacyData: "mode=755,size=65536k",
			Data: []Param{{Key: "mode", Value: "755"}, {Key: "size", Value: "65536k"}},
		}},
		{"tmpfs", "noswap mode=", Options{Data: []Param{flag("noswap"), {Key: "mode"}}, LegacyData: "noswap,mode="}},
		// the last of a contradiction wins
		{"tmpfs", "nosuid suid", Options{AttrClr: nosuid, LegacyCleared: unix.MS_NOSUID}},
		{"tmpfs", "suid nosuid", Options{AttrSet: nosuid, LegacyFlags: unix.MS_NOSUID}},
		{"tmpfs", "noatime strictatime", Options{AttrSet: strict, AttrClr: atimes, LegacyFlags: unix.MS_STRICTATIME}},
		{"tmpfs", "noatime atime", Options{AttrClr: atimes, LegacyFlags: unix.MS_RELATIME}},
		{"tmpfs", "strictatime atime", Options{AttrSet: strict, AttrClr: atimes, LegacyFlags: unix.MS_STRICTATIME}},
		{"tmpfs", "strictatime nostrictatime", Options{AttrClr: atimes, LegacyFlags: unix.MS_RELATIME}},
		{"tmpfs", "relatime norelatime", Options{}},
		{"tmpfs", "noatime norelatime nodiratime", Options{AttrSet: noatime | nodiratime, AttrClr: atimes, LegacyFlags: unix.MS_NOATIME | unix.MS_NODIRATIME}},
		// read-only: of the mount for the kernel's own file systems, of the superblock too for others
		{"sysfs", "ro", Options{AttrSet: ro, LegacyFlags: unix.MS_RDONLY}},
		{"ext4", "ro", Options{AttrSet: ro, LegacyFlags: unix.MS_RDONLY, SuperFlags: []Param{flag("ro")}}},
		{"ext4", "rw", Options{AttrClr: ro, LegacyCleared: unix.MS_RDONLY}},
		{"ext4", "remount rw async", Options{
			Remount: true, AttrClr: ro, LegacyFlags: unix.MS_REMOUNT, LegacyCleared: unix.MS_RDONLY | unix.MS_SYNCHRONOUS,
			SuperFlags: []Param{flag("rw"), flag("async")},
		}},
		{"ext4", "sync dirsync lazytime mand silent iversion", Options{
			LegacyFlags: unix.MS_SYNCHRONOUS | unix.MS_DIRSYNC | unix.MS_LAZYTIME | unix.MS_MANDLOCK | unix.MS_SILENT | unix.MS_I_VERSION,
			SuperFlags:  []Param{flag("sync"), flag("dirsync"), flag("lazytime"), flag("mand")},
		}},
		// bind mounts
		{"none", "rbind rprivate", Options{Bind: true, BindRec: true, LegacyFlags: unix.MS_BIND | unix.MS_REC, Propagation: unix.MS_PRIVATE, PropagationRec: true}},
		{"", "bind ro sync size=3", Options{Bind: true, AttrSet: ro, LegacyFlags: unix.MS_BIND | unix.MS_RDONLY | unix.MS_SYNCHRONOUS, Ignored: []string{"size=3"}}},
		{"bind", "rslave shared", Options{Bind: true, LegacyFlags: unix.MS_BIND, Propagation: unix.MS_SHARED}},
		{"", "bind ro rro", Options{Bind: true, AttrSet: ro, RecAttrSet: ro, LegacyFlags: unix.MS_BIND | unix.MS_RDONLY}},
		{"", "rbind rro rnosuid rrw rnoatime", Options{Bind: true, BindRec: true, RecAttrSet: nosuid | noatime, RecAttrClr: ro | atimes, LegacyFlags: unix.MS_BIND | unix.MS_REC}},
		{"", "rbind ratime", Options{Bind: true, BindRec: true, RecAttrClr: atimes, LegacyFlags: unix.MS_BIND | unix.MS_REC}},
		{"", "bind ridmap", Options{Bind: true, LegacyFlags: unix.MS_BIND, IDMap: true, IDMapRec: true}},
		{"", "bind remount nosymfollow", Options{Bind: true, Remount: true, AttrSet: unix.MOUNT_ATTR_NOSYMFOLLOW, LegacyFlags: unix.MS_BIND | unix.MS_REMOUNT | unix.MS_NOSYMFOLLOW}},
		{"", "bind src-nofollow dest-nofollow copy-symlink", Options{Bind: true, SrcNoFollow: true, DestNoFollow: true, CopySymlink: true, LegacyFlags: unix.MS_BIND}},
		{"tmpfs", "tmpcopyup", Options{TmpCopyUp: true}},
		// commas that do not separate
		{"tmpfs", `context="u:r:t:s0:c1,c2",nodev`, Options{
			AttrSet: nodev, LegacyFlags: unix.MS_NODEV,
			Data: []Param{{Key: "context", Value: "u:r:t:s0:c1,c2"}}, LegacyData: `context="u:r:t:s0:c1,c2"`,
		}},
		{"overlay", `lowerdir=a\,b:c,upperdir=u`, Options{
			Data: []Param{{Key: "lowerdir", Value: `a\,b:c`}, {Key: "upperdir", Value: "u"}}, LegacyData: `lowerdir=a\,b:c,upperdir=u`,
		}},
	} {
		got, err := ParseOptions(test.fstype, strings.Split(test.options, " "))
		if err != nil {
			t.Errorf("%s %q: %v", test.fstype, test.options, err)
		} else if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s %q:\ngot  %+v\nwant %+v", test.fstype, test.options, got, test.want)
		}
	}
}

func TestParseOptionsErrors(t *testing.T) {
	for _, test := range []struct{ fstype, option string }{
		{"tmpfs", "mode=7\x0055"}, {"tmpfs", "=x"}, {"tmpfs", "nodev,=x"}, {"proc", "tmpcopyup"}, {"tmpfs", "src-nofollow"}, {"tmpfs", "copy-symlink"},
	} {
		if _, err := ParseOptions(test.fstype, []string{test.option}); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%s %q: got %v, want an invalid error", test.fstype, test.option, err)
		}
	}
}

// Every option of the table must act, and taking away must act in the opposite mask.
func TestTable(t *testing.T) {
	if !slices.IsSorted(KnownOptions()) {
		t.Fatal("the table is not sorted: lookup would miss")
	}
	if n := len(slices.Compact(KnownOptions())); n != len(table) {
		t.Fatalf("%d names, %d rows", n, len(table))
	}
	for _, name := range KnownOptions() {
		options := []string{name}
		fstype := "ext4"
		switch name {
		case "tmpcopyup":
			fstype = "tmpfs"
		case "src-nofollow", "copy-symlink":
			options = []string{"bind", name}
		}
		got, err := ParseOptions(fstype, options)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(got.Data) > 0 || len(got.Ignored) > 0 {
			t.Errorf("%s: taken for a parameter of the file system", name)
		}
		noEffect := reflect.DeepEqual(got, Options{})
		if wanted := name == "defaults" || name == "norelatime" || name == "rnorelatime"; noEffect != wanted {
			t.Errorf("%s: no effect: %v, want %v", name, noEffect, wanted)
		}
	}
}

// The list of runtime-spec 1.3.0 config.md, "Linux mount options".
func TestSpecOptionsKnown(t *testing.T) {
	spec := `async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev nodiratime noexec noiversion
		nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime relatime remount rexec rnoatime
		rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid
		rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable idmap ridmap rnodev`
	for _, name := range strings.Fields(spec) {
		if lookup(name) == nil {
			t.Errorf("%s: not in the table", name)
		}
	}
}

func TestLegacyReason(t *testing.T) {
	for n, want := range map[int]bool{MaxParam: false, MaxParam + 1: true} {
		o, err := ParseOptions("overlay", []string{"lowerdir=" + strings.Repeat("x", n)})
		if err != nil || (o.LegacyReason() != "") != want {
			t.Errorf("%d bytes: %q, %v", n, o.LegacyReason(), err)
		}
	}
}

func TestCleanDestination(t *testing.T) {
	for in, want := range map[string]string{
		"/": "/", "//": "/", ".": "/", "/a/../..": "/", "a/b": "/a/b", "/a//b/": "/a/b", "../../etc": "/etc", "/a\nb": "/a\nb",
		"/" + strings.Repeat("n", 255): "/" + strings.Repeat("n", 255),
	} {
		if got, err := CleanDestination(in); err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "/a\x00", "/" + strings.Repeat("n", 256), strings.Repeat("/a", 2048)} {
		if got, err := CleanDestination(in); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%.20q: got %q, %v; want an invalid error", in, got, err)
		}
	}
}

func TestCheckProc(t *testing.T) {
	for _, test := range []struct {
		kind Kind
		bind bool
		dest string
		ok   bool
	}{
		{Proc, false, "/proc", true},
		{Bind, true, "/proc", true}, // the caller verifies the source
		{Tmpfs, false, "/proc", false},
		{Bind, true, "/proc/meminfo", true},
		{Tmpfs, false, "/proc/meminfo", false},
		{Bind, true, "/proc/self/attr", false},
		{Bind, true, "/proc/sys", false},
		{Bind, true, "/proc/meminfo/x", false},
		{Bind, true, "/process", true},
		{Tmpfs, false, "/", true},
	} {
		if err := CheckProc(test.kind, test.bind, test.dest); (err == nil) != test.ok {
			t.Errorf("%v %v %s: %v", test.kind, test.bind, test.dest, err)
		}
	}
}

func TestUnder(t *testing.T) {
	for _, test := range []struct {
		p, dir string
		want   bool
	}{{"/a", "/a", true}, {"/a/b", "/a", true}, {"/ab", "/a", false}, {"/", "/a", false}, {"/a", "/", true}} {
		if got := Under(test.p, test.dir); got != test.want {
			t.Errorf("Under(%s, %s) = %v", test.p, test.dir, got)
		}
	}
}

func TestKinds(t *testing.T) {
	if KindOf("proc") != Proc || KindOf("xfs") != Other || !KindOf("sysfs").NeedsPlainDirectory() || KindOf("tmpfs").NeedsPlainDirectory() {
		t.Error("kinds are mixed up")
	}
	if Pseudo("overlay") || Pseudo("xfs") || !Pseudo("mqueue") {
		t.Error("pseudo file systems are mixed up")
	}
	if KindOf("sysfs").Namespace() != "network" || KindOf("tmpfs").Namespace() != "" {
		t.Error("namespaces are mixed up")
	}
}

// The numbers must be those of the host's devices, where it has them.
func TestDefaultDevices(t *testing.T) {
	for _, d := range DefaultDevices() {
		var st unix.Stat_t
		if err := unix.Stat(d.Path, &st); err != nil {
			continue
		}
		if unix.Major(st.Rdev) != d.Major || unix.Minor(st.Rdev) != d.Minor || st.Mode&unix.S_IFMT != unix.S_IFCHR {
			t.Errorf("%s: host has %d:%d", d.Path, unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		if !Reserved(d.Path) {
			t.Errorf("%s: not reserved", d.Path)
		}
	}
	if len(DefaultLinks(false)) != 5 || len(DefaultLinks(true)) != 6 || Reserved("/dev/sda") || !Reserved("/dev/console") {
		t.Error("links or reserved paths are wrong")
	}
}

// Whatever the bytes, parsing neither panics nor lets a NUL through, and no bit stands in both masks but the access-time field.
func FuzzParseOptions(f *testing.F) {
	f.Add("tmpfs", "nosuid,nodev", "mode=755")
	f.Add("", "bind", `x="a,b`)
	f.Add("overlay", `a\`, ",,=")
	f.Fuzz(func(t *testing.T, fstype, a, b string) {
		o, err := ParseOptions(fstype, []string{a, b})
		if err != nil {
			return
		}
		if strings.IndexByte(o.LegacyData, 0) >= 0 {
			t.Error("NUL byte in data")
		}
		if both := o.AttrSet & o.AttrClr &^ atimes; both != 0 {
			t.Errorf("bits %#x set and cleared", both)
		}
	})
}
