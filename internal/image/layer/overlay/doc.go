// Package overlay reads a directory that overlayfs wrote a container's changes to: it makes the archive of a layer of it, or the list of changes.
//
//	t := &overlay.Tree{Upper: fd, Lower: fds}      // the uppermost lower layer first
//	result, err := overlay.Diff(ctx, t, w)
//	changes, err := overlay.Changes(ctx, t)
//
// The archive depends on nothing but the directory: names in order of their bytes, no names of users, no times of whiteouts, the first name of a file
// carries the content and the others are links to it. overlayfs' marks become ".wh.NAME" and ".wh..wh..opq"; the latter only where a lower
// layer has that directory, because overlayfs marks every new one.
//
// Security: the container that filled the directory is hostile and may still run. Everything goes through descriptors, no link is followed, no device
// or FIFO opened, depth and length of names are bounded, and a file that shrinks under the reader is an error. Attributes that a layer does not
// carry (see package extract) are not read.
package overlay
