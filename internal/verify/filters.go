package verify

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/seccomp"
)

// decides compares the filters that were read with the one that the configuration's rules compile to. A process may have more of them: each can only refuse more.
func (c *comparison) decides() {
	rules := c.linux().Seccomp
	if rules == nil {
		return
	}
	const what = "what the filter decides"
	if !c.d.Stop {
		c.unknown("seccomp", what, "the configuration's rules", "it can be read of a process that is stopped: verify --stop")
		return
	}
	want, err := seccomp.Compile(rules)
	if err != nil {
		c.unknown("seccomp", what, "the configuration's rules", err.Error())
		return
	}
	program := want.Bytes()
	text := fmt.Sprintf("a program of %d instructions", len(want.Program))
	good := 0
	for i := range c.f.Processes {
		p := &c.f.Processes[i]
		switch {
		case p.Filters == nil:
		case slices.ContainsFunc(p.Filters, func(f []byte) bool { return bytes.Equal(f, program) }):
			good++
		default:
			found := "no filter"
			if len(p.Filters) > 0 {
				found = strconv.Itoa(len(p.Filters)) + " filters, none of which is this one"
			}
			c.add(Check{
				Area: "seccomp", What: what + ": process " + strconv.Itoa(p.PID) + " (" + p.Comm + ")", Declared: text, Found: found, Verdict: Differs, Hint: hintEntered, PID: p.PID,
			})
		}
	}
	if good > 0 {
		c.check("seccomp", what, text, text+", in force for "+strconv.Itoa(good)+" of "+strconv.Itoa(len(c.f.Processes)), true)
	}
	if c.f.FiltersErr != "" {
		c.unknown("seccomp", what, text, c.f.FiltersErr)
	}
}
