package procfs

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Stat is what is used of /proc/PID/stat: proc_pid_stat(5).
type Stat struct {
	PID       int
	Comm      string // field 2 without its parentheses; any byte may be in it
	State     byte   // field 3: R S D Z T t X I
	PPID      int    // field 4
	PGID      int    // field 5
	SID       int    // field 6
	Threads   int    // field 20
	StartTime uint64 // field 22: clock ticks since boot; with the pid it names a process for good
}

// Dead reports whether the process has ended, reaped or not. The state is that of the first thread alone: it is a zombie too when that one
// called exit(2) and others go on.
func (s Stat) Dead() bool {
	return (s.State == 'Z' || s.State == 'X' || s.State == 'x') && s.Threads <= 1
}

// ParseStat parses /proc/PID/stat. The name is everything between the first "(" and the last ")", for a process may call itself
// "a) R 1". Errors are of kind Internal.
func ParseStat(b []byte) (Stat, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 1 || end < open {
		return Stat{}, errdef.Errorf(errdef.Internal, "parse stat: no name in %.64q", b)
	}
	s := Stat{Comm: string(b[open+1 : end])}
	var err error
	if s.PID, err = strconv.Atoi(string(bytes.TrimSpace(b[:open]))); err != nil {
		return Stat{}, errdef.Errorf(errdef.Internal, "parse stat: pid in %.64q", b)
	}
	const first, threads, last = 3, 20, 22 // numbers of the fields as the manual counts
	fields := bytes.Fields(b[end+1:])
	if len(fields) < last-first+1 || len(fields[0]) != 1 {
		return Stat{}, errdef.Errorf(errdef.Internal, "parse stat: %d fields after the name", len(fields))
	}
	s.State = fields[0][0]
	for i, to := range []*int{&s.PPID, &s.PGID, &s.SID} {
		if *to, err = strconv.Atoi(string(fields[1+i])); err != nil {
			return Stat{}, errdef.Errorf(errdef.Internal, "parse stat: field %d is %.32q", first+1+i, fields[1+i])
		}
	}
	if s.Threads, err = strconv.Atoi(string(fields[threads-first])); err != nil {
		return Stat{}, errdef.Errorf(errdef.Internal, "parse stat: field %d is %.32q", threads, fields[threads-first])
	}
	if s.StartTime, err = strconv.ParseUint(string(fields[last-first]), 10, 64); err != nil {
		return Stat{}, errdef.Errorf(errdef.Internal, "parse stat: field %d is %.32q", last, fields[last-first])
	}
	return s, nil
}

// Status is what is used of /proc/PID/status: proc_pid_status(5).
type Status struct {
	Name       string // as the file escapes it
	State      byte
	TGID, PPID int
	TracerPID  int
	UID, GID   [4]uint32 // real, effective, saved, file system
	Groups     []uint32
	NSPid      []int // pid in each pid namespace, ours first, the process's own last
	Threads    int

	CapInheritable, CapPermitted, CapEffective, CapBounding, CapAmbient uint64

	NoNewPrivs     bool
	Seccomp        int // 0 off, 1 strict, 2 filter
	SeccompFilters int // kernel 5.9
	Umask          uint32
	SpecStoreByp   string // Speculation_Store_Bypass
}

// ParseStatus parses /proc/PID/status. Lines that are not known are passed over, lines that are missing leave the zero value. A line
// that is known and malformed is an error of kind Internal.
func ParseStatus(b []byte) (Status, error) {
	var s Status
	for line := range strings.Lines(string(b)) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		if !ok {
			continue
		}
		if err := s.set(key, strings.TrimSpace(value)); err != nil {
			return Status{}, errdef.Errorf(errdef.Internal, "parse status: line %s: %w", key, err)
		}
	}
	return s, nil
}

func (s *Status) set(key, value string) (err error) {
	hex := func(to *uint64) { *to, err = strconv.ParseUint(value, 16, 64) }
	num := func(to *int) { *to, err = strconv.Atoi(value) }
	switch key {
	case "Name":
		s.Name = value
	case "State":
		if value != "" {
			s.State = value[0]
		}
	case "Tgid":
		num(&s.TGID)
	case "PPid":
		num(&s.PPID)
	case "TracerPid":
		num(&s.TracerPID)
	case "Uid":
		err = four(value, &s.UID)
	case "Gid":
		err = four(value, &s.GID)
	case "Groups":
		s.Groups, err = numbers[uint32](value)
	case "NSpid":
		s.NSPid, err = numbers[int](value)
	case "Threads":
		num(&s.Threads)
	case "CapInh":
		hex(&s.CapInheritable)
	case "CapPrm":
		hex(&s.CapPermitted)
	case "CapEff":
		hex(&s.CapEffective)
	case "CapBnd":
		hex(&s.CapBounding)
	case "CapAmb":
		hex(&s.CapAmbient)
	case "NoNewPrivs":
		s.NoNewPrivs = value == "1"
	case "Seccomp":
		num(&s.Seccomp)
	case "Seccomp_filters":
		num(&s.SeccompFilters)
	case "Umask":
		var u uint64
		u, err = strconv.ParseUint(value, 8, 32)
		s.Umask = uint32(u)
	case "Speculation_Store_Bypass":
		s.SpecStoreByp = value
	}
	return err
}

func four(value string, to *[4]uint32) error {
	n, err := numbers[uint32](value)
	if err != nil {
		return err
	}
	if len(n) != 4 {
		return errdef.Errorf(errdef.Internal, "%d numbers, not 4", len(n))
	}
	copy(to[:], n)
	return nil
}

func numbers[T uint32 | int](value string) ([]T, error) {
	var list []T
	for _, f := range strings.Fields(value) {
		n, err := strconv.ParseUint(f, 10, 32)
		if err != nil {
			return nil, err
		}
		list = append(list, T(n))
	}
	return list, nil
}

// A Cgroup is a line of /proc/PID/cgroup: cgroups(7).
type Cgroup struct {
	Hierarchy   int      // 0 is version 2
	Controllers []string // empty for version 2; "name=systemd" for a named hierarchy
	Path        string   // from the root of the reader's cgroup namespace
}

// ParseCgroups parses /proc/PID/cgroup. Errors are of kind Internal.
func ParseCgroups(b []byte) ([]Cgroup, error) {
	var list []Cgroup
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		id, rest, ok := strings.Cut(line, ":")
		controllers, path, ok2 := strings.Cut(rest, ":")
		n, err := strconv.Atoi(id)
		if !ok || !ok2 || err != nil || !strings.HasPrefix(path, "/") {
			return nil, errdef.Errorf(errdef.Internal, "parse cgroup: line %.128q", line)
		}
		c := Cgroup{Hierarchy: n, Path: strings.TrimSuffix(path, " (deleted)")}
		if controllers != "" {
			c.Controllers = strings.Split(controllers, ",")
		}
		list = append(list, c)
	}
	return list, nil
}
