// Command net measures what networks cost: throughput and latency between two containers, from the host to a container, and by published ports, with `bulkhead`, with Podman and netavark, and
// with a plain bridge that has no rules at all.
//
//	make bench-net
//	go run ./bench/net -n 5 -bin bin [-netavark DIR]
//
// All of it runs in a network namespace that this program makes, with another one beside it that stands for another host. Containers sleep; the load is made by this program, by threads that
// enter the containers' network namespaces, so that all contenders run the same code. They run in turn, A B C A B C, so that a noisy minute hits all of them, and figures are medians.
//
// Throughput is one TCP stream of 128 KiB writes; latency a byte there and back on an open connection; connect the time of a new connection, which by a published port is the time of its first
// packet's way. `run` is what a network adds to `bulkhead run --rm true`.
//
// Needs root, busybox-static, iproute2 and nftables. Podman is left out where it or netavark is missing: -netavark names a directory with the program, if it is not installed.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const inside = "BULKHEAD_BENCH_NET"

func main() {
	rounds := flag.Int("n", 5, "measured rounds")
	bin := flag.String("bin", "bin", "directory of the programs")
	netavark := flag.String("netavark", "/usr/lib/podman", "directory of netavark")
	length := flag.Duration("time", 500*time.Millisecond, "length of a stream")
	flag.Parse()
	if os.Getenv(inside) == "" {
		os.Exit(again())
	}
	if err := bench(options{*rounds, *bin, *netavark, *length}); err != nil {
		fmt.Fprintln(os.Stderr, "net:", err)
		os.Exit(1)
	}
}

type options struct {
	rounds   int
	bin      string
	netavark string
	length   time.Duration
}

// again runs this program in namespaces of its own.
func again() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "net:", err)
		return 1
	}
	return 0
}

// A contender is one way to connect two containers.
type contender struct {
	name           string
	server, client *space
	address        string // of the server
	published      int    // added to the host's ports; 0: nothing is
	end            func()
	results        map[string][]float64
}

// Ports of the server, and of the host where they are published.
const (
	streamPort, echoPort       = 5201, 5202
	streamOutside, echoOutside = 15201, 15202
)

func bench(o options) error {
	work, err := os.MkdirTemp("/var/tmp", "bn-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.Chmod(work, 0o711); err != nil {
		return err
	}
	w, err := newWires()
	if err != nil {
		return err
	}
	defer w.close()
	var list []*contender
	defer func() {
		for _, c := range list {
			c.end()
		}
	}()
	for _, make := range []func(*wires, string, options) (*contender, error){plain, bulkhead, podman} {
		c, err := make(w, work, o)
		if err != nil {
			fmt.Fprintln(os.Stderr, "left out:", err)
			continue
		}
		list = append(list, c)
	}
	for i := range o.rounds + 1 { // the first round is not counted
		for _, c := range list {
			if err := c.round(w, o, i > 0); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	report(list, o)
	return runs(work, o)
}

// round measures all of a contender once.
func (c *contender) round(w *wires, o options, counted bool) error {
	stop, err := serve(c.server)
	if err != nil {
		return err
	}
	defer stop()
	ways := []struct {
		name         string
		from         *space
		host         string
		stream, echo int
	}{
		{"container to container", c.client, c.address, streamPort, echoPort},
		{"host to container", w.host, c.address, streamPort, echoPort},
	}
	if c.published > 0 {
		ways = append(ways, ways[0], ways[0])
		ways[2].name, ways[2].from, ways[2].host, ways[2].stream, ways[2].echo = "published, from 127.0.0.1", w.host, "127.0.0.1", streamOutside+c.published, echoOutside+c.published
		ways[3].name, ways[3].from, ways[3].host, ways[3].stream, ways[3].echo = "published, from another host", w.lan, "192.0.2.1", streamOutside+c.published, echoOutside+c.published
	}
	for _, way := range ways {
		gbits, err := stream(way.from, fmt.Sprintf("%s:%d", way.host, way.stream), o.length)
		if err != nil {
			return fmt.Errorf("%s: %w", way.name, err)
		}
		trip, connect, err := echo(way.from, fmt.Sprintf("%s:%d", way.host, way.echo))
		if err != nil {
			return fmt.Errorf("%s: %w", way.name, err)
		}
		if counted {
			for what, v := range map[string]float64{"Gbit/s": gbits, "µs there and back": trip, "µs to connect": connect} {
				key := way.name + "\x00" + what
				c.results[key] = append(c.results[key], v)
			}
		}
	}
	return nil
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func report(list []*contender, o options) {
	fmt.Printf("Medians of %d rounds in turn, streams of %s.\n\n| way | figure |", o.rounds, o.length)
	for _, c := range list {
		fmt.Printf(" %s |", c.name)
	}
	fmt.Print("\n|---|---|")
	for range list {
		fmt.Print("---|")
	}
	fmt.Println()
	for _, way := range []string{"container to container", "host to container", "published, from 127.0.0.1", "published, from another host"} {
		for _, what := range []string{"Gbit/s", "µs there and back", "µs to connect"} {
			fmt.Printf("| %s | %s |", way, what)
			for _, c := range list {
				if v := c.results[way+"\x00"+what]; len(v) > 0 {
					fmt.Printf(" %.1f |", median(v))
				} else {
					fmt.Print(" - |")
				}
			}
			fmt.Println()
		}
	}
}

// runs measures what a network adds to a whole run.
func runs(work string, o options) error {
	e := newEngine(work, o.bin)
	with := map[string][]float64{}
	for i := range 3*o.rounds + 1 {
		for _, network := range []string{"none", "bridge", "n"} {
			begin := time.Now()
			if out, err := exec.Command(e[0], append(e[1:], "run", "--rm", "--network", network, "busybox", "true")...).CombinedOutput(); err != nil {
				return fmt.Errorf("run: %w: %s", err, out)
			}
			if i > 0 {
				with[network] = append(with[network], float64(time.Since(begin).Microseconds())/1000)
			}
		}
	}
	fmt.Printf("\nbulkhead run --rm true, medians of %d in turn: without a network %.1f ms, on the default network %.1f ms, on one of its own %.1f ms.\n", 3*o.rounds, median(with["none"]), median(with["bridge"]), median(with["n"]))
	return nil
}

func newEngine(work, bin string) []string {
	program, _ := filepath.Abs(filepath.Join(bin, "bulkhead"))
	return []string{program, "--root", filepath.Join(work, "b"), "--runroot", filepath.Join(work, "br")}
}
