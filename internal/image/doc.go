// Package image is what an engine can do with images: pull, push, find, list, tag, remove, save, load, import, mount.
//
//	s, err := image.Open(image.Options{Root: "/var/lib/bulkhead"})
//	img, err := s.Pull(ctx, "alpine", image.PullOptions{Progress: show})   // fetched, verified, unpacked, named
//	img, err = s.Find("alpine", nil)                                       // by name, digest or the beginning of an id
//	fd, use, err := s.Snapshot(ctx, img)                                   // locks the unpacked layers for a container
//	err = s.Push(ctx, "quay.io/team/app:1", image.PushOptions{})
//	report, err := s.Remove(ctx, "alpine", image.RemoveOptions{})
//
// It joins four packages that know nothing of each other: registry fetches and sends, store keeps contents by digest and names for them, layer unpacks in a
// confined process, snapshot keeps what was unpacked. Below Root, images is the store and an OCI image layout, snapshots the unpacked layers, mounts the
// images that `image mount` has shown somewhere.
//
// A pull takes a lease first, so that no collection takes what it has fetched; it asks the registry what the name stands for, and is done after this one request when
// that is here already. Layers are fetched side by side and unpacked while they come. What was unpacked counts only when the digest of what was fetched,
// and that of what came out of it, are those of the manifest and the configuration. The name is given last: a pull that is killed leaves the store as it was, and
// a partial blob from which the next one goes on.
//
// Names. An image has the names that point to it, and an id: the digest of its configuration, as Docker has it. A name may point to an index, of which one
// platform's manifest is here; Find chooses the host's, or what the caller says, or what there is. A tag that moves to another image leaves the old one without
// a name; Prune and, after an hour, every collection removes it.
//
// Methods may be called from many goroutines, and many processes may do the same at once.
package image
