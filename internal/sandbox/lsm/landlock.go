package lsm

import (
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// LandlockAnnotation asks for Landlock, landlock(7): the runtime specification has no field for it. Its value is a list of words, separated by
// commas:
//
//	fs              what may be read, executed and written is what the specification says of the root and its mounts
//	bind=PORTS      the TCP ports that may be bound: numbers and ranges joined by "+", as 80+8000-8010, or none; port 0 stands for any free one
//	connect=PORTS   the TCP ports that may be connected to
//	scope           no abstract unix socket and no signal reaches out of the container
//	best-effort     what this kernel lacks of the above is left out, with a warning; without this word it is an error
const LandlockAnnotation = "io.bulkhead.landlock"

// MaxLandlockPorts bounds the ports of an annotation: each is a system call and a node in the kernel's tree.
const MaxLandlockPorts = 1024

// LandlockABI returns the version of the Landlock interface (landlock(7)), 0 if the kernel has none or it is turned off.
func LandlockABI() int { return sys.LandlockABI() }

// Rights are what a ruleset may handle: the fields of struct landlock_ruleset_attr.
type Rights struct{ FS, Net, Scoped uint64 }

// LandlockRights returns all rights that an ABI version knows; a newer version than 6 has the rights of 6 here.
func LandlockRights(abi int) Rights {
	var r Rights
	if abi >= 1 { // kernel 5.13
		r.FS = unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1
	}
	if abi >= 2 { // 5.19
		r.FS |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 { // 6.2
		r.FS |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 4 { // 6.7
		r.Net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if abi >= 5 { // 6.10
		r.FS |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 6 { // 6.12
		r.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	return r
}

// Sets of file system rights. A rule for a file takes those of LandlockFile only.
const (
	LandlockRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_EXECUTE
	LandlockWrite = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_REFER |
		unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_MAKE_DIR |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	LandlockMakeDevice = unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK
	LandlockFile       = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// A LandlockRequest is what an annotation asks for.
type LandlockRequest struct {
	FS, Scope  bool
	BestEffort bool
	Bind       Ports
	Connect    Ports
}

// Ports are TCP ports that stay allowed; with Asked and an empty list none is.
type Ports struct {
	Asked bool
	List  []uint16 // sorted, each once
}

// A Ruleset is what one kernel can do of a request.
type Ruleset struct {
	Rights        // handled: denied but where a rule allows
	Bind, Connect []uint16
}

// ParseLandlock reads the value of LandlockAnnotation; an empty one is refused. Errors are of kind Invalid and name the word.
func ParseLandlock(value string) (*LandlockRequest, error) {
	r := &LandlockRequest{}
	bad := func(word, why string) (*LandlockRequest, error) {
		err := errdef.Errorf(errdef.Invalid, "annotations[%q]: %.64q: %s", LandlockAnnotation, word, why)
		return nil, errdef.WithHint(err, "words are fs, scope, bind=PORTS, connect=PORTS, best-effort; PORTS is none or, as an example, 80+8000-8010")
	}
	for _, word := range strings.Split(value, ",") {
		key, ports, given := strings.Cut(word, "=")
		var flag *bool
		var list *Ports
		switch key {
		case "fs":
			flag = &r.FS
		case "scope":
			flag = &r.Scope
		case "best-effort":
			flag = &r.BestEffort
		case "bind":
			list = &r.Bind
		case "connect":
			list = &r.Connect
		default:
			return bad(word, "not a word of Landlock's")
		}
		switch {
		case flag != nil && given:
			return bad(word, "takes no value")
		case list != nil && !given:
			return bad(word, "wants ports")
		case flag != nil && *flag || list != nil && list.Asked:
			return bad(word, "given twice")
		}
		if flag != nil {
			*flag = true
			continue
		}
		var why string
		if *list, why = parsePorts(ports); why != "" {
			return bad(word, why)
		}
	}
	if !r.FS && !r.Scope && !r.Bind.Asked && !r.Connect.Asked {
		return bad(value, "asks for nothing")
	}
	return r, nil
}

// parsePorts reads "none" or numbers and ranges joined by plus signs, and says what is wrong with them.
func parsePorts(text string) (Ports, string) {
	p := Ports{Asked: true}
	if text == "none" {
		return p, ""
	}
	for _, part := range strings.Split(text, "+") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		if err != nil || err2 != nil || from > to {
			return p, "wants none, or numbers and ranges up to 65535 joined by +"
		}
		if to-from >= MaxLandlockPorts || len(p.List) > MaxLandlockPorts {
			return p, "more than " + strconv.Itoa(MaxLandlockPorts) + " ports"
		}
		for n := from; n <= to; n++ {
			p.List = append(p.List, uint16(n))
		}
	}
	slices.Sort(p.List)
	p.List = slices.Compact(p.List)
	if len(p.List) > MaxLandlockPorts {
		return p, "more than " + strconv.Itoa(MaxLandlockPorts) + " ports"
	}
	return p, ""
}

// For makes the ruleset for a kernel of some ABI version. What the kernel lacks is an error of kind Unsupported that names all of it; with
// BestEffort it is left out and returned as sentences. The result is nil when nothing is left.
func (r *LandlockRequest) For(abi int) (*Ruleset, []string, error) {
	all := LandlockRights(abi)
	s := &Ruleset{}
	var missing []string
	lacks := func(what string, want int, kernel string) bool {
		if abi < want {
			missing = append(missing, what+" (Landlock ABI "+strconv.Itoa(want)+", kernel "+kernel+"; here: "+strconv.Itoa(abi)+")")
		}
		return abi < want
	}
	if r.FS && !lacks("fs: what may be read, executed and written is not restricted", 1, "5.13") {
		s.FS = all.FS
		lacks("fs: cutting short a file that may not be written is not restricted", 3, "6.2")
	}
	if r.Bind.Asked && !lacks("bind: ports are not restricted", 4, "6.7") {
		s.Net |= unix.LANDLOCK_ACCESS_NET_BIND_TCP
		s.Bind = r.Bind.List
	}
	if r.Connect.Asked && !lacks("connect: ports are not restricted", 4, "6.7") {
		s.Net |= unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		s.Connect = r.Connect.List
	}
	if r.Scope && !lacks("scope: abstract sockets and signals are not scoped", 6, "6.12") {
		s.Scoped = all.Scoped
	}
	if len(missing) > 0 && !r.BestEffort {
		err := errdef.Errorf(errdef.Unsupported, "annotations[%q]: %s", LandlockAnnotation, strings.Join(missing, "; "))
		return nil, nil, errdef.WithHint(err, "a newer kernel, lsm=landlock,... on the kernel's command line, or add best-effort to the annotation to do without")
	}
	if s.Rights == (Rights{}) {
		return nil, missing, nil
	}
	return s, missing, nil
}

// Scopes returns the ruleset for a process that joins a container. A domain of Landlock is inherited, never joined, so the process gets one of its
// own with the same rules, and a scope would cut it off from the container's first process. Where a namespace of the container's alone holds
// signals (pid) or abstract sockets (network) in anyway, the process has that scope from the namespace.
func (s *Ruleset) Scopes(ownPID, ownNetwork bool) *Ruleset {
	if s == nil {
		return nil
	}
	joined := *s
	if ownPID {
		joined.Scoped &^= unix.LANDLOCK_SCOPE_SIGNAL
	}
	if ownNetwork {
		joined.Scoped &^= unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
	}
	if joined.Rights == (Rights{}) {
		return nil
	}
	return &joined
}

// Size returns the bytes of struct landlock_ruleset_attr that the kernel must know for this ruleset.
func (r Rights) Size() int {
	switch {
	case r.Scoped != 0:
		return 24
	case r.Net != 0:
		return 16
	}
	return 8
}

// String names the rights, short.
func (r Rights) String() string {
	var parts []string
	if r.FS != 0 {
		parts = append(parts, "fs: all rights of this kernel")
	}
	if r.Net&unix.LANDLOCK_ACCESS_NET_BIND_TCP != 0 {
		parts = append(parts, "BIND_TCP")
	}
	if r.Net&unix.LANDLOCK_ACCESS_NET_CONNECT_TCP != 0 {
		parts = append(parts, "CONNECT_TCP")
	}
	if r.Scoped&unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET != 0 {
		parts = append(parts, "SCOPE_ABSTRACT_UNIX_SOCKET")
	}
	if r.Scoped&unix.LANDLOCK_SCOPE_SIGNAL != 0 {
		parts = append(parts, "SCOPE_SIGNAL")
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
