package system

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/api/types/system"
	"golang.org/x/sys/unix"
)

// read returns a small file of the kernel's, "" if it cannot be read.
func read(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// uname returns release and machine.
func uname() (release, machine string) {
	var u unix.Utsname
	_ = unix.Uname(&u)
	return unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:])
}

// Version returns what speaks.
func (s *Service) Version(context.Context) (system.VersionResponse, error) {
	release, _ := uname()
	v := system.VersionResponse{
		Platform: system.PlatformInfo{Name: "Bulkhead Engine"}, Version: s.o.Product, APIVersion: s.o.API, MinAPIVersion: s.o.MinimumAPI,
		Os: runtime.GOOS, Arch: runtime.GOARCH, GoVersion: runtime.Version(), KernelVersion: release,
	}
	details := map[string]string{
		"ApiVersion": v.APIVersion, "Arch": v.Arch, "GoVersion": v.GoVersion, "KernelVersion": v.KernelVersion, "MinAPIVersion": v.MinAPIVersion, "Os": v.Os,
	}
	v.Components = []system.ComponentVersion{
		{Name: "Engine", Version: v.Version, Details: details},
		{Name: "bulkhead-runtime", Version: v.Version},
	}
	return v, nil
}

// Info returns what the engine is, and on what host.
func (s *Service) Info(ctx context.Context) (system.Info, error) {
	release, machine := uname()
	out := system.Info{
		ID: s.id(), Driver: "overlay2", DriverStatus: [][2]string{{"Backing Filesystem", backing(s.o.Root)}, {"Supports d_type", "true"}, {"ID-mapped layers", "true"}},
		Plugins:       system.PluginsInfo{Volume: []string{"local"}, Network: []string{"bridge", "host", "none"}, Log: []string{"journald", "json-file", "none", "syslog"}},
		NGoroutines:   runtime.NumGoroutine(),
		SystemTime:    time.Now().Format(time.RFC3339Nano),
		NCPU:          runtime.NumCPU(),
		LoggingDriver: "json-file", CgroupDriver: "cgroupfs", KernelVersion: release, Architecture: machine, OperatingSystem: osName(), OSType: "linux",
		IndexServerAddress: "https://index.docker.io/v1/", RegistryConfig: &registry.ServiceConfig{IndexConfigs: map[string]*registry.IndexInfo{}},
		DockerRootDir: s.o.Root, ServerVersion: s.o.Product, Labels: []string{},
		Runtimes: map[string]system.RuntimeWithStatus{"bulkhead": {Runtime: system.Runtime{Path: "bulkhead-runtime"}}}, DefaultRuntime: "bulkhead",
		Swarm: swarm.Info{LocalNodeState: swarm.LocalNodeStateInactive}, LiveRestoreEnabled: true, Isolation: container.IsolationDefault, InitBinary: "built in",
		SecurityOptions: securityOptions(), CDISpecDirs: []string{},
		HTTPProxy: proxy("HTTP_PROXY"), HTTPSProxy: proxy("HTTPS_PROXY"), NoProxy: os.Getenv("NO_PROXY"),
	}
	out.Name, _ = os.Hostname()
	out.OSVersion = osRelease("VERSION_ID")
	var memory unix.Sysinfo_t
	if unix.Sysinfo(&memory) == nil {
		out.MemTotal = int64(memory.Totalram) * int64(memory.Unit)
	}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		out.NFd = len(entries)
	}
	out.IPv4Forwarding = read("/proc/sys/net/ipv4/ip_forward") == "1"
	limits(&out)
	return out, s.count(ctx, &out)
}

// count counts containers and images.
func (s *Service) count(ctx context.Context, out *system.Info) error {
	list, err := s.containers(ctx, false)
	if err != nil {
		return err
	}
	out.Containers = len(list)
	for i := range list {
		switch list[i].State {
		case container.StateRunning, container.StateRestarting:
			out.ContainersRunning++
		case container.StatePaused:
			out.ContainersPaused++
		default:
			out.ContainersStopped++
		}
	}
	images, err := s.o.Images.List(ctx, nil, false)
	out.Images = len(images)
	return err
}

// id is the same for the same directory on the same machine.
func (s *Service) id() string {
	sum := sha256.Sum256([]byte(read("/etc/machine-id") + "\x00" + s.o.Root))
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// proxy is an address of one, without the password that may be in it.
func proxy(name string) string {
	text := os.Getenv(name)
	if text == "" {
		text = os.Getenv(strings.ToLower(name))
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if at := strings.LastIndexByte(rest, '@'); ok && at >= 0 {
		return scheme + "://xxxxx:xxxxx@" + rest[at+1:]
	}
	return text
}

func osRelease(key string) string {
	for _, line := range strings.Split(read("/etc/os-release"), "\n") {
		if value, ok := strings.CutPrefix(line, key+"="); ok {
			return strings.Trim(value, `"'`)
		}
	}
	return ""
}

func osName() string {
	if name := osRelease("PRETTY_NAME"); name != "" {
		return name
	}
	return "Linux"
}

// backing names the file system of a directory.
func backing(path string) string {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return "<unknown>"
	}
	names := map[int64]string{
		unix.EXT4_SUPER_MAGIC: "extfs", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
		unix.F2FS_SUPER_MAGIC: "f2fs", 0x2fc12fc1: "zfs", unix.NFS_SUPER_MAGIC: "nfs",
	}
	if name := names[int64(st.Type)]; name != "" {
		return name
	}
	return "<unknown>"
}
