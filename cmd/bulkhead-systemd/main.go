// Command bulkhead-systemd speaks D-Bus to systemd for bulkhead-runtime, which starts it on demand: a transient scope or slice for a
// container, its properties, its end. The D-Bus library costs a start-up time and a size that the runtime does not want to carry.
//
// It reads requests from standard input and answers on standard output. Both are lines "key=value" ended by an empty line:
//
//	op=start                what to do: start, release, set, stop, attach
//	manager=system          or user
//	unit=bulkhead-1.scope   a scope or a slice
//	slice=system.slice      where the unit belongs (start)
//	prop=232:CPUWeight:t:100    a property: least version of systemd, name, D-Bus type, value (start, release, set)
//	variant=KillMode='mixed'    a property in D-Bus's text form (start)
//	pid=123                 a process (attach), and
//	sub=/a                  the cgroup below the unit's own to put it in
//
// The answer is ok=1, with cgroup=PATH and version=N for a start, or error=TEXT with kind=N, an errdef.Kind, and
// perhaps hint=TEXT. Types of properties are t
// (uint64), b, s, ay (hexadecimal) and a(ss) ("PATH ACCESS,PATH ACCESS").
//
// A scope needs a process. At start the helper puts one of its own there, which waits on a pipe, and ends it at release or at its own end:
// so when the runtime dies before there is a container, systemd removes the empty scope.
//
// It trusts its standard input, which is its parent's, and has the caller's rights only.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// deadline bounds one request. The runtime waits a little longer.
const deadline = 30 * time.Second

func main() {
	if len(os.Args) == 2 && os.Args[1] == holdArg {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the helper closes it, or dies
		return
	}
	if err := serve(os.Stdin, os.Stdout, &server{}); err != nil {
		fmt.Fprintln(os.Stderr, "bulkhead-systemd:", err)
		os.Exit(1)
	}
}

// serve answers requests until the end of input.
func serve(in io.Reader, out io.Writer, s *server) error {
	defer s.close()
	r := bufio.NewReader(in)
	for {
		req, err := readRequest(r)
		if err == io.EOF {
			return nil
		}
		var answer map[string]string
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), deadline)
			answer, err = s.do(ctx, req)
			cancel()
		}
		if err != nil {
			answer = map[string]string{"error": oneLine(err.Error()), "kind": strconv.Itoa(int(errdef.KindOf(err)))}
			if hint := errdef.Hint(err); hint != "" {
				answer["hint"] = oneLine(hint)
			}
		}
		var b strings.Builder
		for key, val := range answer {
			b.WriteString(key + "=" + val + "\n")
		}
		if _, err := io.WriteString(out, b.String()+"\n"); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}

// oneLine makes a text fit for a line of the answer.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, text)
}
