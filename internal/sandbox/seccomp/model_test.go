package seccomp

import (
	"math/bits"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"pgregory.net/rapid"
)

// model says what a profile means for a call, straight from the package comment and slowly. Conditional rules of one call must all
// have the same action.
func model(p *specs.LinuxSeccomp, native archID, d *Data) uint32 {
	checked, _ := parse(p, native)
	a, known := modelArch(checked, d)
	switch {
	case !known:
		return retKillThread
	case a == archX8664 && d.NR == 1<<32-1:
		return checked.deflt
	case a == archX8664 && d.NR >= x32Bit:
		return retKillThread
	case enosys(p, checked.archs, d):
		return retENOSYS
	}
	result, decided := checked.deflt, false
	for i, s := range p.Syscalls {
		if checked.calls[i].action == checked.deflt {
			continue
		}
		for _, name := range s.Names {
			matches, conditional := modelRule(&archs[a], name, s.Args, d)
			if decided || !matches {
				continue
			}
			result = checked.calls[i].action
			decided = !conditional
		}
	}
	return result
}

func modelArch(p *profile, d *Data) (archID, bool) {
	x32 := false
	for _, a := range p.archs {
		x32 = x32 || a == archX32
	}
	for _, a := range p.archs {
		if archs[a].token != d.Arch || a == archX32 {
			continue
		}
		if a == archX8664 && x32 && d.NR >= x32Bit {
			return archX32, true
		}
		return a, true
	}
	return 0, false
}

// modelRule reports whether a rule for a name matches, and whether it looks at arguments to find out.
func modelRule(a *arch, name string, args []specs.LinuxSeccompArg, d *Data) (matches, conditional bool) {
	id, ok := lookup(name)
	if !ok {
		return false, false
	}
	alternatives := [][]specs.LinuxSeccompArg{args}
	seen := map[uint]bool{}
	for _, x := range args {
		if seen[x.Index] {
			alternatives = nil
			for i := range args {
				alternatives = append(alternatives, args[i:i+1])
			}
			break
		}
		seen[x.Index] = true
	}
	conditional = true
	n, have := a.number(id)
	code := uint64(muxCalls[id])
	muxNR := a.base + nrSocket
	if code >= 128 {
		code, muxNR = code-128, a.base+nrIPC
	}
	for _, alt := range alternatives {
		if have && n == d.NR {
			hit, looked := modelArgs(a, alt, d, false)
			matches = matches || hit
			conditional = conditional && looked
		}
		if code != 0 && a.mux && muxNR == d.NR {
			hit, _ := modelArgs(a, alt, d, true)
			matches = matches || hit && uint32(d.Args[0]) == uint32(code) && (!a.wide || d.Args[0] == code)
		}
	}
	return matches, conditional
}

func modelArgs(a *arch, args []specs.LinuxSeccompArg, d *Data, muxed bool) (hit, looked bool) {
	hit = true
	for _, x := range args {
		if muxed && x.Index == 0 {
			continue
		}
		v, k, mask := d.Args[x.Index], x.Value, uint64(1<<64-1)
		if x.Op == specs.OpMaskedEqual {
			mask, k = x.Value, x.ValueTwo&x.Value
		}
		if !a.wide {
			v, k, mask = v&0xffffffff, k&0xffffffff, mask&0xffffffff
		}
		looked = looked || mask != 0
		v &= mask
		hit = hit && map[specs.LinuxSeccompOperator]bool{
			specs.OpEqualTo: v == k, specs.OpMaskedEqual: v == k, specs.OpNotEqual: v != k,
			specs.OpLessThan: v < k, specs.OpLessEqual: v <= k, specs.OpGreaterThan: v > k, specs.OpGreaterEqual: v >= k,
		}[x.Op]
	}
	return hit, looked
}

// TestRandomProfilesMeanWhatTheySay compares the programs for random profiles, on all architectures, with the model.
func TestRandomProfilesMeanWhatTheySay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		native := archID(rapid.IntRange(0, int(numArchs)-1).Draw(t, "native"))
		if native == archX32 {
			native = archX8664
		}
		action := rapid.SampledFrom([]specs.LinuxSeccompAction{specs.ActAllow, specs.ActErrno, specs.ActLog}).Draw(t, "conditional action")
		p := genProfile(t, native, []specs.LinuxSeccompAction{action})
		for i, s := range p.Syscalls { // a rule that is unconditional for a call is not for the call that multiplexes it
			for _, name := range s.Names {
				if id, ok := lookup(name); ok && muxCalls[id] != 0 {
					p.Syscalls[i].Action = action
				}
			}
		}
		f, err := compile(p, native)
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(f.Program); err != nil {
			t.Fatal(err)
		}
		checked, err := parse(p, native)
		if err != nil {
			t.Fatal(err)
		}
		tried := 0
		eachCall(checked, func(d *Data) {
			tried++
			if tried > 20000 && tried%7 != 0 {
				return
			}
			got, _ := run(f.Program, d, archs[native].big)
			if want := model(p, native, d); got != want {
				t.Fatalf("%s: arch %#x nr %#x args %#x: %s, want %s", archs[native].name, d.Arch, d.NR, d.Args, ActionName(got), ActionName(want))
			}
		})
	})
}

// beyondReference reports whether a profile has rules that libseccomp 2.5.4 is known to compile wrongly: several alternatives for one
// call that are not all equalities, unless they look at one argument and only one is no equality. Seen, all of them failing open or
// closed against the plain meaning that model and Compile agree on:
//
//   - allow if arg0 < 0, allow if arg0 < 2^64-1, else errno: gives errno for 0xffffffff.
//   - errno if arg0 != 0, errno if arg0 != 1 and arg2 != 0, else allow: allows arg0 = 3, arg2 = 0.
func beyondReference(p *specs.LinuxSeccomp) bool {
	type seen struct {
		alternatives, others int
		args                 uint
		several              bool
	}
	calls := map[string]*seen{}
	for _, s := range p.Syscalls {
		for _, name := range s.Names {
			if len(s.Args) == 0 {
				continue
			}
			c := calls[name]
			if c == nil {
				c = &seen{}
				calls[name] = c
			}
			args := uint(0)
			for _, a := range s.Args {
				if a.Op != specs.OpEqualTo && a.Op != specs.OpMaskedEqual {
					c.others++
				}
				if args&(1<<a.Index) != 0 {
					c.alternatives += len(s.Args)
				}
				args |= 1 << a.Index
			}
			c.several = c.several || bits.OnesCount(args) > 1
			c.args |= args
			c.alternatives++
		}
	}
	for _, c := range calls {
		if c.alternatives > 1 && c.others > 0 && (c.several || c.others > 1 || bits.OnesCount(c.args) > 1) {
			return true
		}
	}
	return false
}
