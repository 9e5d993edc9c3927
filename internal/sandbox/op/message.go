package op

import "encoding/binary"

// SyncFile names the child's end of the SEQPACKET socket to the parent.
const SyncFile = "sync"

// Kinds of messages that the child sends: the first of three 8-byte words, least significant byte first.
const (
	MsgBarrier = 1 // number, 0: the child waits for one byte
	MsgFailed  = 2 // step from 0, errno: sent by the machine itself
	MsgNotBorn = 3 // step from 0, errno: the same, before the sealed program ran
	MsgForked  = 4 // pid, 0: the first process has made the container's, and ends
	MsgFD      = 5 // number, 0: a descriptor comes along (SCM_RIGHTS)
	MsgFetch   = 6 // number, descriptor: the parent fetches that descriptor, when it is there (pidfd_getfd(2))
)

// MsgSize is the size of a message in bytes.
const MsgSize = 24

// Message returns the bytes of a message.
func Message(kind, a uint64) []byte {
	b := make([]byte, 0, MsgSize)
	b = binary.LittleEndian.AppendUint64(b, kind)
	b = binary.LittleEndian.AppendUint64(b, a)
	return binary.LittleEndian.AppendUint64(b, 0)
}
