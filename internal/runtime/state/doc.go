// Package state keeps what a runtime must remember of a container between two commands: a directory per container under a root.
//
//	store, err := state.Open("/run/bulkhead/runtime", true)
//	dir, crashed, err := store.Claim(ctx, "web")    // ours alone, and locked; crashed is what a killed create left under this name
//	err = dir.Save(&state.Record{ID: "web", Phase: state.Creating})
//	...
//	dir.Close()                                     // and unlocked
//
//	dir, err := store.Lock(ctx, "web", atomicfile.Exclusive)
//	rec, err := dir.Load()
//
// A directory holds a journal with the Record, and the configuration as it was at create, so that nobody need trust the bundle again; while
// a container waits for its start, also the FIFOs of package launch.
//
// # Crashes and contenders
//
// A name is claimed by mkdir, which one of several contenders wins. Whoever changes a container holds the lock of its directory
// (flock on the directory itself, so the lock dies with its holder and there is no file to leave behind); whoever only looks takes none,
// because the journal is only ever added to, one entry in one write. A lock is good only if the directory is still the one of that name, which Lock checks after it
// has it: the directory may have been removed, and made anew, while we waited.
//
// A program may be killed at any instruction. Therefore a record stands before the things it names: the record of phase Creating with
// the cgroup's paths comes before the cgroup, and the pid is written when the child has come to its first barrier. Claim hands such a
// record to the next create of that name, and delete treats it as a stopped container: both can clean up, because nothing exists that is
// not named. A directory without a record is from the instant between mkdir and the first record, or between the removal of the record
// and rmdir; there is nothing behind it, and it is removed by whoever meets it unlocked.
//
// Nothing is synced to the disk: the root lies on a tmpfs, and what it describes is gone after a reboot.
//
// # Security
//
// The root and everything in it belong to the user who runs the runtime and are mode 0700. A root that others can write to, or that
// belongs to somebody else, is refused, and so is a root that is a symbolic link: a record says which processes to kill and which
// cgroups to remove. Identifiers are checked (ValidID) before they become a path. A process is named by its pid and the time it started,
// so that a pid used again is never taken for the container's; Process.Open gives a descriptor to signal it by, which cannot change its
// mind either.
package state
