// Package transfer carries files between a directory of this machine and an archive, for `cp`.
//
//	err := transfer.Pack(w, transfer.Source{Path: "dir", Name: "dir"})              // the archive that a container unpacks
//	err = transfer.Unpack(r, transfer.Target{Dir: "/srv", Name: "copy"})            // the archive that a container sent
//
// An archive has one file or directory with what is below it, its top; Name is what the top is called on the other side, "." if its content alone is meant.
// Resolve decides directory and name from what was written on the command line, by the rules of docker cp.
//
// Security: an archive comes from a container, which may be hostile. All that is written goes through a handle of the directory (os.Root), so that neither a name
// nor a symbolic link, made before or meanwhile, leads out of it. Devices are refused; set-user-ID and set-group-ID bits and owners are left out unless Owners says
// that they are wanted. What is there is replaced by the same kind of thing only: no directory by a file, and no file by a directory.
package transfer
