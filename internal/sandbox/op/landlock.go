package op

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// LandlockRuleset is landlock_create_ruleset(2) of the first size bytes of struct landlock_ruleset_attr: the rights that are denied but where a
// rule allows them.
func LandlockRuleset(fs, net, scoped uint64, size int, text string) Op {
	var b []byte
	for _, v := range []uint64{fs, net, scoped} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return call("landlock_create_ruleset", unix.SYS_LANDLOCK_CREATE_RULESET, Data(string(b[:size]), text), Num(size), Num(0))
}

// LandlockPath allows rights on a file, or on a directory and all below it: landlock_add_rule(2), LANDLOCK_RULE_PATH_BENEATH. The mem is made by
// LandlockPathMem, and the descriptor's number has been put into it.
func LandlockPath(ruleset Slot, mem string, text string) Op {
	attr := Addr(mem, 0)
	attr.Text = text
	return call("landlock_add_rule", unix.SYS_LANDLOCK_ADD_RULE, At(ruleset), Flag(unix.LANDLOCK_RULE_PATH_BENEATH, "PATH_BENEATH"), attr, Num(0))
}

// LandlockFD is where in a LandlockPathMem the descriptor stands, in bytes.
const LandlockFD = 8

// LandlockPathMem is a struct landlock_path_beneath_attr.
func LandlockPathMem(mem string, rights uint64) Mem {
	return Mem{Name: mem, Size: 16, Init: binary.LittleEndian.AppendUint64(nil, rights)}
}

// LandlockPort allows rights on a TCP port: landlock_add_rule(2), LANDLOCK_RULE_NET_PORT (ABI 4, kernel 6.7).
func LandlockPort(ruleset Slot, rights uint64, port uint16, text string) Op {
	const netPort = uint32(2) // enum landlock_rule_type in linux/landlock.h
	b := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, rights), uint64(port))
	return call("landlock_add_rule", unix.SYS_LANDLOCK_ADD_RULE, At(ruleset), Flag(netPort, "NET_PORT"), Data(string(b), text), Num(0))
}

// LandlockRestrict is landlock_restrict_self(2).
func LandlockRestrict(ruleset Arg) Op {
	return call("landlock_restrict_self", unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, Num(0))
}
