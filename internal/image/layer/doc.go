// Package layer turns the layers of images into directories for overlayfs, in a confined process; package overlay turns directories back into layers.
//
//	w, err := layer.NewWorker(ctx, layer.Options{Dir: dir})              // one per pull
//	r, err := w.Unpack(ctx, layer.Request{Name: "0", Stream: f, MediaType: m})   // many at once; f may be a pipe that is still being filled
//	if r.DiffID != config.RootFS.DiffIDs[0] { ... }                      // the caller's check
//	path := w.Path("0")                                                  // the caller may rename it away
//	err = w.Close()
//
//	r, err := overlay.Diff(ctx, &overlay.Tree{Upper: fd, Lower: fds}, out)   // a reproducible layer
//	list, err := overlay.Changes(ctx, &overlay.Tree{Upper: fd, Lower: fds})  // docker diff
//
// The worker is the program bulkhead-unpack, started as a container with this engine's core (see packages confine for what it may, extract for what it does
// with an archive, wire for the limits). Besides descriptors of streams it gets nothing of this process. Two things it cannot do, and asks for: device
// nodes and overlayfs' trusted attribute. Both are done here by descriptor and checked name, in the layer's directory only.
//
// Security: whoever takes over the worker has the directories of the layers of this pull, and can make device nodes in them, which nobody can open
// there. That includes lower layers that other images share: a pull of an image that is not trusted at all deserves a worker of its own for each layer.
//
// Without root the files belong to the user's subordinate ids, so that he cannot remove or read all of them himself: Worker.Remove, Worker.Diff and
// RemoveTree do it in the worker.
package layer
