package runtime

import (
	"os"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// ListenFDs are sockets that a service manager opened for the container: sd_listen_fds(3). They are descriptors 3 to 2+N.
type ListenFDs struct {
	N     int
	Names string // of LISTEN_FDNAMES, "" for none
}

// ListenFromEnv returns the sockets that the environment says are for this process.
func ListenFromEnv() ListenFDs {
	pid, err := strconv.Atoi(os.Getenv("LISTEN_PID"))
	if err != nil || pid != os.Getpid() {
		return ListenFDs{}
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n <= 0 {
		return ListenFDs{}
	}
	return ListenFDs{N: n, Names: os.Getenv("LISTEN_FDNAMES")}
}

// env returns the environment that passes the sockets on to the container's process 1.
func (l ListenFDs) env() []string {
	if l.N == 0 {
		return nil
	}
	env := []string{"LISTEN_FDS=" + strconv.Itoa(l.N), "LISTEN_PID=1"}
	if l.Names != "" {
		env = append(env, "LISTEN_FDNAMES="+l.Names)
	}
	return env
}

// writePIDFile writes a pid for whoever supervises the container, who may wait for the file to appear: it appears whole.
func writePIDFile(path string, pid int) error {
	if path == "" {
		return nil
	}
	err := atomicfile.Write(path, []byte(strconv.Itoa(pid)), atomicfile.Options{Mode: 0o644, Volatile: true})
	if err != nil {
		return errdef.Errorf(errdef.KindOf(err), "write pid file %q: %w", path, err)
	}
	return nil
}
