package launch

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/forkexec"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/plan"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// RunHooks runs hooks one after the other, each with state on its standard input and with no environment but its own, and stops at the
// first that fails. pidfd is -1 for the runtime's own namespaces; else the hook's path is resolved, and the hook runs, in the mount,
// network, ipc and uts namespaces of that process, whose root directory is the host's still (runtime-spec config.md, createContainer).
// kind is the list's name in config.json: `createRuntime hook #0 "/path": exit status 1: ` begins an error, and what the hook printed, 4 KiB
// at most, ends it.
func RunHooks(ctx context.Context, kind string, hooks []specs.Hook, state []byte, pidfd int) error {
	for i := range hooks {
		if err := runHook(ctx, &hooks[i], state, pidfd); err != nil {
			return hookError(kind, i, &hooks[i], err)
		}
	}
	return nil
}

// RunEachHook is RunHooks in the runtime's own namespaces for hooks whose failure does not keep the others: it tells failed of each one.
func RunEachHook(ctx context.Context, kind string, hooks []specs.Hook, state []byte, failed func(error)) {
	for i := range hooks {
		if err := runHook(ctx, &hooks[i], state, -1); err != nil {
			failed(hookError(kind, i, &hooks[i], err))
		}
	}
}

func hookError(kind string, i int, h *specs.Hook, err error) error {
	return errdef.Errorf(errdef.KindOf(err), "%s hook #%d %q: %w", kind, i, h.Path, err)
}

func runHook(ctx context.Context, h *specs.Hook, state []byte, pidfd int) error {
	argv := h.Args
	if len(argv) == 0 {
		argv = []string{h.Path}
	}
	stdin, err := memfile(state)
	if err != nil {
		return err
	}
	defer unix.Close(stdin)
	output, err := memfile(nil)
	if err != nil {
		return err
	}
	defer unix.Close(output)
	p := plan.Host(argv, h.Env, h.Path)
	numbers := map[string]int{"stdin": stdin, "stderr": output}
	if pidfd >= 0 {
		p = plan.Inside(argv, h.Env, h.Path)
		numbers["init"] = pidfd
	}
	openFiles()
	proc, err := forkexec.Start(0, -1, 3, &forkexec.Command{Ops: p.Ops, Mems: p.Mems, Files: numbers})
	if err != nil {
		return err
	}
	if _, err := proc.Next(); err != nil {
		proc.Kill()
		var step *forkexec.StepError
		if errors.As(err, &step) {
			return errdef.Errorf(errdef.Invalid, "%s: %w", step.Op.Call, step.Errno)
		}
		return err
	}
	return awaitHook(ctx, proc, h.Timeout, output)
}

// awaitHook waits for the end of a hook, as long as it may take.
func awaitHook(ctx context.Context, proc *forkexec.Process, timeout *int, output int) error {
	limit := -1
	if timeout != nil {
		limit = *timeout
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(limit)*time.Second)
		defer cancel()
	}
	for {
		ms := 1000
		if d, ok := ctx.Deadline(); ok {
			ms = max(0, min(ms, int(time.Until(d).Milliseconds())+1))
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(proc.PIDFD), Events: unix.POLLIN}}, ms)
		if err != nil && err != unix.EINTR {
			proc.Kill()
			return wrap("poll", err)
		}
		if n > 0 {
			break
		}
		if ctx.Err() != nil {
			proc.Kill()
			return errdef.Errorf(errdef.Timeout, "killed after %d seconds%s", limit, printed(output))
		}
	}
	ws, err := proc.Wait()
	proc.Close()
	switch {
	case err != nil:
		return err
	case ws.Signaled():
		return errdef.Errorf(errdef.Internal, "ended by signal %s%s", ws.Signal(), printed(output))
	case ws.ExitStatus() != 0:
		return errdef.Errorf(errdef.Internal, "exit status %d%s", ws.ExitStatus(), printed(output))
	}
	return nil
}

// memfile makes a file in memory that holds data, to be read from its start.
func memfile(data []byte) (int, error) {
	fd, err := unix.MemfdCreate("bulkhead-hook", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, wrap("memfd_create for a hook", err)
	}
	for off := 0; off < len(data); {
		n, err := unix.Pwrite(fd, data[off:], int64(off))
		if err != nil {
			unix.Close(fd)
			return -1, wrap("write a hook's input", err)
		}
		off += n
	}
	return fd, nil
}

// printed returns what a hook printed, for an error.
func printed(fd int) string {
	buf := make([]byte, 4096)
	n, err := unix.Pread(fd, buf, 0)
	text := strings.TrimSpace(string(buf[:max(n, 0)]))
	if err != nil || text == "" {
		return ""
	}
	return ": " + strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f {
			return '?'
		}
		return r
	}, text)
}
