// Package control is what an engine and a container's monitor say to each other: the monitor's orders, the container's state on disk, and the protocol of the
// monitor's socket.
//
// Files. In the container's directory (Dir), which outlives the machine: state.json, written by the monitor alone, and the log. In its run directory (Run), on a
// tmpfs: monitor.json, the orders; lock, which the monitor holds for as long as it lives (flock(2)); control, the socket; config.json and rootfs, the bundle.
//
// The socket. A client sends one Request as a line of JSON and gets one Reply as a line. After Attach the connection carries what the client types, as it is, towards
// the monitor, and frames the other way: a byte for the stream (1 output, 2 error output; a terminal has only output), three bytes of zero, four of length, big
// endian, and the bytes: Docker's form of a hijacked connection. The end of the container's output is a frame of stream 0 without bytes. A connection that ends without one
// is of a client that did not read for too long, or of a monitor that was killed.
//
// With exec, the first reply carries descriptors: the program's terminal, or our ends of its pipes (package unix, rights), and a second reply its exit code. See Exec.
//
// The state says what the monitor knew last. Whether it is still true is the kernel's to say: a monitor lives if its lock is held.
package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"golang.org/x/sys/unix"
)

// Orders are what an engine tells a monitor.
type Orders struct {
	ID  string
	Dir string // of the container's files
	Run string // of the bundle and the socket

	RuntimeRoot  string // state directory of the runtime
	Systemd      bool
	Rootless     bool
	SeccompCache string

	Owner      [2]uint32 // ids on the host of the program: what its streams belong to, so that it can open /dev/stdout again
	Devices    []Device  // to be made in DevicesDir, under their numbers in this list
	TTY        bool
	OpenStdin  bool
	StdinOnce  bool
	Height     uint16
	Width      uint16
	Log        Log
	Restart    Restart
	AutoRemove []string        // directories to remove when the container has ended for good; nil: it stays
	Project    *Project        // whose limit goes with the container that removes itself; nil: none
	Health     *Check          // nil: none
	Network    *network.Orders // nil: the network namespace is not the container's own
	Events     string          // directory of the record of events; "": none
	// Attributes are what events say of the container: name, image and labels.
	Attributes map[string]string
	Clients    int // sockets from ClientsFD on
	Mounts     int // descriptors of detached mounts after those, for MountsDir, each under its number
	Held       int // and of locks, which last as long as the monitor

	// SELinux: the labels of the program's streams and of the devices, "": as they come; and what is given back with AutoRemove.
	Label, DeviceLabel string
	Categories         Categories
}

// Categories are those of the level that a container has claimed in a directory of package selinux/category; an empty Level: none.
type Categories struct{ Dir, Level string }

// Project is one of a file system that has quotas.
type Project struct {
	Dir string // on that file system
	ID  uint32
}

// Device is a device node.
type Device struct {
	Mode         uint32 // of the file: S_IFCHR or S_IFBLK, and permissions (mknod(2))
	Major, Minor uint32
	UID, GID     uint32 // on the host
}

// Restart is a restart policy.
type Restart struct {
	Policy string // "", no, always, on-failure, unless-stopped
	Most   int    // on-failure; 0: no limit
}

// Phase is where a container is in its life.
type Phase string

// The phases, as Docker names them.
const (
	Created    Phase = "created"
	Running    Phase = "running"
	Restarting Phase = "restarting"
	Exited     Phase = "exited"
)

// A State is state.json.
type State struct {
	Phase      Phase
	PID        int
	Started    time.Time
	Finished   time.Time
	ExitCode   int
	OOMKilled  bool
	Error      string
	Restarts   int
	Monitor    int    // pid of the monitor
	ByHand     bool   // stopped by somebody, so that unless-stopped leaves it
	StopSignal string `json:",omitempty"`
	// Fleeting is of a container that removes itself: its end has no need to be on the disk.
	Fleeting bool `json:"-"`
}

// A Request is what a client wants.
type Request struct {
	Op      string // exec, execresize, attach, resize, stopping, wait, change, keep (do not remove the container when it ends), connect, disconnect
	Exec    string // exec, execresize: the id of the program
	Stdin   bool   // attach: the connection carries input
	Height  uint16
	Width   uint16
	Restart *Restart        // change: the policy from now on; nil: as it is
	Name    string          // change: of the container from now on; "": as it is
	Claim   [2]string       // change: with a name, the claim to remove with the container instead of an old one: old and new path
	Network *network.Wanted // connect; disconnect: only its id counts
}

// A Reply is the answer.
type Reply struct {
	Error string
	Ends  bool        // attach: the end of the output has a frame, of EndStream; a connection that ends without it was let go of
	Kind  errdef.Kind // of the error
	Hint  string
	State *State // wait: how it ended

	// exec: the first reply, with which the descriptors come, says what runs, the second how it ended.
	PID       int    `json:",omitempty"`
	StartTime uint64 `json:",omitempty"`
	ExitCode  *int   `json:",omitempty"`
}

// A Ready is what a monitor writes once into the pipe that it was started with.
type Ready struct {
	Error string
	Hint  string
	Kind  errdef.Kind
	PID   int
}

// Names of files.
const (
	StateFile  = "state.json"
	OrdersFile = "monitor.json"
	LockFile   = "lock"
	SocketFile = "control"
	Rootfs     = "rootfs"
	SharedFile = "shared"  // in the directory of a volume without a name that another container has got: a container that removes itself leaves it
	MountsDir  = "mounts"  // what the engine has mounted for the container besides its root, in the mount namespace of the monitor
	DevicesDir = "devices" // a mount of the monitor's: device nodes that belong to the container's ids
)

// Descriptors of a monitor. It inherits the first, and the others come through that: it is started while its orders are still being written.
const (
	ReadyFD  = 3 // socket: a byte Handed with the others comes through it, and one Ready goes back
	RootFD   = 4 // detached mount of the root file system
	LayersFD = 5 // lock of the image's layers
	StartFD  = 6 // the container's directory, locked by who starts it: until the monitor has told that it is ready
	// ClientsFD is the first of Orders.Clients sockets, each with a request (attach, wait) in it that is served before the program runs.
	ClientsFD = 7
)

// EndStream is the stream of the frame that ends the output.
const EndStream = 0

// Bytes that come with the descriptors from RootFD on, of which a message carries MostFDs at most: Handed with the last ones. The end of the socket without it is the end of the monitor.
const (
	Handed  = 1
	Handing = 2
	MostFDs = 250 // SCM_MAX_FD of the kernel is 253
)

// MaxLine bounds a request and a reply, in bytes.
const MaxLine = 64 << 10

// ReadState returns what a monitor wrote last; of kind NotFound if none ever did.
func ReadState(dir string) (*State, error) {
	data, err := atomicfile.Read(filepath.Join(dir, StateFile))
	if os.IsNotExist(err) {
		return nil, errdef.Errorf(errdef.NotFound, "state of the container: %w", err)
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "state of the container: %w", err)
	}
	var s State
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, errdef.Errorf(errdef.Internal, "state of the container: %s: %w", filepath.Join(dir, StateFile), err)
	}
	return &s, nil
}

// WriteState keeps a state. One that ends something is on the disk when it returns. On a full disk the old one is overwritten in its place, which needs no room.
func WriteState(dir string, s *State) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, StateFile)
	err = atomicfile.Write(path, data, atomicfile.Options{Volatile: s.Phase != Exited || s.Fleeting})
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		if e := overwrite(path, data, s.Phase == Exited); e != nil {
			return errdef.Errorf(errdef.Unavailable, "state of the container: %w", e)
		}
		return nil
	}
	return err
}

// overwrite puts data in the place of what a file has, by one write(2).
func overwrite(path string, data []byte, sync bool) error {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if pad := int(st.Size()) - len(data); pad > 0 { // what is shorter would leave the end of the old one, if we were killed before a truncation
		data = append(data, bytes.Repeat([]byte{' '}, pad)...)
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	if sync {
		return f.Sync()
	}
	return nil
}

// Alive reports whether a monitor holds the lock of a run directory.
func Alive(run string) bool {
	fd, err := unix.Open(filepath.Join(run, LockFile), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	free, err := atomicfile.TryFlock(fd, atomicfile.Shared)
	return err == nil && !free
}

// A Conn is a connection to a monitor after its request was answered.
type Conn struct {
	net.Conn
	Reply Reply
	r     *bufio.Reader
}

// Dial sends a request to the monitor of a run directory. Errors are of kind Unavailable if there is none.
func Dial(ctx context.Context, run string, q Request) (*Conn, error) {
	conn, err := Open(ctx, run)
	if err != nil {
		return nil, err
	}
	c, err := Ask(conn, q)
	if err != nil {
		_ = conn.Close()
	}
	return c, err
}

// Open connects to the monitor of a run directory.
func Open(ctx context.Context, run string) (net.Conn, error) {
	dir, err := unix.Open(run, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "monitor: %w", err)
	}
	defer unix.Close(dir)
	var d net.Dialer // sun_path takes 107 bytes, and a descriptor any path (unix(7))
	conn, err := d.DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(dir)+"/"+SocketFile)
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "monitor: %w", err)
	}
	return conn, nil
}

// Ask sends a request over a connection that is there.
func Ask(conn net.Conn, q Request) (*Conn, error) {
	data, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(append(data, '\n')); err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "monitor: %w", err)
	}
	c := &Conn{Conn: conn, r: bufio.NewReaderSize(conn, MaxLine)}
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "monitor: %w", err)
	}
	if err := json.Unmarshal(line, &c.Reply); err != nil {
		return nil, errdef.Errorf(errdef.Internal, "monitor: %w", err)
	}
	if c.Reply.Error != "" {
		kind := c.Reply.Kind
		if kind == errdef.Internal { // the zero value: nothing was said of it
			kind = errdef.Conflict
		}
		return nil, errdef.WithHint(errdef.Errorf(kind, "%s", c.Reply.Error), c.Reply.Hint)
	}
	return c, nil
}

// Read reads what comes after the reply.
func (c *Conn) Read(b []byte) (int, error) { return c.r.Read(b) }

// Copy splits the frames of an attached connection into output and error output, until its end.
func (c *Conn) Copy(out, problems io.Writer) error {
	var head [8]byte
	for {
		_, err := io.ReadFull(c.r, head[:])
		switch {
		case err == nil && head[0] == EndStream, err == io.EOF && !c.Reply.Ends:
			return nil
		case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET) && c.Reply.Ends:
			return errCut
		case err != nil:
			return errdef.Errorf(errdef.Unavailable, "monitor: %w", err)
		}
		w := out
		if head[0] == 2 {
			w = problems
		}
		_, err = io.CopyN(w, c.r, int64(binary.BigEndian.Uint32(head[4:])))
		if err == io.EOF || errors.Is(err, unix.ECONNRESET) && c.Reply.Ends {
			return errCut
		}
		if err != nil {
			return err
		}
	}
}

var errCut = errdef.Errorf(errdef.Unavailable, "the output ends here for this reader, which took nothing for too long, or the container's monitor was killed: the log has what was printed")

// HungUp reports whether the other side of a connection has closed it, both halves: poll(2) says so without being asked for anything.
func HungUp(conn net.Conn) bool {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Control(func(fd uintptr) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd)}}, 0)
		gone = err == nil && n > 0
	})
	return err != nil || gone
}

// Frame writes one frame.
func Frame(w io.Writer, stream byte, data []byte) error {
	b := make([]byte, 8+len(data))
	b[0] = stream
	binary.BigEndian.PutUint32(b[4:], uint32(len(data)))
	copy(b[8:], data)
	_, err := w.Write(b)
	return err
}
