// Command engine measures what it costs to run containers with `bulkhead`, beside Podman, Docker and bare runc.
//
//	make bench-engine
//	go run ./bench/engine -n 20 -bin bin
//
// All run `true` of one root file system (busybox), without a network: bulkhead with no flags, so hardened, of an image, on an overlay, with a log; Podman and Docker with theirs; runc on the
// bare directory, with the configuration of `runc spec`. Programs run in turn, A B C D A B C D, so that a noisy minute hits all of them. Figures are medians. user+sys is of the command and of all
// processes that it leaves behind (this program is their reaper); what Docker's daemon does cannot be seen so, and is not in it.
//
// Then: exec in a container that runs; the memory of ten idle containers, as the proportional set size of what the engine keeps running for each (bulkhead-monitor, conmon); 200 containers, four at
// a time; `ps` with 500 containers.
//
// Needs root and busybox-static. Peers that are missing or do not work are left out, and the table says why.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulkhead-engine/bulkhead/bench/dockerbundle"
	"golang.org/x/sys/unix"
)

func main() {
	rounds := flag.Int("n", 20, "measured rounds")
	bin := flag.String("bin", "bin", "directory of the programs")
	many := flag.Int("many", 200, "containers that are run four at a time")
	listed := flag.Int("listed", 500, "containers that ps lists")
	flag.Parse()
	if err := bench(*rounds, *bin, *many, *listed); err != nil {
		fmt.Fprintln(os.Stderr, "engine:", err)
		os.Exit(1)
	}
}

// runDir is a directory on a tmpfs, as all of them have by default.
func runDir(work string) string { return filepath.Join("/run", filepath.Base(work)) }

// mountRun makes it one: not every machine that is lent for a measurement has a tmpfs at /run.
func mountRun(dir string) error {
	if err := os.Mkdir(dir, 0o711); err != nil {
		return err
	}
	return unix.Mount("bench", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=711")
}

// A peer is an engine that is measured.
type peer struct {
	name   string
	argv   []string // the command and its global options
	run    []string // a container to its end
	keep   []string // one that stays, by the name NAME; nil: not an engine
	remove []string // and goes
	runs   []sample
	exec   []sample
}

// settle is for what the one before has left to do: Docker's daemon ends a container after the command has ended.
const settle = 200 * time.Millisecond

type sample struct{ wall, cpu time.Duration }

func bench(rounds int, bin string, many, listed int) error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	work, err := os.MkdirTemp("/var/tmp", "be-") // Podman takes a runroot of 50 characters at most
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := mountRun(runDir(work)); err != nil {
		return err
	}
	defer os.RemoveAll(runDir(work))
	defer func() { _ = unix.Unmount(runDir(work), unix.MNT_DETACH) }()
	if err := os.Chmod(work, 0o711); err != nil {
		return err
	}
	peers, end, err := prepare(work, bin)
	if err != nil {
		return err
	}
	defer end()
	for round := range rounds + 2 {
		for _, p := range peers {
			time.Sleep(settle)
			s, err := measure(append(p.argv, p.run...))
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			if round >= 2 { // the first ones warm up
				p.runs = append(p.runs, s)
			}
		}
	}
	ours := peers[0]
	for _, p := range peers {
		if p.keep != nil {
			if err := p.joined(rounds); err != nil {
				return err
			}
		}
	}
	print(peers)
	for _, p := range peers {
		if p.keep != nil {
			if err := p.idle(); err != nil {
				return err
			}
		}
	}
	ours.many(many)
	return ours.list(listed)
}

// measure runs a command, and waits for what it leaves behind.
func measure(argv []string) (sample, error) {
	known := children()
	cmd := exec.Command(argv[0], argv[1:]...)
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	s := sample{wall: time.Since(begin)}
	if err != nil {
		return s, fmt.Errorf("%v: %w: %s", argv, err, out)
	}
	s.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		var ru unix.Rusage
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, &ru)
		switch {
		case pid > 0:
			s.cpu += time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
		case err != nil, len(children()) <= len(known):
			return s, nil
		default:
			time.Sleep(time.Millisecond)
		}
	}
	return s, nil
}

// children are the processes that this one has to reap.
func children() []string {
	var out []string
	files, _ := filepath.Glob("/proc/self/task/*/children")
	for _, f := range files {
		b, _ := os.ReadFile(f)
		out = append(out, strings.Fields(string(b))...)
	}
	return out
}

// command runs a command of a peer that has to work.
func (p *peer) command(args ...string) (string, error) {
	cmd := exec.Command(p.argv[0], append(slices.Clone(p.argv[1:]), args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %v: %w: %s", p.name, args, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// start starts a container that stays.
func (p *peer) start(name string) error {
	var args []string
	for _, a := range p.keep {
		args = append(args, strings.ReplaceAll(a, "NAME", name))
	}
	_, err := p.command(args...)
	return err
}

// joined measures exec.
func (p *peer) joined(rounds int) error {
	if err := p.start("joined"); err != nil {
		return err
	}
	for range rounds {
		time.Sleep(settle / 4)
		s, err := measure(append(slices.Clone(p.argv), "exec", "joined", "true"))
		if err != nil {
			return err
		}
		p.exec = append(p.exec, s)
	}
	_, err := p.command(append(slices.Clone(p.remove), "joined")...)
	return err
}

func median(list []sample, of func(sample) time.Duration) float64 {
	var all []time.Duration
	for _, s := range list {
		all = append(all, of(s))
	}
	slices.Sort(all)
	if len(all) == 0 {
		return 0
	}
	return float64(all[len(all)/2].Microseconds()) / 1000
}

func wall(s sample) time.Duration { return s.wall }
func cpu(s sample) time.Duration  { return s.cpu }

// print writes the table, each figure with what it is of ours.
func print(peers []*peer) {
	ours := peers[0]
	fmt.Printf("| program | run ms | user+sys | ours to it | exec ms | user+sys | ours to it |\n|---|---|---|---|---|---|---|\n")
	for _, p := range peers {
		fmt.Printf("| %s | %.1f | %.1f | %.2f, %.2f |", p.name, median(p.runs, wall), median(p.runs, cpu),
			median(ours.runs, wall)/median(p.runs, wall), median(ours.runs, cpu)/median(p.runs, cpu))
		if p.exec == nil {
			fmt.Printf(" | | |\n")
			continue
		}
		fmt.Printf(" %.1f | %.1f | %.2f, %.2f |\n", median(p.exec, wall), median(p.exec, cpu), median(ours.exec, wall)/median(p.exec, wall), median(ours.exec, cpu)/median(p.exec, cpu))
	}
}

// idleTime is how long containers do nothing before their memory is measured: what gives back what its start has used has done so.
const idleTime = 3 * time.Second

// idle says what ten containers that do nothing keep of the engine's in memory.
func (p *peer) idle() error {
	const n = 10
	for i := range n {
		if err := p.start(fmt.Sprintf("idle-%d", i)); err != nil {
			return err
		}
	}
	time.Sleep(idleTime)
	total, found := 0, 0
	for _, pid := range children() {
		comm, _ := os.ReadFile("/proc/" + pid + "/comm")
		if name := strings.TrimSpace(string(comm)); name != "bulkhead-monito" && name != "conmon" {
			continue
		}
		b, _ := os.ReadFile("/proc/" + pid + "/smaps_rollup")
		for line := range strings.Lines(string(b)) {
			var kib int
			if _, err := fmt.Sscanf(line, "Pss: %d kB", &kib); err == nil {
				total, found = total+kib, found+1
			}
		}
	}
	if found > 0 {
		fmt.Printf("\n%s: %d KiB (PSS) per idle container, of %d\n", p.name, total/found, found)
	}
	for i := range n {
		if _, err := p.command(append(slices.Clone(p.remove), fmt.Sprintf("idle-%d", i))...); err != nil {
			return err
		}
	}
	return nil
}

// many runs containers four at a time.
func (p *peer) many(n int) {
	var failed atomic.Int32
	var all sync.WaitGroup
	free := make(chan struct{}, 4)
	begin := time.Now()
	for range n {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			if _, err := p.command(p.run...); err != nil {
				failed.Add(1)
				fmt.Fprintln(os.Stderr, err)
			}
		})
	}
	all.Wait()
	took := time.Since(begin)
	fmt.Printf("\n%s: %d containers, 4 at a time: %d failed, %.1f s, %.1f ms each\n", p.name, n, failed.Load(), took.Seconds(), took.Seconds()*1000/float64(n))
}

// list measures ps with many containers.
func (p *peer) list(n int) error {
	for i := range n {
		if _, err := p.command("create", "--network", "none", "--name", fmt.Sprintf("listed-%d", i), "busybox", "true"); err != nil {
			return err
		}
	}
	for _, words := range [][]string{{"ps"}, {"ps", "-a"}} {
		var runs []sample
		for range 10 {
			s, err := measure(append(slices.Clone(p.argv), words...))
			if err != nil {
				return err
			}
			runs = append(runs, s)
		}
		fmt.Printf("\n%s: %s with %d containers that do not run: %.1f ms, user+sys %.1f ms\n", p.name, strings.Join(words, " "), n, median(runs, wall), median(runs, cpu))
	}
	ids, err := p.command("ps", "-aq")
	if err != nil {
		return err
	}
	_, err = p.command(append([]string{"rm"}, strings.Fields(ids)...)...)
	return err
}

// prepare makes the root file system and the engines' images. Ours comes first.
func prepare(work, bin string) (peers []*peer, end func(), err error) {
	root := filepath.Join(work, "rootfs")
	if err := dockerbundle.Rootfs(root); err != nil {
		return nil, nil, err
	}
	archive := filepath.Join(work, "busybox.tar")
	if out, err := exec.Command("tar", "-C", root, "-cf", archive, ".").CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("tar: %w: %s", err, out)
	}
	program, err := filepath.Abs(filepath.Join(bin, "bulkhead"))
	if err != nil {
		return nil, nil, err
	}
	ours := &peer{
		name: "bulkhead run --rm", argv: []string{program, "--root", filepath.Join(work, "b"), "--runroot", filepath.Join(runDir(work), "b")},
		run: []string{"run", "--rm", "--network", "none", "busybox", "true"}, keep: []string{"run", "-d", "--network", "none", "--name", "NAME", "busybox", "sleep", "100000"},
		remove: []string{"rm", "-f"},
	}
	if _, err := ours.command("import", archive, "busybox"); err != nil {
		return nil, nil, err
	}
	peers = append(peers, ours)
	ends := []func(){}
	for _, more := range []func(work, archive string) (*peer, func(), error){runc, podman, docker} {
		p, end, err := more(work, archive)
		if err == nil {
			_, err = measure(append(slices.Clone(p.argv), p.run...))
		}
		if end != nil {
			ends = append(ends, end)
		}
		if err != nil {
			fmt.Println("left out:", err)
			continue
		}
		peers = append(peers, p)
	}
	return peers, func() {
		for _, f := range ends {
			f()
		}
	}, nil
}
