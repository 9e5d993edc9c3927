package image

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/image/layer"
	"golang.org/x/sys/unix"
)

func attacks(t *testing.T, s *site) []attack {
	t.Helper()
	var list []attack
	list = append(list, pathAttacks(s)...)
	list = append(list, linkAttacks(s)...)
	list = append(list, whiteoutAttacks()...)
	list = append(list, headerAttacks()...)
	list = append(list, streamAttacks(t)...)
	return append(list, metaAttacks()...)
}

// holds checks that a file of the layer has a content.
func holds(name, want string) func(*testing.T, string, *layer.Result) error {
	return func(_ *testing.T, dir string, _ *layer.Result) error {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if string(got) != want {
			return fmt.Errorf("%s: %.100q, want %q", name, got, want)
		}
		return nil
	}
}

func pathAttacks(s *site) []attack {
	victim := filepath.Join(s.dir, "victim")
	deep := strings.Repeat("d/", 300)
	return []attack{
		{name: "out/dotdot", data: tarOf(raw{name: "../victim", body: "x"}), want: `the part ".."`},
		{name: "out/dotdot-inside", data: tarOf(raw{name: "a/b/../../../victim", body: "x"}), want: `the part ".."`},
		{name: "out/absolute", data: tarOf(long(raw{name: victim, body: "x"})...), check: holds(victim, "x")},
		{
			name:  "out/directory-link",
			data:  tarOf(append([]raw{{name: "l", typ: '2', link: "../../.."}}, raw{name: "l/victim", body: "x"})...),
			check: holds("victim", "x"), // l leads to the layer's own root
		},
		{
			name: "out/absolute-directory-link", data: tarOf(append(long(raw{name: "l", typ: '2', link: s.dir}), raw{name: "l/victim", body: "x"})...),
			check: holds(victim, "x"),
		},
		{
			name: "out/file-link", data: tarOf(append(long(raw{name: "l", typ: '2', link: victim}), raw{name: "l", body: "x"})...),
			check: holds("l", "x"),
		},
		{
			name: "out/link-chain",
			data: tarOf(raw{name: "a", typ: '2', link: ".."}, raw{name: "b", typ: '2', link: "a/../.."}, raw{name: "c", typ: '2', link: "b/.."}, raw{name: "c/victim", body: "x"}),
		},
		{
			name: "out/directory-time", data: tarOf(raw{name: "d", typ: '5', mtime: 1}, raw{name: "d", typ: '2', link: "../../../victimdir"}),
		},
		{
			name: "out/directory-becomes-link", data: tarOf(raw{name: "d", typ: '5'}, raw{name: "d", typ: '2', link: "../../../victimdir"}, raw{name: "d/victim", body: "x"}),
			check: holds("victimdir/victim", "x"),
		},
		{name: "loop", data: tarOf(raw{name: "a", typ: '2', link: "b"}, raw{name: "b", typ: '2', link: "a"}, raw{name: "a/f"}), want: "more than 40 links"},
		{name: "loop-of-one", data: tarOf(raw{name: "a", typ: '2', link: "a"}, raw{name: "a/f"}), want: "more than 40 links"},
		{name: "bomb-of-links", data: linkBomb(), want: "through links to a name of"},
		{name: "name-256", data: tarOf(long(raw{name: strings.Repeat("n", 256)})...), want: "a part of 256 bytes"},
		{name: "path-5000", data: tarOf(long(raw{name: strings.Repeat("ab/", 1700)})...), want: "bytes; the bound is 4095"},
		{name: "depth-300", data: tarOf(long(raw{name: deep + "f"})...), want: "directories; the bound is 256"},
		{name: "depth-100000", data: tarOf(long(raw{name: strings.Repeat("d/", 100000)})...), want: "the bound is 4095"},
		{
			name: "depth-through-links", want: "directories; the bounds are",
			data: tarOf(append(append(long(raw{name: strings.Repeat("d/", 250)}), long(raw{name: "l", typ: '2', link: strings.Repeat("d/", 250)})...),
				long(raw{name: "l/" + strings.Repeat("e/", 100) + "f"})...)...),
		},
		{name: "no-name", data: tarOf(raw{name: ""}), want: "it has no name"},
		{name: "root-is-a-link", data: tarOf(raw{name: "./", typ: '2', link: "/"}), want: "would replace the root"},
		{name: "file-as-directory", data: tarOf(raw{name: "f", body: "x"}, raw{name: "f/g"}), want: "is no directory"},
		{name: "escape-in-name", data: tarOf(raw{name: "\x1b]0;x\x07/../\n"}), want: `the part ".."`},
		{name: "not-utf8", data: tarOf(raw{name: "\xff\xfe", body: "x"}), check: holds("\xff\xfe", "x")},
		{name: "link-becomes-directory", data: tarOf(raw{name: "l", typ: '2', link: "/"}, raw{name: "l", typ: '5'}, raw{name: "l/f", body: "x"}), check: holds("l/f", "x")},
		{name: "tree-becomes-file", data: tarOf(raw{name: "d/e/f"}, raw{name: "d", body: "x"}), check: holds("d", "x")},
	}
}

// linkBomb is a name whose links grow with each step.
func linkBomb() []byte {
	var list []raw
	for i := range 30 {
		list = append(list, raw{name: fmt.Sprint("l", i), typ: '2', link: strings.Repeat(fmt.Sprintf("l%d/", i+1), 30)})
	}
	return tarOf(append(list, raw{name: "l0/f"})...)
}

func linkAttacks(s *site) []attack {
	victim := filepath.Join(s.dir, "victim")
	hard := func(name, link string) raw { return raw{name: name, typ: '1', link: link} }
	return []attack{
		{name: "out/hard-link-dotdot", data: tarOf(hard("l", "../../../victim"), raw{name: "l", body: "x"}), want: `the part ".."`},
		{name: "out/hard-link-absolute", data: tarOf(append(long(hard("l", victim)), raw{name: "l", body: "x"})...), want: "which this layer does not have"},
		{
			name: "out/hard-link-through-link", data: tarOf(raw{name: "d", typ: '2', link: "../../.."}, hard("l", "d/victim"), raw{name: "l", body: "x"}),
			want: "which this layer does not have",
		},
		{
			name: "out/hard-link-to-link", data: tarOf(append(long(raw{name: "a", typ: '2', link: victim}), hard("b", "a"), raw{name: "b", body: "x"})...),
			check: holds("b", "x"),
		},
		{name: "hard-link-to-nothing", data: tarOf(hard("l", "l")), want: "which this layer does not have"},
		{name: "hard-link-to-itself", data: tarOf(raw{name: "f", body: "x"}, hard("f", "f")), check: holds("f", "x")},
		{name: "hard-link-to-root", data: tarOf(hard("l", ".")), want: "a hard link to the root"},
		{name: "hard-link-to-directory", data: tarOf(raw{name: "d", typ: '5'}, hard("l", "d")), want: "a hard link to the directory"},
		{name: "hard-link-over-its-target", data: tarOf(raw{name: "d/f", body: "x"}, hard("d", "d/f")), want: "in the place of a directory that holds it"},
		{name: "hard-link-to-whiteout", data: tarOf(raw{name: ".wh.w"}, hard("l", "w")), want: "which is a whiteout"},
		{name: "hard-link-to-whiteout-name", data: tarOf(hard("l", "a/.wh.w")), want: "has the name of a whiteout"},
		{name: "hard-link-to-plnk", data: tarOf(raw{name: ".wh..wh.plnk/1.2", body: "x"}, hard("l", ".wh..wh.plnk/1.2")), want: "has the name of a whiteout"},
		{
			name: "hard-link-to-fifo", data: tarOf(raw{name: "p", typ: '6'}, hard("l", "p")),
			check: func(_ *testing.T, dir string, _ *layer.Result) error {
				var st unix.Stat_t
				err := unix.Lstat(filepath.Join(dir, "l"), &st)
				if st.Mode&unix.S_IFMT != unix.S_IFIFO || st.Nlink != 2 {
					return fmt.Errorf("mode %o, %d links, %w", st.Mode, st.Nlink, err)
				}
				return nil
			},
		},
		{
			name: "write-through-hard-link", data: tarOf(raw{name: "s", mode: 0o4755, body: "good"}, hard("l", "s"), raw{name: "l", body: "evil"}),
			check: func(t *testing.T, dir string, r *layer.Result) error {
				info, err := os.Stat(filepath.Join(dir, "s"))
				if err == nil && info.Mode()&os.ModeSetuid == 0 {
					err = errors.New("it lost its bit")
				}
				return errors.Join(err, holds("s", "good")(t, dir, r), holds("l", "evil")(t, dir, r))
			},
		},
		{
			name: "mode-through-hard-link", data: tarOf(raw{name: "s", mode: 0o644, body: "x"}, raw{name: "l", typ: '1', link: "s", mode: 0o4777}),
			check: func(_ *testing.T, dir string, _ *layer.Result) error {
				info, err := os.Stat(filepath.Join(dir, "s"))
				if err == nil && info.Mode() != 0o644 {
					err = fmt.Errorf("mode %v", info.Mode())
				}
				return err
			},
		},
		{name: "out/mode-of-link", data: tarOf(append(long(raw{name: "l", typ: '2', link: victim, mode: 0o777}), raw{name: "x"})...)},
		{name: "link-to-nothing", data: tarOf(raw{name: "l", typ: '2'}), want: "a symbolic link to nothing"},
		{name: "link-5000", data: tarOf(long(raw{name: "l", typ: '2', link: strings.Repeat("x", 5000)})...), want: "a symbolic link to a name of 5000 bytes"},
	}
}

func whiteoutAttacks() []attack {
	return []attack{
		{name: "whiteout-of-nothing", data: tarOf(raw{name: "a/.wh."}), want: "a whiteout of nothing"},
		{name: "whiteout-of-dot", data: tarOf(raw{name: "a/.wh.."}), want: "a whiteout of nothing"},
		{name: "whiteout-of-dotdot", data: tarOf(raw{name: "a/.wh..."}), want: "a whiteout of nothing"},
		{name: "whiteout-of-whiteout", data: tarOf(raw{name: "a/.wh..wh.a"}), want: "a whiteout of a whiteout"},
		{name: "whiteout-directory", data: tarOf(raw{name: ".wh.d", typ: '5'}), want: "a directory with the name of a whiteout"},
		{name: "below-whiteout", data: tarOf(raw{name: ".wh.d/f"}), want: "has the name of a whiteout"},
		{
			name: "plnk", data: tarOf(raw{name: ".wh..wh.plnk", typ: '5'}, raw{name: ".wh..wh.plnk/1.2"}, raw{name: ".wh..wh.aufs"}),
			check: func(_ *testing.T, dir string, r *layer.Result) error {
				list, err := os.ReadDir(dir)
				if len(list) != 0 || r.Skipped.Meta != 3 {
					return fmt.Errorf("%v, %+v", list, r.Skipped)
				}
				return err
			},
		},
		{
			name: "whiteout-of-own", data: tarOf(raw{name: "f", body: "x"}, raw{name: ".wh.f"}, raw{name: ".wh.g"}, raw{name: "g", body: "y"}, raw{name: ".wh.d"}, raw{name: "d/h", body: "z"}),
			check: func(t *testing.T, dir string, r *layer.Result) error {
				buf := make([]byte, 4)
				n, err := unix.Getxattr(filepath.Join(dir, "d"), "trusted.overlay.opaque", buf)
				if err != nil || string(buf[:n]) != "y" {
					return fmt.Errorf("d is not opaque: %w", err)
				}
				return errors.Join(holds("f", "x")(t, dir, r), holds("g", "y")(t, dir, r), holds("d/h", "z")(t, dir, r))
			},
		},
		{
			name: "whiteout-as-device", data: tarOf(raw{name: "w", typ: '3'}),
			check: func(_ *testing.T, dir string, _ *layer.Result) error {
				var st unix.Stat_t
				if err := unix.Lstat(filepath.Join(dir, "w"), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
					return fmt.Errorf("%o %d %w", st.Mode, st.Rdev, err)
				}
				return nil
			},
		},
	}
}

func headerAttacks() []attack {
	huge := func(typ byte) []byte { return tarOf(raw{name: "x", typ: typ, size: 1 << 30, nobody: true}) }
	sparse := func(records ...string) []byte {
		return tarOf(pax(append([]string{"GNU.sparse.major=0", "GNU.sparse.minor=1", "GNU.sparse.name=s"}, records...)...), raw{name: "s", body: strings.Repeat("x", 512)})
	}
	broken := raw{name: "f"}.block()
	broken[0] ^= 1
	return []attack{
		{name: "pax-1GB", data: huge('x'), want: "extended headers of 1073741824 bytes"},
		{name: "pax-global-1GB", data: huge('g'), want: "extended headers of 1073741824 bytes"},
		{name: "long-name-1GB", data: huge('L'), want: "extended headers of 1073741824 bytes"},
		{name: "pax-row", data: bytes.Repeat(pax("comment="+strings.Repeat("x", 100000)).bytes(), 12), want: "bytes for one entry; the bound is"},
		{name: "pax-record-length", data: tarOf(raw{name: "p", typ: 'x', body: "99999999999 path=x\n"}, raw{name: "f"}), want: "the length of a record"},
		{name: "pax-no-newline", data: tarOf(raw{name: "p", typ: 'x', body: "8 path=x"}, raw{name: "f"}), want: "the end of a record"},
		{name: "pax-no-key", data: tarOf(raw{name: "p", typ: 'x', body: "5 =x\n"}, raw{name: "f"}), want: "the key of a record"},
		{name: "pax-nul", data: tarOf(pax("path=a\x00b"), raw{name: "f"}), want: "a NUL byte in the record path"},
		{name: "pax-uid", data: tarOf(pax("uid=x"), raw{name: "f"}), want: "the record uid"},
		{name: "pax-alone", data: tarOf(pax("path=x")), want: "between an extended header and its entry"},
		{name: "size-negative", data: tarOf(raw{name: "f", size: -1, nobody: true}), want: "an entry of -1 bytes"},
		{name: "size-pax-negative", data: tarOf(pax("size=-5"), raw{name: "f"}), want: "an entry of -5 bytes"},
		{name: "size-2^60", data: tarOf(raw{name: "f", size: 1 << 60, nobody: true}), want: "a file of 1152921504606846976 bytes"},
		{name: "size-no-number", data: tarOf(raw{name: "f", sizeBytes: "hello, worl\x00"}), want: "the field size is no number"},
		{name: "uid-2^32", data: tarOf(pax("uid=4294967295"), raw{name: "f"}), want: "ids go from 0 to"},
		{name: "uid-negative", data: tarOf(raw{name: "f", uid: -1}), want: "ids go from 0 to"},
		{name: "type-unknown", data: tarOf(raw{name: "f", typ: 'Z'}), want: "which an image layer does not have"},
		{name: "checksum", data: append(broken, make([]byte, 1024)...), want: "a wrong checksum"},
		{name: "one-block-of-zeros", data: append(make([]byte, 512), tarOf(raw{name: "f"})...), want: "a single block of zeros"},
		{name: "sparse-overlap", data: sparse("GNU.sparse.map=0,256,100,256", "GNU.sparse.numblocks=2", "GNU.sparse.size=1000"), want: "overlaps another or lies outside"},
		{name: "sparse-2^62", data: sparse("GNU.sparse.map=4611686018427387904,512", "GNU.sparse.numblocks=1", "GNU.sparse.size=4611686018427388416"), want: "a file of 4611686018427388416 bytes"},
		{name: "sparse-more-than-stored", data: sparse("GNU.sparse.map=0,513", "GNU.sparse.numblocks=1", "GNU.sparse.size=513"), want: "stores 512 bytes, and its map has 513"},
		{name: "sparse-count", data: sparse("GNU.sparse.map=0,512", "GNU.sparse.numblocks=9", "GNU.sparse.size=513"), want: "the number of fragments"},
		{
			name: "entries-10^7", want: "more than 5000 entries", limits: layer.Limits{Entries: 5000},
			write: func(w io.Writer) error {
				b := bytes.Repeat(raw{name: "f"}.block(), 100)
				for range 100000 {
					if _, err := w.Write(b); err != nil {
						return err
					}
				}
				return nil
			},
		},
	}
}

func streamAttacks(t *testing.T) []attack {
	t.Helper()
	good := tarOf(raw{name: "f", body: strings.Repeat("x", 100000)})
	z, zs := gzipOf(t, good), zstdOf(t, good)
	damaged := bytes.Clone(z)
	damaged[len(damaged)-6] ^= 1
	bomb := func(n int64) func(w io.Writer) error {
		return func(w io.Writer) error {
			g := gzip.NewWriter(w)
			if _, err := g.Write(raw{name: "zeros", size: n, nobody: true}.block()); err != nil {
				return err
			}
			return errors.Join(zeros(g, n), g.Close())
		}
	}
	// A frame with a window of 2^31 bytes and one block of zeros of 128 KiB, over and over (RFC 8878, 3.1.1).
	window := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, (31 - 10) << 3, 0x03, 0x00, 0x10, 0x00}
	rle := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, (17 - 10) << 3}, bytes.Repeat([]byte{0x02, 0x00, 0x10, 0x00}, 1<<16)...)
	return []attack{
		{name: "bomb-ratio", media: gzipType, write: bomb(4 << 30), limits: layer.Limits{FreeBytes: 64 << 20}, want: "a compression bomb"},
		{name: "bomb-bytes", media: gzipType, write: bomb(1 << 30), limits: layer.Limits{Bytes: 100 << 20}, want: "more than 104857600 bytes uncompressed"},
		{name: "bomb-zstd", media: zstdType, data: rle, limits: layer.Limits{FreeBytes: 1 << 20}, want: "a compression bomb"},
		{name: "zstd-window", media: zstdType, data: window, want: "a window of more memory"},
		{name: "gzip-garbage", media: gzipType, data: append(bytes.Clone(z), "garbage, and more of it"...), want: "or follows it"},
		{name: "zstd-garbage", media: zstdType, data: append(bytes.Clone(zs), "garbage!"...), want: "or follows it"},
		{name: "tar-garbage", data: append(bytes.Clone(good), tarOf(raw{name: "hidden", body: "x"})...), want: "follows the end of the archive"},
		{name: "gzip-cut", media: gzipType, data: z[:len(z)/2], want: "is cut off"},
		{name: "zstd-cut", media: zstdType, data: zs[:len(zs)-9], want: "is cut off"},
		{name: "tar-cut", data: good[:1024], want: "in the middle of an entry"},
		{name: "tar-cut-block", data: good[:1000], want: "in the middle of an entry"},
		{name: "gzip-damaged", media: gzipType, data: damaged, want: "a checksum does not match"},
		{name: "confused-gzip", media: gzipType, data: zs, want: "says gzip, and its bytes are zstd"},
		{name: "confused-tar", data: z, want: "says not compressed, and its bytes are gzip"},
		{name: "media-type", media: "application/vnd.oci.image.config.v1+json", data: good, want: "is none of a layer"},
		{name: "empty-gzip", media: gzipType, data: []byte{}, want: "says gzip, and its bytes are not compressed"},
		{
			name: "endless", limits: layer.Limits{Time: time.Second}, want: "it took more than 1s",
			write: func(w io.Writer) error {
				for range 100 {
					if _, err := w.Write(raw{name: "f"}.block()); err != nil {
						return err
					}
					time.Sleep(50 * time.Millisecond)
				}
				return nil
			},
		},
	}
}

func metaAttacks() []attack {
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprintf("SCHILY.xattr.user.a%d=x", i))
	}
	smuggled := []string{
		"security.selinux", "security.ima", "security.evm", "security.apparmor", "trusted.overlay.opaque", "trusted.overlay.redirect", "trusted.overlay.metacopy",
		"trusted.overlay.origin", "trusted.x", "user.overlay.opaque", "user.overlay.redirect", "system.nfs4_acl",
	}
	var records []string
	for _, n := range smuggled {
		records = append(records, "SCHILY.xattr."+n+"=y")
	}
	return []attack{
		{name: "xattrs-300", data: tarOf(pax(many...), raw{name: "f"}), want: "300 extended attributes"},
		{name: "xattr-300KB", data: tarOf(pax("SCHILY.xattr.user.x="+strings.Repeat("x", 300000)), raw{name: "f"}), want: "its extended attributes have 300006 bytes"},
		{name: "xattr-100KB", data: tarOf(pax("SCHILY.xattr.user.x="+strings.Repeat("x", 100000)), raw{name: "f"}), want: "more than the file system takes"},
		{name: "xattr-capability", data: tarOf(pax("SCHILY.xattr.security.capability=junk"), raw{name: "f"}), want: `set the extended attribute "security.capability"`},
		{name: "xattr-no-name", data: tarOf(pax("SCHILY.xattr.=x"), raw{name: "f"}), want: "an extended attribute without a name"},
		{
			name: "xattrs-smuggled", data: tarOf(pax(records...), raw{name: "f"}, pax(records...), raw{name: "d", typ: '5'}),
			check: func(_ *testing.T, dir string, r *layer.Result) error {
				if r.Skipped.Xattrs != int64(2*len(smuggled)) {
					return fmt.Errorf("%d were skipped", r.Skipped.Xattrs)
				}
				for _, f := range []string{"f", "d"} {
					for _, n := range smuggled {
						if _, err := unix.Getxattr(filepath.Join(dir, f), n, nil); err == nil {
							return fmt.Errorf("%s has %s", f, n)
						}
					}
				}
				return nil
			},
		},
		{
			name: "devices", data: tarOf(raw{name: "mem", typ: '3', major: 1, minor: 1, mode: 0o666}, raw{name: "sda", typ: '4', major: 8, mode: 0o666}),
			check: func(_ *testing.T, dir string, _ *layer.Result) error {
				var a, b unix.Stat_t
				err := errors.Join(unix.Lstat(filepath.Join(dir, "mem"), &a), unix.Lstat(filepath.Join(dir, "sda"), &b))
				if a.Rdev != unix.Mkdev(1, 1) || b.Rdev != unix.Mkdev(8, 0) || b.Mode != unix.S_IFBLK|0o666 {
					return fmt.Errorf("%x %x %o %w", a.Rdev, b.Rdev, b.Mode, err)
				}
				return nil
			},
		},
		{name: "device-number", data: tarOf(raw{name: "x", typ: '3', major: 1 << 20, minor: 1}), want: "a device 1048576:1"},
	}
}
