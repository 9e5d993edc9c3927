package seccomp

import (
	"math/bits"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// The return values of a filter: linux/seccomp.h SECCOMP_RET_*. The low 16 bits are data.
const (
	retKillThread  = 0x00000000
	retTrap        = 0x00030000
	retErrno       = 0x00050000
	retNotify      = 0x7fc00000
	retTrace       = 0x7ff00000
	retLog         = 0x7ffc0000
	retAllow       = 0x7fff0000
	retKillProcess = 0x80000000
	retActionMask  = 0xffff0000

	retENOSYS = retErrno | 38
	eperm     = 1
	// maxErrno is the largest error that the kernel returns: include/linux/err.h MAX_ERRNO.
	maxErrno = 4095
	maxTrace = 0xffff
)

// cmp is a comparison operator.
type cmp uint8

const (
	cmpNE cmp = iota
	cmpLT
	cmpLE
	cmpEQ // with a mask
	cmpGE
	cmpGT
)

// cond is a condition on one argument.
type cond struct {
	arg         uint8
	op          cmp
	masked      bool   // written as MASKED_EQ; of consequence for order only
	mask, value uint64 // mask is all ones but for MASKED_EQ; value has no bits outside it
}

// rule is an action with the conditions that must all hold, by argument; there is at most one for each.
type rule struct {
	conds  []cond
	action uint32
	entry  int // index in the profile's syscalls, for errors
}

// call is one entry of the profile's syscalls.
type call struct {
	names  []uint16 // indexes of those that exist
	action uint32
	rules  [][]cond // alternatives; nil: no conditions
}

// profile is a checked profile.
type profile struct {
	deflt  uint32
	archs  []archID // the native one first
	calls  []call
	flags  uint32
	notify bool
}

func invalid(field, format string, args ...any) error {
	return errdef.Errorf(errdef.Invalid, "linux.seccomp."+field+": "+format, args...)
}

// parse checks a profile for the native architecture.
func parse(p *specs.LinuxSeccomp, native archID) (*profile, error) {
	if p == nil {
		return nil, errdef.Errorf(errdef.Invalid, "linux.seccomp: missing")
	}
	out := &profile{}
	var err error
	if out.deflt, err = parseAction("", "default", p.DefaultAction, p.DefaultErrnoRet); err != nil {
		return nil, err
	}
	if out.archs, err = parseArchs(p.Architectures, native); err != nil {
		return nil, err
	}
	out.calls = make([]call, 0, len(p.Syscalls))
	out.notify = out.deflt == retNotify
	for i := range p.Syscalls {
		c, err := parseCall(&p.Syscalls[i], i)
		if err != nil {
			return nil, err
		}
		out.calls = append(out.calls, c)
		out.notify = out.notify || c.action == retNotify
	}
	if out.flags, err = parseFlags(p.Flags, out.notify); err != nil {
		return nil, err
	}
	return out, nil
}

// parseAction parses an action and its errno; the prefix and the word "default" or "" make up the names of the two fields.
func parseAction(prefix, word string, a specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	field, errnoField := "action", "errnoRet"
	if word != "" {
		field, errnoField = "defaultAction", "defaultErrnoRet"
	}
	var ret uint32
	limit := uint(0)
	switch a {
	case specs.ActKill, specs.ActKillThread:
		ret = retKillThread
	case specs.ActKillProcess:
		ret = retKillProcess
	case specs.ActTrap:
		ret = retTrap
	case specs.ActErrno:
		ret, limit = retErrno, maxErrno
	case specs.ActTrace:
		ret, limit = retTrace, maxTrace
	case specs.ActAllow:
		ret = retAllow
	case specs.ActLog:
		ret = retLog
	case specs.ActNotify:
		ret = retNotify
	default:
		return 0, invalid(prefix+field, "unknown action %q", string(a))
	}
	switch {
	case errno == nil && limit != 0:
		return ret | eperm, nil // the runtime-spec's default
	case errno == nil:
		return ret, nil
	case limit == 0:
		return 0, invalid(prefix+errnoField, "%s takes no errno", string(a))
	case *errno > limit:
		return 0, invalid(prefix+errnoField, "%d is above the largest, %d", *errno, limit)
	}
	return ret | uint32(*errno), nil
}

func parseArchs(names []specs.Arch, native archID) ([]archID, error) {
	if native == numArchs {
		return nil, errdef.Errorf(errdef.Unsupported, "linux.seccomp: this machine's architecture has no name in seccomp profiles")
	}
	list := make([]archID, 1, 4)
	list[0] = native
	seen := uint32(1) << native
	for i, name := range names {
		a := archNamed(string(name))
		field := "architectures[" + strconv.Itoa(i) + "]"
		if a == numArchs {
			return nil, invalid(field, "unknown architecture %q", string(name))
		}
		if archs[a].big != archs[native].big {
			return nil, invalid(field, "%s has another byte order than this machine", string(name))
		}
		if seen&(1<<a) == 0 {
			list = append(list, a)
		}
		seen |= 1 << a
	}
	return list, nil
}

func parseFlags(flags []specs.LinuxSeccompFlag, notify bool) (uint32, error) {
	var out uint32
	if notify {
		out = FlagNewListener
	}
	for i, f := range flags {
		switch f {
		case specs.LinuxSeccompFlagLog:
			out |= FlagLog
		case specs.LinuxSeccompFlagSpecAllow:
			out |= FlagSpecAllow
		case specs.LinuxSeccompFlagWaitKillableRecv:
			if notify { // without a listener it means nothing, and the kernel refuses it
				out |= FlagWaitKillable
			}
		case "SECCOMP_FILTER_FLAG_TSYNC": // there is one thread
		default:
			return 0, invalid("flags["+strconv.Itoa(i)+"]", "unknown flag %q", string(f))
		}
	}
	return out, nil
}

func parseCall(s *specs.LinuxSyscall, entry int) (call, error) {
	prefix := func() string { return "syscalls[" + strconv.Itoa(entry) + "]." }
	var c call
	if len(s.Names) == 0 {
		return c, invalid(prefix()+"names", "empty")
	}
	c.names = make([]uint16, 0, len(s.Names))
	for i, name := range s.Names {
		if name == "" {
			return c, invalid(prefix()+"names["+strconv.Itoa(i)+"]", "empty")
		}
		if id, ok := lookup(name); ok {
			c.names = append(c.names, uint16(id))
		}
	}
	var err error
	if c.action, err = parseAction("", "", s.Action, s.ErrnoRet); err != nil {
		_, err = parseAction(prefix(), "", s.Action, s.ErrnoRet)
		return c, err
	}
	if len(s.Args) == 0 {
		return c, nil
	}
	conds := make([]cond, 0, len(s.Args))
	args := 0
	for i := range s.Args {
		one, err := parseArg(&s.Args[i], entry, i)
		if err != nil {
			return c, err
		}
		conds = append(conds, one)
		args |= 1 << one.arg
	}
	if bits.OnesCount(uint(args)) == len(conds) {
		sortConds(conds)
		c.rules = [][]cond{conds}
		return c, nil
	}
	for i := range conds {
		c.rules = append(c.rules, conds[i:i+1:i+1])
	}
	return c, nil
}

func sortConds(conds []cond) {
	for i := 1; i < len(conds); i++ {
		for j := i; j > 0 && conds[j].arg < conds[j-1].arg; j-- {
			conds[j], conds[j-1] = conds[j-1], conds[j]
		}
	}
}

func parseArg(a *specs.LinuxSeccompArg, entry, i int) (cond, error) {
	prefix := func() string { return "syscalls[" + strconv.Itoa(entry) + "].args[" + strconv.Itoa(i) + "]." }
	c := cond{arg: uint8(a.Index), mask: 1<<64 - 1, value: a.Value}
	if a.Index > 5 {
		return c, invalid(prefix()+"index", "%d is above 5, the last argument", a.Index)
	}
	switch a.Op {
	case specs.OpNotEqual:
		c.op = cmpNE
	case specs.OpLessThan:
		c.op = cmpLT
	case specs.OpLessEqual:
		c.op = cmpLE
	case specs.OpEqualTo:
		c.op = cmpEQ
	case specs.OpGreaterEqual:
		c.op = cmpGE
	case specs.OpGreaterThan:
		c.op = cmpGT
	case specs.OpMaskedEqual:
		c.op, c.masked, c.mask, c.value = cmpEQ, true, a.Value, a.ValueTwo&a.Value
	default:
		return c, invalid(prefix()+"op", "unknown operator %q", string(a.Op))
	}
	return c, nil
}
