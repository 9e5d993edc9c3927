// Package apparmor makes an AppArmor profile for a container out of its own specification, has it compiled, and keeps it in the kernel for as long as
// the container lives.
//
//	policy, err := apparmor.New(spec, rootfs, request)       // pure but for links of the image
//	slot, err := apparmor.Claim(ctx, policy, stateDirectory) // a name that is this container's alone
//	err = slot.Load()                                        // before the program is executed under slot.Name
//	err = apparmor.Release(slot.Name, stateDirectory, false) // when the last process has ended
//
// What the profile holds: files may be written where the specification says so, executed where no mount says noexec, and not touched at all where they
// are masked; the capabilities are those of the bounding set, without CAP_MAC_ADMIN and CAP_MAC_OVERRIDE; nothing is mounted; signals and ptrace reach
// processes under the same profile only, which no other container has. Mount flags, masks and capabilities hold most of this already. The profile holds
// it a second time, by name and after the program has got hold of rights that it should not have: a mask that was raced (CVE-2025-31133), a writable
// /proc/sys of another mount, root in a shared pid namespace.
//
// A file that the container was handed open, such as its standard output, belongs to no mount of its own, and is allowed; AppArmor 4 can tell such files
// apart. The parser of AppArmor 3 cannot, and a write rule that is too narrow would silently replace the output of a container by /dev/null: there, writes
// are confined below /proc and /sys only, which is less than asked for and refused unless the request says best-effort.
//
// Names. A policy namespace for each container would need no unique names, but a profile does not see peers outside of its namespace, and what it does not
// see it does not deny: signals to the host and to neighbours pass (measured, kernel 6.12). So profiles live in the caller's namespace, with names
// bulkhead-HASH-SLOT: HASH is that of the policy, SLOT the first number that no living container has claimed. apparmor_parser takes 20 to 100 ms,
// and is asked once for each name; the compiled form is kept below /var/cache/bulkhead/apparmor, by kernel. Where the parser is not installed, what is
// in that directory is enough. Loading it takes about a millisecond.
//
// A claim is a file in /run/bulkhead/apparmor that names the state directory of its container. It is free again when that directory and the
// process that made the claim are gone, so that nothing that is killed at any moment keeps a name for ever. A profile is removed after the last process:
// the kernel unconfines those that still have it. A profile without a claim is of a runtime with another /run, and its name is not taken.
//
// Loading needs CAP_MAC_ADMIN in the first user namespace, so a container of an ordinary user gets none.
package apparmor
