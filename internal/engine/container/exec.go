package container

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/pidfd"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

const (
	execPrefix = 24              // digits of a container's id that begin the ids of its execs: they are found without an index
	execKept   = 5 * time.Minute // one that has ended is known for this long
	maxExecs   = 1000            // of a container
)

// An execRecord is execs/ID.json in the run directory of a container: it is known to all processes, and gone with the container's run. How the program ended the container's
// monitor keeps beside it (control.ExecEnd).
type execRecord struct {
	ID        string
	Container string
	Request   api.ExecCreateRequest
	Started   bool
	Ended     bool
	ExitCode  *int // nil: it runs, or nobody saw its end
	Process   identity
	Finished  time.Time `json:"-"` // as the monitor says
}

// An identity names a process for good.
type identity struct {
	PID       int
	StartTime uint64
}

func (s *Service) execDir(id string) string { return filepath.Join(s.runDir(id), control.ExecsDir) }

func (s *Service) execPath(e *execRecord) string {
	return filepath.Join(s.execDir(e.Container), e.ID+".json")
}

func (s *Service) writeExec(e *execRecord) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return atomicfile.Write(s.execPath(e), data, atomicfile.Options{Volatile: true})
}

// readExec finds an instance.
func (s *Service) readExec(id string) (*execRecord, error) {
	none := errdef.Errorf(errdef.NotFound, "no such exec instance: %.64s", id)
	if len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" {
		return nil, none
	}
	of, err := s.Resolve(id[:execPrefix])
	if err != nil {
		return nil, none
	}
	data, err := atomicfile.Read(filepath.Join(s.execDir(of), id+".json"))
	if os.IsNotExist(err) {
		return nil, none
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "exec instance %s: %w", id[:12], err)
	}
	var e execRecord
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, errdef.Errorf(errdef.Internal, "exec instance %s: %w", id[:12], err)
	}
	if end := control.ReadExecEnd(s.runDir(of), id); end != nil {
		e.Ended, e.ExitCode, e.Finished = true, &end.ExitCode, end.Finished
	}
	return &e, nil
}

// execTarget returns a container in which something can be started.
func (s *Service) execTarget(name string) (*Container, error) {
	c, err := s.Get(name)
	switch {
	case err != nil:
		return nil, err
	case !c.Alive || c.State.Phase != control.Running:
		return nil, errdef.Errorf(errdef.Conflict, "container %s is not running", c.Name)
	case s.paused(c):
		return nil, errdef.Errorf(errdef.Conflict, "container %s is paused, unpause the container before exec", c.Name)
	}
	return c, nil
}

// ExecCreate prepares a program that is to run in a container.
func (s *Service) ExecCreate(_ context.Context, name string, q api.ExecCreateRequest) (string, error) {
	c, err := s.execTarget(name)
	if err != nil {
		return "", err
	}
	switch {
	case len(q.Cmd) == 0 || q.Cmd[0] == "":
		return "", errdef.Errorf(errdef.Invalid, "no exec command specified")
	case q.Privileged:
		err := errdef.Errorf(errdef.Unsupported, "privileged: a program would get more than its container has")
		return "", errdef.WithHint(err, "give the container what it needs when it is created: --cap-add, --device")
	case q.WorkingDir != "" && !filepath.IsAbs(q.WorkingDir):
		return "", errdef.Errorf(errdef.Invalid, "working directory %.256q: wants an absolute path", q.WorkingDir)
	}
	if _, err := parseKeys(q.DetachKeys); err != nil {
		return "", err
	}
	if err := os.Mkdir(s.execDir(c.ID), 0o700); err != nil && !os.IsExist(err) {
		return "", errdef.Errorf(errdef.Unavailable, "exec: %w", err)
	}
	if err := s.forgetExecs(c.ID); err != nil {
		return "", err
	}
	e := &execRecord{ID: c.ID[:execPrefix] + newID()[execPrefix:], Container: c.ID, Request: q}
	if err := s.writeExec(e); err != nil {
		return "", err
	}
	s.event(&c.Record, execAction(events.ActionExecCreate, e), "execID", e.ID)
	return e.ID, nil
}

// forgetExecs removes instances that have ended some time ago, or never began, and bounds the number of the others.
func (s *Service) forgetExecs(id string) error {
	entries, err := os.ReadDir(s.execDir(id))
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "exec: %w", err)
	}
	left := 0
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), ".json")
		info, err := entry.Info()
		if err != nil || !ok {
			continue
		}
		if time.Since(info.ModTime()) > execKept {
			e, err := s.readExec(name)
			if err != nil || !s.execRuns(e) && time.Since(e.Finished) > execKept {
				s.forgetExec(id, name)
				continue
			}
		}
		left++
	}
	if left >= maxExecs {
		left -= s.forgetEnded(id, entries)
	}
	if left >= maxExecs {
		return errdef.Errorf(errdef.Unavailable, "exec: %d instances of the container are known: wait until some have ended", left)
	}
	return nil
}

func (s *Service) forgetExec(of, id string) {
	for _, kind := range []string{".run", ".end", ".json"} {
		_ = os.Remove(filepath.Join(s.execDir(of), id+kind))
	}
}

// forgetEnded makes room where many end within a short time: half of those that have ended, the earliest, are forgotten. Who has started one of the others may still ask how it ended.
func (s *Service) forgetEnded(of string, entries []os.DirEntry) int {
	var ended []*execRecord
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), ".json")
		if !ok {
			continue
		}
		if e, err := s.readExec(name); err == nil && e.Ended {
			ended = append(ended, e)
		}
	}
	slices.SortFunc(ended, func(a, b *execRecord) int { return a.Finished.Compare(b.Finished) })
	ended = ended[:(len(ended)+1)/2]
	for _, e := range ended {
		s.forgetExec(of, e.ID)
	}
	return len(ended)
}

// execRuns asks the kernel.
func (s *Service) execRuns(e *execRecord) bool {
	if !e.Started || e.Ended {
		return false
	}
	p, err := pidfd.OpenVerified(e.Process.PID, e.Process.StartTime)
	if err != nil {
		return false
	}
	_ = p.Close()
	return true
}

// ExecInspect tells of an instance. The exit code is nil while it runs.
func (s *Service) ExecInspect(_ context.Context, id string) (api.ExecInspectResponse, error) {
	e, err := s.readExec(id)
	if err != nil {
		return api.ExecInspectResponse{}, err
	}
	q := &e.Request
	keys, _ := parseKeys(q.DetachKeys)
	no := false
	return api.ExecInspectResponse{
		ID: e.ID, ContainerID: e.Container, Running: s.execRuns(e), ExitCode: e.ExitCode, Pid: e.Process.PID, DetachKeys: keys,
		OpenStdin: q.AttachStdin, OpenStdout: q.AttachStdout, OpenStderr: q.AttachStderr,
		ProcessConfig: &api.ExecProcessConfig{Tty: q.Tty, Entrypoint: q.Cmd[0], Arguments: q.Cmd[1:], User: q.User, Privileged: &no},
	}, nil
}
