// Command images measures what it costs to pull an image, with `bulkhead`, Podman and skopeo, from one registry on loopback.
//
//	make bench-image
//	go run ./bench/images -n 5 -bulkhead bin/bulkhead
//
// Two images: big, one layer of a gigabyte in 50,000 files, and layers, a hundred layers of a megabyte each. Every pull is cold: into a directory that was not there.
// What is compared differs, and the table says it: bulkhead and Podman (overlay driver) verify, store and unpack; skopeo copies into an OCI layout and unpacks nothing, so it
// is the floor of the network and the disk. bulkhead keeps the archives as well, Podman does not. Programs run in turn, A B C A B C; figures are medians, with user+sys of all
// their processes and the largest resident size of any of them. `again` pulls what is there already.
//
// Needs root, and Debian's docker-registry, podman and skopeo.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/test/registryserver"
)

func main() {
	rounds := flag.Int("n", 3, "measured rounds")
	program := flag.String("bulkhead", "bin/bulkhead", "the program")
	only := flag.String("only", "big,layers", "which images")
	flag.Parse()
	if err := run(*rounds, *program, *only); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

// An object is an image that is pulled.
type object struct {
	name                 string
	layers, files, bytes int
}

var objects = []object{{"big", 1, 50_000, 1 << 30}, {"layers", 100, 100, 1 << 20}}

func run(rounds int, program, only string) error {
	program, err := filepath.Abs(program)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("/var/tmp", "bench-") // Podman takes a runroot of 50 characters at most
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	dir := filepath.Join(work, "registry")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	server, err := registryserver.Start(dir, "")
	if err != nil {
		return err
	}
	defer server.Close()
	host := server.Address
	for _, o := range objects {
		if !slices.Contains(strings.Split(only, ","), o.name) {
			continue
		}
		if err := publish(work, host, o, filepath.Join(filepath.Dir(program), "bulkhead-unpack")); err != nil {
			return fmt.Errorf("make %s: %w", o.name, err)
		}
		if err := compare(work, host+"/"+o.name+":1", o, program, rounds); err != nil {
			return err
		}
	}
	return nil
}

// publish makes an image and pushes it.
func publish(work, host string, o object, unpacker string) error {
	root := filepath.Join(work, "maker")
	defer os.RemoveAll(root)
	s, err := image.Open(image.Options{Root: root, Unpacker: unpacker})
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, name := context.Background(), host+"/"+o.name+":1"
	dir := filepath.Join(work, "layers")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	args := []string{"run", "./bench/layerimage", "-files", fmt.Sprint(o.files), "-bytes", fmt.Sprint(o.bytes), "-layers", fmt.Sprint(o.layers), "-dir", dir}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("layerimage: %w: %s", err, out)
	}
	var img *image.Image
	for i := range o.layers {
		f, err := os.Open(filepath.Join(dir, fmt.Sprintf("%d.tar", i)))
		if err != nil {
			return err
		}
		if img == nil {
			img, err = s.Import(ctx, f, name, image.ImportOptions{})
		} else {
			img, err = s.Build(ctx, image.BuildOptions{Name: name, Base: img, Layer: f, Config: img.Config.Image, Action: "commit"})
		}
		_ = f.Close()
		if err != nil {
			return err
		}
	}
	_, err = s.Push(ctx, name, image.PushOptions{})
	return err
}

// A sample is one measurement.
type sample struct {
	wall, cpu time.Duration
	rss       int64 // KiB
}

func measure(args []string) (sample, error) {
	cmd := exec.Command(args[0], args[1:]...)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	s := sample{wall: time.Since(start)}
	if err != nil {
		return s, fmt.Errorf("%v: %w: %s", args, err, out)
	}
	ru := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	s.cpu, s.rss = time.Duration(ru.Utime.Nano()+ru.Stime.Nano()), ru.Maxrss
	return s, nil
}

// compare pulls with all programs in turn.
func compare(work, name string, o object, program string, rounds int) error {
	order := []string{"bulkhead", "podman", "skopeo", "bulkhead again", "podman again"}
	all := map[string][]sample{}
	for range rounds {
		dir := filepath.Join(work, "pull")
		podman := []string{"podman", "--root", filepath.Join(dir, "podman"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "overlay", "pull", "-q", "--tls-verify=false", name}
		ours := []string{program, "--root", filepath.Join(dir, "bulkhead"), "pull", "-q", name}
		commands := map[string][]string{
			"bulkhead": ours, "bulkhead again": ours, "podman": podman, "podman again": podman,
			"skopeo": {"skopeo", "copy", "-q", "--src-tls-verify=false", "docker://" + name, "oci:" + filepath.Join(dir, "skopeo") + ":1"},
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		for _, what := range order {
			syscall.Sync()
			s, err := measure(commands[what])
			if err != nil {
				return err
			}
			all[what] = append(all[what], s)
		}
		_, _ = exec.Command("podman", "--root", filepath.Join(dir, "podman"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "overlay", "rmi", "-af").CombinedOutput()
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	fmt.Printf("%s: %d layers, %d files and %d bytes in each; %d rounds\n", o.name, o.layers, o.files, o.bytes, rounds)
	fmt.Printf("  %-16s %10s %10s %10s %10s\n", "", "wall", "of podman", "user+sys", "peak MiB")
	for _, what := range order {
		peer := "podman"
		if strings.HasSuffix(what, "again") {
			peer = "podman again"
		}
		m, p := median(all[what]), median(all[peer])
		fmt.Printf("  %-16s %10s %10.2f %10s %10.0f\n", what, m.wall.Round(time.Millisecond), float64(m.wall)/float64(p.wall), m.cpu.Round(time.Millisecond), float64(m.rss)/1024)
	}
	return nil
}

// median takes each figure for itself.
func median(list []sample) sample {
	pick := func(of func(sample) int64) int64 {
		var v []int64
		for _, s := range list {
			v = append(v, of(s))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	return sample{
		wall: time.Duration(pick(func(s sample) int64 { return int64(s.wall) })),
		cpu:  time.Duration(pick(func(s sample) int64 { return int64(s.cpu) })),
		rss:  pick(func(s sample) int64 { return s.rss }),
	}
}
