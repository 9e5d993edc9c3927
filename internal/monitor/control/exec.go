package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// ExecsDir is in the run directory: what an engine and a monitor know of programs that run in the container beside its own.
const ExecsDir = "execs"

const (
	maxExec = 8 << 20 // bytes of an Exec: more than execve(2) takes
	maxFDs  = 3
)

// An Exec is one more program for a container: execs/ID.run, which the engine writes before it asks.
type Exec struct {
	Args, Env     []string // Env is beside the container's own
	Cwd           string   // "": the container's
	TTY           bool
	Height, Width uint16
	Streams       [3]bool // without a terminal: which standard streams somebody has; the others are /dev/null
	User          *User   // nil: the container's
	FindHome      bool    // HOME is the user's, whatever the container's is
}

// A User is who a program runs as.
type User struct {
	UID, GID uint32
	More     []uint32  // groups
	Host     [2]uint32 // ids on the host: what the streams belong to
}

func execFile(run, id, kind string) (string, error) {
	if len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" {
		return "", errdef.Errorf(errdef.Invalid, "exec instance %.64q: is no id", id)
	}
	return filepath.Join(run, ExecsDir, id+kind), nil
}

func writeExecFile(run, id, kind string, v any) error {
	path, err := execFile(run, id, kind)
	if err != nil {
		return err
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, data, atomicfile.Options{Volatile: true})
}

// WriteExec keeps what is to run.
func WriteExec(run, id string, e *Exec) error {
	return writeExecFile(run, id, ".run", e)
}

// TakeExec returns what is to run, once.
func TakeExec(run, id string) (*Exec, error) {
	path, err := execFile(run, id, ".run")
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, errdef.Errorf(errdef.NotFound, "exec: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxExec))
	var e Exec
	if err == nil {
		err = json.Unmarshal(data, &e)
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.Invalid, "exec: %s: %w", path, err)
	}
	return &e, os.Remove(path)
}

// An ExecEnd is execs/ID.end, which the monitor writes: how a program ended.
type ExecEnd struct {
	ExitCode int
	Finished time.Time
}

// WriteExecEnd keeps the end of a program.
func WriteExecEnd(run, id string, e ExecEnd) error {
	return writeExecFile(run, id, ".end", e)
}

// ReadExecEnd returns how a program ended; nil if it has not.
func ReadExecEnd(run, id string) *ExecEnd {
	path, err := execFile(run, id, ".end")
	if err != nil {
		return nil
	}
	data, err := atomicfile.Read(path)
	var e ExecEnd
	if err != nil || json.Unmarshal(data, &e) != nil {
		return nil
	}
	return &e
}

// A Program is one that a monitor has started for an Exec. Who has it carries its streams; when it is closed, or its holder is killed, the monitor takes what the program prints,
// and the program goes on.
type Program struct {
	PID       int
	StartTime uint64
	Console   *os.File    // with a terminal
	Streams   [3]*os.File // without one: our ends; nil: nobody wanted it
	conn      *net.UnixConn
	rest      []byte
	once      sync.Once
}

// StartExec has the monitor of a run directory start what WriteExec has kept.
func StartExec(ctx context.Context, run, id string, e *Exec) (*Program, error) {
	c, err := Open(ctx, run)
	if err != nil {
		return nil, err
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, errdef.Errorf(errdef.Internal, "monitor: the connection is none of a unix socket")
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	p := &Program{conn: conn}
	r, fds, err := p.ask(Request{Op: "exec", Exec: id})
	if err == nil {
		err = p.take(e, fds)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	p.PID, p.StartTime = r.PID, r.StartTime
	return p, nil
}

func (p *Program) ask(q Request) (*Reply, []int, error) {
	data, err := json.Marshal(q)
	if err != nil {
		return nil, nil, err
	}
	if _, err := p.conn.Write(append(data, '\n')); err != nil {
		return nil, nil, errdef.Errorf(errdef.Unavailable, "monitor: %w", err)
	}
	buf, oob := make([]byte, MaxLine), make([]byte, unix.CmsgSpace(4*maxFDs))
	n, o, _, _, err := p.conn.ReadMsgUnix(buf, oob)
	if err != nil {
		return nil, nil, errdef.Errorf(errdef.Unavailable, "monitor: %w", err)
	}
	fds, err := rights(oob[:o])
	if err != nil {
		return nil, nil, err
	}
	p.rest = buf[:n]
	r, err := p.reply()
	if err != nil {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}
	return r, fds, err
}

func rights(oob []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "monitor: descriptors: %w", err)
	}
	var fds []int
	for i := range messages {
		more, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return nil, errdef.Errorf(errdef.Internal, "monitor: descriptors: %w", err)
		}
		fds = append(fds, more...)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return fds, nil
}

// reply reads a line.
func (p *Program) reply() (*Reply, error) {
	at := bytes.IndexByte(p.rest, '\n')
	for at < 0 {
		more := make([]byte, 4<<10)
		n, err := p.conn.Read(more)
		if err != nil || len(p.rest) > MaxLine {
			return nil, errdef.Errorf(errdef.Unavailable, "monitor: %w", errors.Join(err))
		}
		p.rest = append(p.rest, more[:n]...)
		at = bytes.IndexByte(p.rest, '\n')
	}
	var r Reply
	if err := json.Unmarshal(p.rest[:at], &r); err != nil {
		return nil, errdef.Errorf(errdef.Internal, "monitor: %w", err)
	}
	p.rest = p.rest[at+1:]
	if r.Error != "" {
		return nil, errdef.WithHint(errdef.Errorf(r.Kind, "%s", r.Error), r.Hint)
	}
	return &r, nil
}

// take gives the descriptors their places.
func (p *Program) take(e *Exec, fds []int) error {
	next := func(name string) *os.File {
		if len(fds) == 0 {
			return nil
		}
		f := os.NewFile(uintptr(fds[0]), name)
		fds = fds[1:]
		return f
	}
	if e.TTY {
		p.Console = next("terminal")
	}
	for i, wanted := range e.Streams {
		if wanted && !e.TTY {
			p.Streams[i] = next("stream")
		}
	}
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
	if len(fds) > 0 || e.TTY && p.Console == nil {
		return errdef.Errorf(errdef.Internal, "monitor: %d descriptors too many or too few", len(fds))
	}
	return nil
}

// Wait returns the exit code of the program. An error of kind Unavailable says that the monitor has gone.
func (p *Program) Wait() (int, error) {
	r, err := p.reply()
	switch {
	case err != nil:
		return -1, err
	case r.ExitCode == nil:
		return -1, errdef.Errorf(errdef.Internal, "monitor: an end without an exit code")
	}
	return *r.ExitCode, nil
}

// Close lets go of the program.
func (p *Program) Close() {
	p.once.Do(func() {
		for _, f := range append(p.Streams[:], p.Console) {
			if f != nil {
				_ = f.Close()
			}
		}
		_ = p.conn.Close()
	})
}
