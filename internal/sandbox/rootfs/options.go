package rootfs

import (
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// MaxParam is the longest value in bytes that fsconfig(2) takes with FSCONFIG_SET_STRING: the kernel copies 256 bytes with the NUL.
const MaxParam = 255

// A Param is a parameter of a file system: key=value, or a key alone.
type Param struct {
	Key, Value string
	Flag       bool // without a value: FSCONFIG_SET_FLAG
}

// String returns the parameter as mount(8) writes it.
func (p Param) String() string {
	if p.Flag {
		return p.Key
	}
	return p.Key + "=" + p.Value
}

// Options is what a list of mount options means. The zero value mounts with the kernel's defaults and changes nothing of a bind mount.
type Options struct {
	// AttrSet and AttrClr are MOUNT_ATTR_* for the mount itself, ready for mount_setattr(2): if an access-time mode is set, AttrClr
	// holds MOUNT_ATTR__ATIME as that call demands. For fsmount(2), use AttrSet alone.
	AttrSet, AttrClr uint64
	// RecAttrSet and RecAttrClr are the same for the mount and everything below it (AT_RECURSIVE, kernel 5.12).
	RecAttrSet, RecAttrClr uint64

	// SuperFlags are flags of the superblock, for FSCONFIG_SET_FLAG; always empty for a bind mount that is no remount.
	SuperFlags []Param
	// Data are the parameters of the file system, in order.
	Data []Param

	// Propagation is MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE or 0 for none said; the last one given counts.
	Propagation    uint64
	PropagationRec bool // rshared, rslave, rprivate, runbindable

	Bind, BindRec   bool // bind, rbind (both set for rbind)
	Remount         bool // change the mount that is there; with Bind only its attributes, without it the superblock too
	IDMap, IDMapRec bool // idmap, ridmap (both set for ridmap)
	TmpCopyUp       bool // copy what the image has at the destination into the new tmpfs

	SrcNoFollow  bool // crun: do not follow a link at the end of the source
	DestNoFollow bool // crun: refuse to follow a link at the end of the destination
	CopySymlink  bool // crun: a source that is a link is made again as a link instead of being mounted

	// LegacyFlags is the MS_* word of mount(2), without propagation; LegacyCleared are those taken away explicitly; LegacyData is the
	// fifth argument, quotes and escapes as given.
	LegacyFlags, LegacyCleared uintptr
	LegacyData                 string

	// Ignored lists options that mean nothing for this kind of mount and are dropped: parameters of the file system on a bind mount,
	// which the kernel would drop without a word.
	Ignored []string
}

// ParseOptions gives meaning to the options of one mount of config.json. fstype is mounts[].type; "bind" and "rbind" mean the options
// of these names (crun does so). Of options that contradict each other the last one wins, as in mount(8). An entry that holds several
// options separated by commas is read as these, except inside double quotes or after a backslash.
//
// Errors are of kind Invalid: a NUL byte; an option of the file system without a key ("=x"); tmpcopyup on anything but a new tmpfs;
// src-nofollow or copy-symlink without bind.
func ParseOptions(fstype string, options []string) (Options, error) {
	p := parser{time: kernelDefault, recTime: kernelDefault}
	p.o.Bind = fstype == "bind" || fstype == "rbind"
	p.o.BindRec = fstype == "rbind"
	for _, entry := range options {
		if strings.IndexByte(entry, 0) >= 0 {
			return Options{}, errdef.Errorf(errdef.Invalid, "mount option %q: NUL byte", entry)
		}
		for _, name := range split(entry) {
			if err := p.add(name); err != nil {
				return Options{}, err
			}
		}
	}
	return p.finish(fstype)
}

// kernelDefault stands for "no access-time mode was named".
const kernelDefault = ^uint64(0)

type parser struct {
	o             Options
	time, recTime uint64 // MOUNT_ATTR_NOATIME, _RELATIME, _STRICTATIME or kernelDefault
	data          []string
}

func (p *parser) add(name string) error {
	opt := lookup(name)
	if opt == nil {
		if name[0] == '=' {
			return errdef.Errorf(errdef.Invalid, "mount option %q: no key before =", name)
		}
		p.data = append(p.data, name)
		return nil
	}
	switch opt.what {
	case attr:
		if opt.rec {
			flip(&p.o.RecAttrSet, &p.o.RecAttrClr, opt.bits, opt.clear)
		} else {
			flip(&p.o.AttrSet, &p.o.AttrClr, opt.bits, opt.clear)
		}
	case accessTime:
		if opt.rec {
			p.recTime = nextTime(p.recTime, opt)
		} else {
			p.time = nextTime(p.time, opt)
			return nil // the MS_* word is made of the final mode
		}
	case propagation:
		p.o.Propagation, p.o.PropagationRec = opt.bits, opt.rec
	case bindMount:
		p.o.Bind, p.o.BindRec = true, opt.rec
		return nil
	case remount:
		p.o.Remount = true
	case idMap:
		p.o.IDMap, p.o.IDMapRec = true, opt.rec
	case copyUp:
		p.o.TmpCopyUp = true
	case noFollow:
		p.o.SrcNoFollow = p.o.SrcNoFollow || opt.bits == followSource
		p.o.DestNoFollow = p.o.DestNoFollow || opt.bits == followDestination
		p.o.CopySymlink = p.o.CopySymlink || opt.bits == copyLink
	}
	flip(&p.o.LegacyFlags, &p.o.LegacyCleared, opt.ms, opt.clear)
	return nil
}

// flip moves bits into set, or into clr.
func flip[T uint64 | uintptr](set, clr *T, bits T, clear bool) {
	if clear {
		set, clr = clr, set
	}
	*set |= bits
	*clr &^= bits
}

// nextTime returns the access-time mode after an option. The kernel has three modes and no fourth "none" (mount_setattr(2)): taking
// noatime or strictatime away leads to relatime, the kernel's default since 2.6.30; taking relatime away leaves the mode unsaid.
func nextTime(mode uint64, opt *option) uint64 {
	switch {
	case !opt.clear:
		return opt.bits
	case mode != kernelDefault && mode != opt.bits:
		return mode
	case opt.bits == unix.MOUNT_ATTR_RELATIME:
		return kernelDefault
	}
	return unix.MOUNT_ATTR_RELATIME
}

func (p *parser) finish(fstype string) (Options, error) {
	o := &p.o
	setTime(&o.AttrSet, &o.AttrClr, p.time)
	setTime(&o.RecAttrSet, &o.RecAttrClr, p.recTime)
	switch p.time {
	case unix.MOUNT_ATTR_NOATIME:
		o.LegacyFlags |= unix.MS_NOATIME
	case unix.MOUNT_ATTR_RELATIME:
		o.LegacyFlags |= unix.MS_RELATIME
	case unix.MOUNT_ATTR_STRICTATIME:
		o.LegacyFlags |= unix.MS_STRICTATIME
	}
	if o.Bind {
		o.LegacyFlags |= unix.MS_BIND
	}
	if o.BindRec {
		o.LegacyFlags |= unix.MS_REC
	}
	switch {
	case o.TmpCopyUp && (fstype != "tmpfs" || o.Bind || o.Remount):
		return Options{}, errdef.Errorf(errdef.Invalid, "mount option tmpcopyup: only for a new tmpfs, not for %q", fstype)
	case (o.SrcNoFollow || o.CopySymlink) && !o.Bind:
		return Options{}, errdef.Errorf(errdef.Invalid, "mount options src-nofollow, copy-symlink: only for a bind mount")
	}
	if o.Bind {
		o.Ignored = p.data
		return *o, nil
	}
	o.SuperFlags = superFlags(fstype, o)
	o.LegacyData = strings.Join(p.data, ",")
	for _, d := range p.data {
		o.Data = append(o.Data, param(d))
	}
	return *o, nil
}

// setTime adds an access-time mode to a pair of masks. mount_setattr(2) demands the whole field in attr_clr.
func setTime(set, clr *uint64, mode uint64) {
	if mode != kernelDefault {
		*set |= mode
		*clr |= unix.MOUNT_ATTR__ATIME
	}
}

// superFlags returns the flags of the superblock. "ro" is one of them only for file systems that keep data somewhere: for the kernel's
// own ones the attribute of the mount does the work, and a read-only superblock could be shared with other mounts of it or forbid
// making the mount points inside. silent and loud (log level) and iversion (in force anyway where it matters) have no fsconfig name.
func superFlags(fstype string, o *Options) []Param {
	var flags []Param
	add := func(ms uintptr, set, cleared string) {
		if o.LegacyFlags&ms != 0 {
			flags = append(flags, Param{Key: set, Flag: true})
		} else if o.LegacyCleared&ms != 0 && o.Remount && cleared != "" {
			flags = append(flags, Param{Key: cleared, Flag: true})
		}
	}
	if !Pseudo(fstype) {
		add(unix.MS_RDONLY, "ro", "rw")
	}
	add(unix.MS_SYNCHRONOUS, "sync", "async")
	add(unix.MS_DIRSYNC, "dirsync", "")
	add(unix.MS_LAZYTIME, "lazytime", "nolazytime")
	add(unix.MS_MANDLOCK, "mand", "nomand")
	return flags
}

// LegacyReason says why this mount needs classic mount(2) instead of fsconfig(2), "" if it does not: a value is too long for
// fsconfig(2) (a deep stack of overlayfs layers).
func (o *Options) LegacyReason() string {
	i := slices.IndexFunc(o.Data, func(p Param) bool { return len(p.Value) > MaxParam })
	if i < 0 {
		return ""
	}
	return "the value of " + o.Data[i].Key + " is longer than fsconfig(2) takes (255 bytes)"
}

// HasAttrs reports whether the mount itself is changed by mount_setattr(2) after it was made.
func (o *Options) HasAttrs() bool { return o.AttrSet|o.AttrClr != 0 }

// HasRecAttrs reports whether the mounts below are changed too.
func (o *Options) HasRecAttrs() bool { return o.RecAttrSet|o.RecAttrClr != 0 }

// split cuts an entry at its commas, not inside double quotes (SELinux: context="u:r:t:s0:c1,c2") nor after a backslash (overlayfs:
// lowerdir=a\,b). Empty pieces are dropped.
func split(entry string) []string {
	var pieces []string
	start, quoted := 0, false
	for i := 0; i <= len(entry); i++ {
		switch {
		case i == len(entry) || entry[i] == ',' && !quoted:
			if i > start {
				pieces = append(pieces, entry[start:i])
			}
			start = i + 1
		case entry[i] == '\\' && i+1 < len(entry):
			i++
		case entry[i] == '"':
			quoted = !quoted
		}
	}
	return pieces
}

// param makes a parameter of key=value or a word. Quotes around a value belong to the text form of mount options, not to the value.
func param(s string) Param {
	key, value, ok := strings.Cut(s, "=")
	if !ok {
		return Param{Key: s, Flag: true}
	}
	if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
		value = value[1 : n-1]
	}
	return Param{Key: key, Value: value}
}
