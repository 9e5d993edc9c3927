package cgroup

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// typical is what Docker asks for with -m, --cpus and --pids-limit.
func typical() *specs.LinuxResources {
	return &specs.LinuxResources{
		Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}},
		Memory:  &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Swap: ptr(int64(64 << 20))},
		CPU:     &specs.LinuxCPU{Shares: ptr(uint64(512)), Quota: ptr(int64(50000)), Period: ptr(uint64(100000))},
		Pids:    &specs.LinuxPids{Limit: ptr(int64(100))},
	}
}

func BenchmarkDetect(b *testing.B) {
	for b.Loop() {
		if _, err := Detect(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	res := typical()
	for b.Loop() {
		if _, err := compile(V2, res); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLiveLife is all that a container costs here: detect, create, open what it joins by, delete.
func BenchmarkLiveLife(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("making cgroups needs root")
	}
	for _, c := range []struct {
		name string
		res  *specs.LinuxResources
	}{{"limits", typical()}, {"none", nil}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				l, err := Detect()
				if err != nil {
					b.Fatal(err)
				}
				id := fmt.Sprintf("bulkhead-bench-%d-%d", os.Getpid(), counter.Add(1))
				g, err := l.Open("/"+id, id, Options{})
				if err != nil {
					b.Fatal(err)
				}
				if err := g.Create(c.res); err != nil {
					b.Fatal(err)
				}
				fds, err := g.ProcsFDs()
				if err != nil {
					b.Fatal(err)
				}
				if fd, err := g.DirFD(); err != nil {
					b.Fatal(err)
				} else if fd >= 0 {
					unix.Close(fd)
				}
				closeAll(fds)
				if err := g.Delete(context.Background()); err != nil {
					b.Fatal(err)
				}
				g.Close()
			}
		})
	}
}
