// Package extract makes a directory of an overlay filesystem from the archive of one layer. It runs in the confined worker, and would be safe
// outside of it.
//
//	tree, err := extract.New(&extract.Options{Root: fd})
//	result, err := tree.Unpack(ctx, tarstream.NewReader(stream, tarstream.Limits{}))
//
// Names are resolved by the kernel below the root's descriptor (openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS), and what is made is made
// by a name without a slash in an open directory. Where a directory of a name is a link that the layer itself brought, the link is followed as if
// the root were "/", which is what Docker's chroot does; the path that comes out is resolved as any other. An entry replaces what is in its place,
// but a directory on a directory; nothing that exists is ever opened for writing, so a link cannot be written through.
//
// Whiteouts (".wh.NAME") become overlayfs' character devices 0:0, opaque directories get overlayfs' attribute. Both concern lower layers only: what
// the same layer has under the name stays, before and after (image-spec, layer.md).
//
// What Docker does and this does not: hard links do not change owner, mode and time of what they link to; attributes of the namespaces
// trusted and security, but file capabilities, and those of overlayfs are left out and counted.
package extract
