package runflags

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/spf13/pflag"
)

// parse reads a command line as `run` does.
func parse(t *testing.T, args ...string) (*Request, error) {
	t.Helper()
	var f Flags
	set := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.Register(set)
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	return f.Request(set.Args())
}

// TestLines: lines from everybody's notes, and what they ask for.
func TestLines(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"env": "# comment\nA=1\n\nB=two words\n", "profile": `{"defaultAction":"SCMP_ACT_ALLOW"}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("FROM_CALLER", "yes")
	for line, right := range map[string]func(*Request) bool{
		"--cpus=1.5 nginx":                     func(q *Request) bool { return q.Host.NanoCPUs == 15e8 && q.Image == "nginx" },
		"--cpu-shares=512 nginx":               func(q *Request) bool { return q.Host.CPUShares == 512 },
		"-m 1g --memory-swap=2g nginx":         func(q *Request) bool { return q.Host.Memory == 1<<30 && q.Host.MemorySwap == 2<<30 },
		"--memory-swap -1 -m 512k x":           func(q *Request) bool { return q.Host.MemorySwap == -1 && q.Host.Memory == 512<<10 },
		"--cap-drop=ALL --cap-add=NET_ADMIN x": func(q *Request) bool { return q.Host.CapDrop[0] == "ALL" && q.Host.CapAdd[0] == "NET_ADMIN" },
		"--security-opt seccomp=DIR/profile x": func(q *Request) bool { return q.Host.SecurityOpt[0] == `seccomp={"defaultAction":"SCMP_ACT_ALLOW"}` },
		"--security-opt apparmor=p --level compat --allow io_uring,ptrace x": func(q *Request) bool {
			return reflect.DeepEqual(q.Host.SecurityOpt, []string{"apparmor=p", "level=compat", "allow=io_uring,ptrace"})
		},
		"--read-only --tmpfs /run:size=1m x": func(q *Request) bool { return q.Host.ReadonlyRootfs && q.Host.Tmpfs["/run"] == "size=1m" },
		"--device-read-bps /dev/sda:1mb x":   func(q *Request) bool { return q.Host.BlkioDeviceReadBps[0].Rate == 1<<20 },
		"--blkio-weight 300 x":               func(q *Request) bool { return q.Host.BlkioWeight == 300 },
		"-h box --user 1000:1000 -w /w x": func(q *Request) bool {
			return q.Config.Hostname == "box" && q.Config.User == "1000:1000" && q.Config.WorkingDir == "/w"
		},
		"-e A=b -e FROM_CALLER -e NOT_SET --env-file DIR/env x": func(q *Request) bool {
			return reflect.DeepEqual(q.Config.Env, []string{"A=1", "B=two words", "A=b", "FROM_CALLER=yes", "NOT_SET"})
		},
		"-v /a:/b:ro,Z -v vol:/c -v /d x": func(q *Request) bool {
			_, own := q.Config.Volumes["/d"]
			return reflect.DeepEqual(q.Host.Binds, []string{"/a:/b:ro,Z", "vol:/c"}) && own
		},
		"--mount type=bind,src=/a,dst=/b,ro,bind-propagation=rslave x": func(q *Request) bool {
			m := q.Host.Mounts[0]
			return m.Type == mount.TypeBind && m.Source == "/a" && m.Target == "/b" && m.ReadOnly && m.BindOptions.Propagation == "rslave"
		},
		"--mount type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1777 x": func(q *Request) bool {
			return q.Host.Mounts[0].TmpfsOptions.SizeBytes == 1<<20 && q.Host.Mounts[0].TmpfsOptions.Mode == 0o1777
		},
		"--device /dev/fuse:rw --device /dev/a:/dev/b:r x": func(q *Request) bool {
			return reflect.DeepEqual(q.Host.Devices, []container.DeviceMapping{{PathOnHost: "/dev/fuse", PathInContainer: "/dev/fuse", CgroupPermissions: "rw"}, {PathOnHost: "/dev/a", PathInContainer: "/dev/b", CgroupPermissions: "r"}})
		},
		"--ulimit nofile=1024:2048 --pids-limit -1 x": func(q *Request) bool { return q.Host.Ulimits[0].Hard == 2048 && *q.Host.PidsLimit == -1 },
		"--restart on-failure:3 x":                    func(q *Request) bool { return q.Host.RestartPolicy.MaximumRetryCount == 3 },
		"-it --rm x sh -c -i": func(q *Request) bool {
			return q.Config.Tty && q.Config.OpenStdin && q.Host.AutoRemove && len(q.Config.Cmd) == 3
		},
		"--entrypoint /bin/x x a": func(q *Request) bool { return reflect.DeepEqual(q.Config.Entrypoint, []string{"/bin/x"}) },
		"--sysctl net.ipv4.ip_forward=1 -l a=b -l c x": func(q *Request) bool {
			return q.Host.Sysctls["net.ipv4.ip_forward"] == "1" && q.Config.Labels["a"] == "b" && q.Config.Labels["c"] == ""
		},
		"--network none --pid host --dns 1.1.1.1 x": func(q *Request) bool {
			return q.Host.NetworkMode == "none" && q.Host.PidMode == "host" && q.Host.DNS[0].String() == "1.1.1.1"
		},
		"--log-driver json-file --log-opt max-size=1m x": func(q *Request) bool { return q.Host.LogConfig.Config["max-size"] == "1m" },
		"--read-only --read-only-tmpfs -v /a:/tmp x": func(q *Request) bool {
			return reflect.DeepEqual(q.Host.Tmpfs, map[string]string{"/run": "mode=755", "/var/tmp": "mode=1777"})
		},
		"--secret db,src=DIR/profile,mode=440,uid=5 --secret id=key,env=FROM_CALLER,type=env,target=KEY x": func(q *Request) bool {
			a, b := q.Secrets[0], q.Secrets[1]
			return a.Name == "db" && a.Mode == 0o440 && a.UID == 5 && len(a.Data) > 10 && b.Env && b.Target == "KEY" && string(b.Data) == "yes"
		},
		"--read-only-tmpfs x":             func(q *Request) bool { return q.Host.Tmpfs == nil },
		"--health-on-failure kill x":      func(q *Request) bool { return q.Host.Annotations["bulkhead.health-on-failure"] == "kill" },
		"--health-cmd none x":             func(q *Request) bool { return q.Config.Healthcheck.Test[0] == "NONE" },
		`--entrypoint ["a","b"] x`:        func(q *Request) bool { return reflect.DeepEqual(q.Config.Entrypoint, []string{"a", "b"}) },
		"--cap-drop NET_RAW,SYS_CHROOT x": func(q *Request) bool { return len(q.Host.CapDrop) == 2 },

		"--umask 0027 --stop-timeout 0 x": func(q *Request) bool { return *q.Host.Umask == 0o27 && *q.Config.StopTimeout == 0 },
	} {
		q, err := parse(t, strings.Fields(strings.ReplaceAll(line, "DIR", dir))...)
		if err != nil || !right(q) {
			t.Errorf("%s: %+v, %v", line, q, err)
		}
	}
}

// TestWrong: what is wrong is named.
func TestWrong(t *testing.T) {
	for line, want := range map[string]string{
		"":                                      "the image",
		"--cpus x img":                          "--cpus",
		"-m lots img":                           "--memory",
		"--device a:b:c:d img":                  "--device",
		"--mount type=bind,sauce=/a,dst=/b img": "sauce",
		"--mount type=bind,src=/a img":          "target is required",
		"--ulimit nofile=a img":                 "--ulimit",
		"--restart on-failure:x img":            "--restart",
		"--sysctl a img":                        "--sysctl",
		"--dns here img":                        "--dns",
		"--add-host box img":                    "--add-host",
		"--log-driver none --log-opt a=b img":   "--log-opt",
		"--group-add keep-groups img":           "--group-add",
		"--secret db img":                       "src= or env=",
		"--secret db,src=/absent img":           "no such file",
		"--secret db,env=NOT_SET img":           "no variable NOT_SET",
		"--secret src=/etc/passwd img":          "no name",
		"--secret db,src=/etc/passwd,x=y img":   "unexpected key",
		"--tz Nowhere/Land img":                 "--tz",
		"--tz ../../../etc/passwd img":          "--tz",
		"--attach nowhere img":                  "--attach",
		"--env-file /absent img":                "--env-file",
		"--security-opt seccomp=/absent img":    "opening seccomp profile",
		"--device-read-bps sda img":             "--device-read-bps",
		"--blkio-weight-device /dev/sda:5 img":  "--blkio-weight-device",
		"--umask 9 img":                         "--umask",
	} {
		if _, err := parse(t, strings.Fields(line)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

// TestRefusalsAreNoFlags: a flag is honoured or refused, and not both.
func TestRefusalsAreNoFlags(t *testing.T) {
	var f Flags
	set := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.Register(set)
	for _, r := range Refusals() {
		if set.Lookup(r.Name) != nil || r.Short != "" && set.ShorthandLookup(r.Short) != nil || r.Why == "" {
			t.Errorf("--%s is both, or has no reason", r.Name)
		}
	}
}
