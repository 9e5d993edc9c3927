// Package wire is what host and guest of the VM lab say to each other: frames over one virtio-serial port, from the guest to the host, and
// the plan that the host writes to the guest's second disk.
//
//	f, err := wire.Read(r) // host
//	err := wire.Write(w, wire.Frame{Kind: wire.Output, Job: 1, Data: line}) // guest
//
// A guest runs tests that attack a runtime, so that the host trusts no length in a frame beyond MaxData.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// Kind says what a frame holds.
type Kind byte

// The kinds. A guest sends Ready, then Start, any number of Output, and Exit for each job, then File for each result, then Done.
const (
	Ready  Kind = 'r' // the guest has found its plan
	Start  Kind = 's' // a job begins
	Output Kind = 'o' // bytes of a job's standard output and error
	Exit   Kind = 'e' // a job has ended: an Ended as JSON
	File   Kind = 'f' // a piece of a result file: name, a zero byte, bytes
	Done   Kind = 'd' // nothing follows
)

// MaxData bounds the data of a frame, in bytes.
const MaxData = 64 << 10

// A Frame is one message.
type Frame struct {
	Kind Kind
	Job  uint32 // index into Plan.Jobs
	Data []byte
}

// header is the kind, the job and the length of the data, the numbers with the least significant byte first.
const header = 9

// Write writes one frame with one call of w.Write.
func Write(w io.Writer, f Frame) error {
	if len(f.Data) > MaxData {
		return errors.New("frame: too long")
	}
	b := make([]byte, 0, header+len(f.Data))
	b = append(b, byte(f.Kind))
	b = binary.LittleEndian.AppendUint32(b, f.Job)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.Data)))
	_, err := w.Write(append(b, f.Data...))
	return err
}

// Read reads one frame. At a clean end the error is io.EOF.
func Read(r io.Reader) (Frame, error) {
	var h [header]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{Kind: Kind(h[0]), Job: binary.LittleEndian.Uint32(h[1:])}
	n := binary.LittleEndian.Uint32(h[5:])
	if n > MaxData {
		return Frame{}, fmt.Errorf("frame: %d bytes of data, at most %d", n, MaxData)
	}
	f.Data = make([]byte, n)
	if _, err := io.ReadFull(r, f.Data); err != nil {
		return Frame{}, fmt.Errorf("frame: cut off: %w", err)
	}
	return f, nil
}

// A Plan is what a guest does: its jobs, one after the other.
type Plan struct {
	Init string // small or systemd
	LSM  string // none, apparmor, selinux
	Jobs []Job
}

// PlanFile is where a plan of that name stands on the second disk, whose root is at dir.
func PlanFile(dir, name string) string { return filepath.Join(dir, ".lab", "plan-"+name+".json") }

// A Job is a command.
type Job struct {
	Name    string
	Argv    []string
	Dir     string
	Env     []string // KEY=VALUE, on top of what every job gets
	User    string   // root or user
	Timeout time.Duration
}

// Ended says how a job ended.
type Ended struct {
	Code    int           // exit status, or 128 and the signal's number
	Reason  string        // not empty: it did not run, or was killed
	Elapsed time.Duration // by the guest's clock
}
