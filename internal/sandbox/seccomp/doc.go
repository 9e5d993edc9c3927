// Package seccomp compiles the seccomp profile of an OCI config.json to a classic BPF program for the kernel, without libseccomp.
//
//	f, err := seccomp.Cached("/run/bulkhead/seccomp", spec.Linux.Seccomp)
//	if err != nil { return err }
//	plan.Filter{Program: f.Bytes(), Flags: f.Flags, Notify: f.Notify}
//
// # What a profile means
//
// The decisions equal those of runc with libseccomp (a test compiles profiles with both and compares):
//
//   - A name that no architecture knows is ignored, and so is a rule whose action is the default action.
//   - The first rule without conditions for a call decides it, whatever conditional rules stand before or after it.
//   - The conditions of one rule must all hold. If two of them look at the same argument, each becomes a rule of its own, so they are
//     alternatives (runc does so for old Docker profiles).
//   - Among conditional rules with different actions the order is libseccomp's (see order), not that of the profile. Two rules with
//     the same conditions and different actions are an error.
//   - An argument is compared as 64 bits; on a 32-bit ABI, x32 and MIPS n32 included, only its low word and that of the value are.
//   - On ABIs with socketcall(2) and ipc(2) (x86, MIPS o32, PowerPC, s390, m68k, SuperH) a rule for a call that they reach counts
//     for them as well: the number of the call takes the place of the condition on argument 0, the other conditions stay. A condition
//     on socket's domain can therefore not be enforced there; profiles that need it must deny socketcall.
//   - An architecture that is not listed kills the thread, and so does a call of the x32 ABI when only x86_64 is listed. Number -1 is
//     left to the default action: a tracer uses it to skip a call (seccomp(2)).
//   - The native architecture is always in the filter. All architectures must have one byte order.
//   - A call with a number above every number that the profile names returns ENOSYS if the default action is not ALLOW, LOG or TRACE,
//     so that programs fall back from calls that are newer than the profile. On s390 the same goes for number 0, under which the
//     kernel reports numbers that it does not know.
//
// libseccomp 2.5.4 compiles some profiles against their plain meaning; here they mean what they say. Known are alternatives for one
// call that are not all equalities, and, without its binary tree, a first rule for a call that the architecture lacks, which lets the
// number of the next go unloaded (see beyondReference and everywhere in the tests).
//
// Three deliberate differences: ARM's private calls (from 0xf0000 up) do not count as the newest named number, x86 numbers from
// 0x80000000 to 0xbfffffff are killed with those of x32 (runc: ENOSYS), and no flag is set that the profile does not name (runc sets
// SPEC_ALLOW, which weakens speculation control, when flags are absent).
//
// # The program
//
// It loads the architecture, then the number, and searches a balanced tree of number ranges; only a call with conditions loads
// arguments. Since Linux 5.11 the kernel runs a filter at installation for every number, and answers calls that are allowed without
// a look at the arguments from a bitmap; all unconditional rules here qualify. Equal conditions share their instructions, a check
// whose outcome earlier checks imply is left out, and jumps over more than 255 instructions go by way of a copy of the return or a
// jump nearby.
//
// # Notifications
//
// With SCMP_ACT_NOTIFY the kernel returns a listener to the process that installs the filter. A second process that shares its descriptors
// and is not under the filter hands it to the runtime (see package plan), so a profile may notify of any call, execve(2) and write(2)
// included, and need not allow any for our sake: by the time that a call waits for an answer, the agent holds the listener.
//
// # The cache
//
// Cached keeps programs as files: the profile in a canonical form with the version of this compiler and the architecture, then the
// program. A file is used only if its directory and itself belong to the effective user and no one else can write them, the profile
// in it is the one asked for to the byte, its digest fits, and the program passes Check. The digest finds accidents, not attacks: who
// can write the directory is this user already, and could as well replace the runtime. Another user gains nothing by guessing a name
// first: links are not followed, and a file or directory of another owner is a miss. There is no cryptographic hash on purpose. It
// could only stand for the comparison of the whole profile, which is done anyway, and its package would cost every start more than
// the cache saves.
package seccomp
