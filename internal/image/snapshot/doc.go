// Package snapshot keeps unpacked layers, each once for each chain of layers below it, and mounts them with overlayfs.
//
//	s, err := snapshot.Open("/var/lib/bulkhead/snapshots")
//	stage, err := s.Stage(ctx)                          // a private directory to unpack in
//	w, err := layer.NewWorker(ctx, layer.Options{Dir: stage.Dir()})
//	r, err := w.Unpack(ctx, layer.Request{Name: "0", ...})
//	err = stage.Commit(ctx, snapshot.Layer{Chain: chain, Parent: parent, Path: w.Path("0"), Result: r})     // the lowest first
//	err = stage.Close()
//
//	use, err := s.Use(ctx, chain)                       // nobody removes it as long as use, or a child with use.File(), lives
//	fd, err := snapshot.Mount(&snapshot.MountOptions{Use: use, Upper: upper, Work: work, Target: target})
//
// On disk: layers/ALGORITHM-HEX holds fs (the directory of the layer) and layer (what is known about it); stage/ what is being unpacked; trash/ what is
// being removed; empty is an empty directory. A layer appears by one rename, whole, and leaves by one. Locks are flocks of the directories themselves:
// shared for a user, exclusive for who removes it and for the owner of a stage. A stage that nobody locks was left by a crash; the next Stage or GC
// removes it.
//
// What is on the disk when. Commit does not sync: that would make a pull as slow as the disk, for data that the content store has anyway. It notes the
// boot instead, and a layer of another boot that was never synced does not count: Has says no, and it is unpacked again. Sync makes all layers last;
// Stage.Close and GC call it for layers that are old enough to be written out by the kernel already.
//
// Directories that a layer needs and does not describe get owner, mode and time from the layers below when it is committed, as containerd does; Docker
// leaves them root's.
package snapshot
