package plan

import (
	"path"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/rootfs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// dev makes the devices of the spec, the default ones, and the links under /dev; nothing when the spec bind-mounts a /dev.
func (b *builder) dev() error {
	fresh := false // /dev is a new tmpfs that only the plan has touched
	for _, m := range b.spec.Mounts {
		if p, err := rootfs.CleanDestination(m.Destination); err != nil || p != "/dev" {
			continue
		}
		if o, _ := rootfs.ParseOptions(m.Type, m.Options); o.Bind {
			return nil
		}
		fresh = m.Type == "tmpfs"
	}
	parents := map[string]op.Slot{}
	for _, d := range b.devices() {
		if err := b.device(&d, parents, fresh); err != nil {
			return err
		}
	}
	dir := b.parentDir("/dev", parents)
	for _, l := range rootfs.DefaultLinks(true) {
		name := path.Base(l.Path)
		if name == "ptmx" && !fresh {
			b.add(op.Raw("unlinkat", unix.SYS_UNLINKAT, op.At(dir), op.Str(name), op.Num(0)).Else(unix.ENOENT, "").Else(unix.EISDIR, "").Because("the image's ptmx makes room"))
		}
		b.add(op.Symlinkat(l.Target, op.At(dir), name).Else(unix.EEXIST, "").Because(l.Path))
	}
	return nil
}

// A device of the spec with the default ones, each path once; the spec's word counts, and a mount on the very path counts most: people
// mount /dev/urandom on /dev/random.
type device struct {
	rootfs.Device
	uid, gid uint32
}

func (b *builder) devices() []device {
	var list []device
	seen := map[string]bool{}
	for i := range b.spec.Mounts {
		if p, err := rootfs.CleanDestination(b.spec.Mounts[i].Destination); err == nil {
			seen[p] = true
		}
	}
	if b.spec.Linux != nil {
		for i := range b.spec.Linux.Devices {
			if d := specDevice(&b.spec.Linux.Devices[i]); !seen[d.Path] {
				seen[d.Path] = true
				list = append(list, d)
			}
		}
	}
	for _, d := range rootfs.DefaultDevices() {
		if !seen[d.Path] {
			list = append(list, device{Device: d})
		}
	}
	return list
}

func specDevice(d *specs.LinuxDevice) device {
	out := device{Device: rootfs.Device{Path: path.Clean("/" + d.Path), Type: 'c', Major: uint32(d.Major), Minor: uint32(d.Minor), Mode: 0o666}}
	if d.Type != "" {
		out.Type = d.Type[0]
	}
	if d.FileMode != nil {
		out.Mode = uint32(*d.FileMode) & 0o7777
	}
	if d.UID != nil {
		out.uid = *d.UID
	}
	if d.GID != nil {
		out.gid = *d.GID
	}
	return out
}

// parentDir resolves a directory below the root, made if it is missing, once.
func (b *builder) parentDir(dir string, parents map[string]op.Slot) op.Slot {
	s, ok := parents[dir]
	if !ok {
		s = b.target(dir, true, "the directory "+dir)
		parents[dir] = s
	}
	return s
}

func (b *builder) device(d *device, parents map[string]op.Slot, fresh bool) error {
	dir, name := path.Split(d.Path)
	dir = path.Clean(dir)
	if name == "" {
		return errdef.Errorf(errdef.Invalid, "linux.devices: path %q names no file", d.Path)
	}
	own := fresh && dir == "/dev"
	parent := b.parentDir(dir, parents)
	if b.userns && d.Type != 'p' {
		return b.bindDevice(d, parent, name)
	}
	mode, dev := uint32(unix.S_IFCHR), unix.Mkdev(d.Major, d.Minor)
	switch d.Type {
	case 'b':
		mode = unix.S_IFBLK
	case 'p':
		mode, dev = unix.S_IFIFO, 0
	}
	node := op.Mknodat(op.At(parent), name, mode|d.Mode, dev).Because("device " + d.Path)
	if own {
		b.add(node)
	} else {
		have, made := b.name("havedev"), b.name("made")
		b.add(node.Else(unix.EEXIST, have).Then(made))
		b.sameDevice(parent, d, mode, have)
		b.here(made)
	}
	if d.uid|d.gid != 0 {
		b.add(op.Fchownat(op.At(parent), name, d.uid, d.gid).Because("owner of " + d.Path))
	}
	return nil
}

// sameDevice checks that what the image has under the device's name is that device.
func (b *builder) sameDevice(parent op.Slot, d *device, mode uint32, label string) {
	s := b.slot("dev")
	stat := b.scratch("statx", op.StatxSize)
	name := path.Base(d.Path)
	b.add(
		op.Openat(op.At(parent), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0).To(s).Named(label).Because("the image has a "+d.Path),
		op.Statx(op.At(s), stat),
		op.Check(stat, statxWord(op.StatxMode), unix.S_IFMT<<statxShift(op.StatxMode), uint64(mode)<<statxShift(op.StatxMode), unix.EEXIST).
			Because(d.Path+" of the image is a device of this kind").Hinted("remove "+d.Path+" from the image, or mount a tmpfs on /dev"),
	)
	if d.Type != 'p' {
		b.add(op.Check(stat, op.StatxRdev, ^uint64(0), uint64(d.Major)|uint64(d.Minor)<<32, unix.EEXIST).
			Because(d.Path + " of the image has the right device number").Hinted("remove " + d.Path + " from the image, or mount a tmpfs on /dev"))
	}
	b.add(op.Close(op.At(s)))
}

// bindDevice shows the host's node in a user namespace, where the kernel allows no mknod.
func (b *builder) bindDevice(d *device, parent op.Slot, name string) error {
	m, t := b.slot("m"), b.slot("t")
	stat := b.scratch("statx", op.StatxSize)
	hint := "in a user namespace a device is shown from the host: " + d.Path + " must be there, with this number"
	b.add(
		op.OpenTree(op.AtCwd, d.Path, treeClone).To(m).Because("the host's "+d.Path+": a user namespace may not make devices").Hinted(hint),
		op.Statx(op.At(m), stat),
		op.Check(stat, op.StatxRdev, ^uint64(0), uint64(d.Major)|uint64(d.Minor)<<32, unix.ENODEV).Because(d.Path+" of the host has the declared number").Hinted(hint),
		op.Mknodat(op.At(parent), name, unix.S_IFREG|0o600, 0).Else(unix.EEXIST, "").Because("a file to show "+d.Path+" on"),
		op.Openat(op.At(parent), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0).To(t).Because("the file to show "+d.Path+" on"),
		op.MoveMount(op.At(m), op.At(t)).Because("device "+d.Path),
		op.Close(op.At(m)), op.Close(op.At(t)),
	)
	return nil
}

// console makes the terminal: a pty of the container's own devpts, its slave shown as /dev/console, its master sent to the runtime.
func (b *builder) console() error {
	p := b.spec.Process
	if !p.Terminal {
		return nil
	}
	b.pty(p)
	t, m := b.slot("t"), b.slot("m")
	parent := b.target("/dev", true, "where /dev/console is")
	b.add(
		op.Mknodat(op.At(parent), "console", unix.S_IFREG|0o600, 0).Else(unix.EEXIST, "").Because("a file to show the terminal on"),
		op.Openat(op.At(parent), "console", unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0).To(t).Because("the place of /dev/console"),
		op.OpenTree(op.At("slave"), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH).To(m).Because("the terminal, by its descriptor (CVE-2025-52565)"),
		op.MoveMount(op.At(m), op.At(t)).Because("the terminal as /dev/console"),
	)
	return nil
}

// pty opens a terminal of the container's devpts. The directory is verified to be one, and then "ptmx" in it is the multiplexor, whatever
// the image has under other names (CVE-2025-52565).
func (b *builder) pty(p *specs.Process) {
	statfs := b.scratch("statfs", op.StatfsSize)
	const devptsMagic = 0x1cd1
	unlock := b.mem(op.Mem{Name: b.name("unlock"), Size: 8})
	const hint = "a terminal needs a mount of type devpts on /dev/pts"
	b.add(
		op.InRoot(root, "dev/pts", unix.O_DIRECTORY).To("pts").Because("where the container's terminals are").Hinted(hint),
		op.Fstatfs(op.At("pts"), statfs),
		op.Check(statfs, 0, ^uint64(0), devptsMagic, unix.ENODEV).Because("/dev/pts is a devpts").Hinted(hint),
		op.Openat(op.At("pts"), "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0).To("master").Because("a new terminal").Hinted(hint),
	)
	b.add(
		op.Ioctl(op.At("master"), unix.TIOCSPTLCK, "TIOCSPTLCK", op.Addr(unlock, 0)).Because("unlock the terminal"),
		op.Ioctl(op.At("master"), unix.TIOCGPTPEER, "TIOCGPTPEER", op.Flag(uint64(unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC), "O_RDWR|O_NOCTTY|O_CLOEXEC")).
			To("slave").Because("the other end of this very terminal, by no path"),
	)
	if size := p.ConsoleSize; size != nil {
		ws := []byte{byte(size.Height), byte(size.Height >> 8), byte(size.Width), byte(size.Width >> 8), 0, 0, 0, 0}
		b.add(op.Ioctl(op.At("master"), unix.TIOCSWINSZ, "TIOCSWINSZ", op.Data(string(ws), itoa(int(size.Height))+"x"+itoa(int(size.Width)))).Because("process.consoleSize"))
	}
	b.add(op.FchownFD(op.At("slave"), p.User.UID, ^uint32(0)).Because("the terminal belongs to the user of the process"))
	b.sendFD(FDConsole, "master", "the runtime gets the other end of the terminal")
	b.barrier(BarrierTTY, "the terminal has its size and its modes before the program can look")
	b.add(op.Close(op.At("master")))
}
