package container

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	api "github.com/moby/moby/api/types/container"
)

// psTime bounds a run of ps.
const psTime = 10 * time.Second

// Top lists the processes of a running container as the host's ps shows them, with its options; -ef without any.
func (s *Service) Top(ctx context.Context, name, psArgs string) (api.TopResponse, error) {
	c, err := s.Get(name)
	if err != nil {
		return api.TopResponse{}, err
	}
	if !c.Alive || c.State.Phase != control.Running {
		return api.TopResponse{}, errdef.Errorf(errdef.Conflict, "container %s is not running", c.Name)
	}
	pids, err := s.rt.PIDs(c.ID)
	if err != nil {
		return api.TopResponse{}, err
	}
	if strings.TrimSpace(psArgs) == "" {
		psArgs = "-ef"
	}
	ps, err := exec.LookPath("ps")
	if err != nil {
		if psArgs == "-ef" {
			return ownList(pids), nil
		}
		return api.TopResponse{}, errdef.Errorf(errdef.Unsupported, "top: this host has no program ps to take the options %.64q", psArgs)
	}
	args := strings.Fields(psArgs)
	out, err := runPS(ctx, ps, append(args, "-q"+join(pids))) // some options are not for use with -q
	if err != nil {
		out, err = runPS(ctx, ps, args)
	}
	if err != nil {
		return api.TopResponse{}, err
	}
	return selected(out, pids)
}

func join(pids []int) string {
	var list []string
	for _, pid := range pids {
		list = append(list, strconv.Itoa(pid))
	}
	return strings.Join(list, ",")
}

func runPS(ctx context.Context, ps string, args []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, psTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, ps, args...)
	cmd.Env, cmd.WaitDelay = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}, time.Second
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		text, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n")
		return nil, errdef.Errorf(errdef.Invalid, "top: ps %.64q: %.200s", args, text)
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "top: %w", err)
	}
	return out, nil
}

// selected takes the lines of some processes from what ps printed.
func selected(out []byte, pids []int) (api.TopResponse, error) {
	lines := strings.Split(strings.TrimSuffix(string(bytes.ToValidUTF8(out, []byte("\uFFFD"))), "\n"), "\n")
	r := api.TopResponse{Titles: strings.Fields(lines[0]), Processes: [][]string{}}
	at := slices.Index(r.Titles, "PID")
	if at < 0 {
		return r, errdef.Errorf(errdef.Invalid, "top: ps shows no column PID with these options")
	}
	last := len(r.Titles) - 1
	for _, line := range lines[1:] {
		f := strings.Fields(line)
		if len(f) <= at {
			continue
		}
		pid, err := strconv.Atoi(f[at])
		if err != nil || !slices.Contains(pids, pid) {
			continue
		}
		if len(f) > last { // the last column has spaces in it
			f = append(f[:last:last], strings.Join(f[last:], " "))
		}
		r.Processes = append(r.Processes, f)
	}
	return r, nil
}

// ownList is what ps -ef would print, on a host without it.
func ownList(pids []int) api.TopResponse {
	r := api.TopResponse{Titles: strings.Fields("UID PID PPID C STIME TTY TIME CMD"), Processes: [][]string{}}
	for _, pid := range pids {
		dir := "/proc/" + strconv.Itoa(pid)
		stat, err := os.ReadFile(dir + "/stat")
		at := bytes.LastIndexByte(stat, ')')
		if err != nil || at < 0 {
			continue // it has ended
		}
		f := strings.Fields(string(stat[at+1:]))
		if len(f) < 20 {
			continue
		}
		utime, _ := strconv.ParseInt(f[11], 10, 64)
		stime, _ := strconv.ParseInt(f[12], 10, 64)
		used := time.Duration(utime+stime) * 10 * time.Millisecond
		cmd, _ := os.ReadFile(dir + "/cmdline")
		text := strings.TrimSpace(string(bytes.ReplaceAll(bytes.ToValidUTF8(cmd, []byte("\uFFFD")), []byte{0}, []byte{' '})))
		if text == "" {
			text = "[" + string(stat[bytes.IndexByte(stat, '(')+1:at]) + "]"
		}
		r.Processes = append(r.Processes, []string{
			owner(dir), strconv.Itoa(pid), f[1], "0", begun(f[19]), "?", time.Unix(0, 0).UTC().Add(used).Format("15:04:05"), text,
		})
	}
	return r
}

// owner is the name of who a process belongs to, or the number.
func owner(dir string) string {
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return "?"
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "Uid:" {
			if u, err := user.LookupId(f[2]); err == nil {
				return u.Username
			}
			return f[2]
		}
	}
	return "?"
}

// begun is the time of day at which a process began, from the 22nd field of stat: hundredths of a second after the start of the machine.
func begun(ticks string) string {
	n, _ := strconv.ParseInt(ticks, 10, 64)
	data, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return "?"
	}
	up, _, _ := strings.Cut(string(data), " ")
	seconds, _ := strconv.ParseFloat(up, 64)
	ago := time.Duration(seconds*1e9) - time.Duration(n)*10*time.Millisecond
	return time.Now().Add(-ago).Format("15:04")
}
