package wire

import "time"

// Limits bound what one layer may cost. A field that is zero has the default.
type Limits struct {
	Entries    int64         // of the archive; 2,000,000
	Bytes      int64         // of the archive, uncompressed; 64 GiB
	FileBytes  int64         // apparent size of one file, holes included; 1 TiB
	Ratio      int64         // bytes out for each byte in, once FreeBytes are out; 256
	FreeBytes  int64         // 1 GiB: a layer of a gigabyte of zeros is strange, not dangerous
	Path       int           // bytes of a name; 4,095, the kernel's own (path_resolution(7), PATH_MAX with its NUL)
	Depth      int           // directories above an entry; 256
	XattrBytes int           // names and values of one entry; 256 KiB
	Xattrs     int           // of one entry; 256
	Headers    int64         // bytes of extended headers of one entry; 1 MiB
	Window     uint64        // of zstd, bytes; 128 MiB, what zstd(1) takes without being asked
	Time       time.Duration // 2 hours, the download included
}

// Default returns l with the defaults in place of zeros.
func (l Limits) Default() Limits {
	set(&l.Entries, 2_000_000)
	set(&l.Bytes, 64<<30)
	set(&l.FileBytes, 1<<40)
	set(&l.Ratio, 256)
	set(&l.FreeBytes, 1<<30)
	set(&l.Path, 4095)
	set(&l.Depth, 256)
	set(&l.XattrBytes, 256<<10)
	set(&l.Xattrs, 256)
	set(&l.Headers, 1<<20)
	set(&l.Window, 128<<20)
	set(&l.Time, 2*time.Hour)
	return l
}

func set[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Result is what became of a layer.
type Result struct {
	DiffID  string // "sha256:" and the digest of the uncompressed archive
	Bytes   int64  // of the uncompressed archive
	Read    int64  // of the stream
	Entries int64
	Skipped Skipped
	Peak    int64 // most memory that the worker had resident so far, bytes
	// Opaque: the layer hides everything below it. Overlayfs does not look at its root for that, so the chain has to end here.
	Opaque bool
	// Implied are directories, relative to the root, that no entry of the layer describes and whose children need them; "" is the root itself. They have
	// mode 0755 and belong to root until somebody gives them what a lower layer says (snapshot.Stage.Commit). At most MaxImplied.
	Implied []string
}

// MaxImplied and MaxImpliedBytes bound Result.Implied; directories beyond, in the order of their paths, keep what they have.
const (
	MaxImplied      = 20_000
	MaxImpliedBytes = 4 << 20
)

// Skipped counts what was in the archive and is not in the directory.
type Skipped struct {
	Devices int64 // without the right to make them
	Xattrs  int64 // of a namespace that an image does not set, or on a file that cannot have any
	Owners  int64 // ids that are not mapped, where Squash allows it
	Meta    int64 // files of AUFS's own (.wh..wh.*)
}
