package engine

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// either reads a file of a cgroup from inside: the first is version 1's.
func either(v1, v2 string) string {
	return "cat /sys/fs/cgroup/" + v1 + " 2>/dev/null || cat /sys/fs/cgroup/" + v2
}

var limitsLessons = []lesson{
	{"--cpus=1.5", either("cpu/cpu.cfs_quota_us", "cpu.max"), "150000|150000 100000", group("cpu", "cpu.cfs_quota_us", "cpu.max"), "150000|150000 100000"},
	{"--cpu-period=50000 --cpu-quota=25000", either("cpu/cpu.cfs_period_us", "cpu.max"), "50000|25000 50000", group("cpu", "cpu.cfs_quota_us", "cpu.max"), "25000|25000 50000"},
	{"--cpu-shares=512", either("cpu/cpu.shares", "cpu.weight"), "512|20|59", group("cpu", "cpu.shares", "cpu.weight"), "512|20|59"},
	{"-c 2048", "", "", group("cpu", "cpu.shares", "cpu.weight"), "2048|79|174"},
	{"--cpuset-cpus=0", "grep Cpus_allowed_list /proc/self/status", "Cpus_allowed_list:\t0", field("Cpus_allowed_list"), "0"},
	{"--cpuset-mems=0", "grep Mems_allowed_list /proc/self/status", "Mems_allowed_list:\t0", field("Mems_allowed_list"), "0"},
	{"--memory=1g --memory-swap=2g", either("memory/memory.limit_in_bytes", "memory.max"), "1073741824", group("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"), "2147483648|1073741824"},
	{"-m 512m", "", "", group("memory", "memory.limit_in_bytes", "memory.max"), "536870912"},
	{"--memory=1g --memory-reservation=512m", "", "", group("memory", "memory.soft_limit_in_bytes", "memory.low"), "536870912"},
	{"--pids-limit=100", either("pids/pids.max", "pids.max"), "100", group("pids", "pids.max", "pids.max"), "100"},
	{"--pids-limit=20", "i=0; while [ $i -lt 30 ]; do sleep 1000 & i=$((i+1)); done 2>&1 | head -n 1", ".*(Resource temporarily unavailable|can't fork).*", nil, ""},
	{"", "", "", group("pids", "pids.max", "pids.max"), "2048"},
	{"--ulimit nofile=64:128", "ulimit -Sn; ulimit -Hn", "64\n128", rlimit("Max open files"), "64 128"},
	{"--ulimit core=0 --ulimit nproc=512", "ulimit -c", "0", rlimit("Max processes"), "512 512"},
	{"--device-read-bps DISK:1mb", "", "", group("blkio", "blkio.throttle.read_bps_device", "io.max"), "DISK (rbps=)?1048576.*"},
	{"--device-write-bps DISK:2mb", "", "", group("blkio", "blkio.throttle.write_bps_device", "io.max"), "DISK .*2097152.*"},
	{"--device-read-iops DISK:300", "", "", group("blkio", "blkio.throttle.read_iops_device", "io.max"), "DISK .*300.*"},
	{"--device-write-iops DISK:100", "", "", group("blkio", "blkio.throttle.write_iops_device", "io.max"), "DISK .*100.*"},
	{"--blkio-weight=300 WEIGHT", "", "", group("blkio", "blkio.bfq.weight", "io.weight"), "300|default 300"},
	{"--oom-score-adj=500", "cat /proc/self/oom_score_adj", "500", proc("oom_score_adj"), "500"},
	{"--shm-size=8m", "df -k /dev/shm | tail -n 1", "shm +8192 .*", mounted("/dev/shm"), ".*size=8192k.*"},
	{"--cgroup-parent=bulkhead-lesson", "", "", func(s *seen) string { return s.read("cgroup") }, `(?s:.*:/bulkhead-lesson/[0-9a-f]{64}\n.*)`},
}

var privilegesLessons = []lesson{
	{"", "id -u; grep CapBnd /proc/self/status", "0\nCapBnd:\t00000000000004fb", field("CapEff"), "00000000000004fb"},
	{"--cap-drop=ALL --cap-add=NET_BIND_SERVICE", "grep CapBnd /proc/self/status", "CapBnd:\t0000000000000400", field("CapEff"), "0000000000000400"},
	{"--cap-drop=NET_RAW", "grep CapBnd /proc/self/status", "CapBnd:\t00000000000004fb", field("CapBnd"), "00000000000004fb"},
	{"--cap-drop=CHOWN", "touch /tmp/x; chown 1 /tmp/x 2>&1", ".*not permitted", field("CapBnd"), "00000000000004fa"},
	{"--cap-add=SYS_PTRACE", "", "", field("CapBnd"), "00000000000804fb"},
	{"--user 1000:1000", "id", "uid=1000 gid=1000( groups=1000)?", field("CapEff"), "0000000000000000"},
	{"--user www", "id -u; id -g; echo $HOME", "33\n33\n/data", field("CapPrm"), "0000000000000000"},
	{"--user 1000:1000 --group-add 44 --group-add www", "id -G", "1000 33 44|1000 44 33", field("Groups"), "[0-9]+ [0-9]+"},
	{"--security-opt no-new-privileges", "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1", field("NoNewPrivs"), "1"},
	{"--security-opt no-new-privileges=false", "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t0", field("NoNewPrivs"), "0"},
	{"--security-opt seccomp=unconfined", "grep Seccomp: /proc/self/status", "Seccomp:\t0", field("Seccomp"), "0"},
	{"--security-opt seccomp=DIR/profile.json", "mkdir /tmp/x 2>&1", ".*No anode", field("Seccomp"), "2"},
	{"--security-opt label=disable", "echo up", "up", field("Seccomp"), "2"},
	{"--security-opt mask=/proc/uptime", "cat /proc/uptime", "", mounted("/proc/uptime"), ".*devtmpfs.*|.* tmpfs .*"},
	{"", "cat /proc/kallsyms", "", mounted("/proc/kallsyms"), ".*devtmpfs.*|.* tmpfs .*"},
	{"--security-opt unmask=/proc/kallsyms", "head -n 1 /proc/kallsyms", "[0-9a-f]+ .*", mounted("/proc/kallsyms"), "nothing"},
	{"--security-opt systempaths=unconfined", "grep -c ' /proc/' /proc/self/mountinfo", "0", mounted("/proc/sys"), "nothing"},
	{"--level untrusted", "touch /x 2>&1; touch /tmp/x && echo scratch", ".*Read-only file system\nscratch", field("CapBnd"), "0000000000000000"},
	{"--level compat", "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t0", field("CapBnd"), "00000000a80425fb"},
	{"--privileged", "mount -t tmpfs none /tmp && echo mounted; cat /proc/self/uid_map | tr -s ' '", "mounted\n 0 0 4294967295", field("Seccomp"), "0"},
	{"--umask 0027", "umask", "0027", field("Umask"), "0027"},
}

var namespacesLessons = []lesson{
	{"--hostname box", "hostname; cat /etc/hostname; echo $HOSTNAME; grep -c box /etc/hosts", "box\nbox\nbox\n1", shared("uts"), "its own"},
	{"--hostname box --domainname example.org", "cat /proc/sys/kernel/domainname", "example.org", nil, ""},
	{"--uts host", "", "", shared("uts"), "the host's"},
	{"", "ls /proc | grep -c '^[0-9]'", "[1-5]", shared("pid"), "its own"},
	{"--pid host", "cat /proc/1/environ 2>&1; kill -9 1 2>&1; [ $$ -gt 10 ] && echo sees", ".*ermission denied\n.*not permitted\nsees", shared("pid"), "the host's"},
	{"", "", "", shared("ipc"), "its own"},
	{"--ipc host", "", "", shared("ipc"), "the host's"},
	{"--ipc none", "ls /dev/shm 2>&1", ".*No such file.*", mounted("/dev/shm"), "nothing"},
	{"--ipc shareable", "", "", shared("ipc"), "its own"},
	{"", "cat /proc/self/uid_map | tr -s ' '", " 0 1[0-9]{9} 65536", shared("user"), "its own"},
	{"--userns host", "cat /proc/self/uid_map | tr -s ' '", " 0 0 4294967295", shared("user"), "the host's"},
	{"--userns=host", "grep CapBnd /proc/self/status", "CapBnd:\t0000000000000400", field("Uid"), "0\t0\t0\t0"},
	{"--cgroupns host", "cat /proc/self/cgroup", ".*:/bulkhead/[0-9a-f]{64}.*", shared("cgroup"), "the host's"},
	{"--cgroupns private", "", "", shared("cgroup"), "its own"},
	{"", "ls /sys/class/net", "lo", shared("net"), "its own"},
	{"--network host", "", "", shared("net"), "the host's"},
	{"--sysctl net.ipv4.ip_forward=1 --sysctl kernel.shmmax=1000000", "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax", "1\n1000000", nil, ""},
}

var filesLessons = []lesson{
	{"--read-only", "touch /x 2>&1; touch /dev/shm/x && echo scratch", ".*Read-only file system\nscratch", mounted("/"), "ro,.*|ro .*"},
	{"--read-only --tmpfs /tmp", "touch /tmp/x && echo scratch", "scratch", mounted("/tmp"), "rw,nosuid,nodev,noexec.* tmpfs .*"},
	{"--tmpfs /data:rw,exec,size=1m,mode=1700", "stat -c %a /data", "1700", mounted("/data"), "rw,nosuid,nodev,relatime .*size=1024k.*"},
	{"-v DIR/shared:/v", "cat /v/file; stat -c %u:%g /v/file; touch /v/made && echo written", "host's\n0:0\nwritten", mounted("/v"), "rw,nosuid,nodev,.*idmapped.*"},
	{"-v DIR/shared:/v:ro", "touch /v/x 2>&1", ".*Read-only file system", mounted("/v"), "ro,.*"},
	{"-v DIR/shared:/v:z", "cat /v/file", "host's", mounted("/v"), "rw,.*"},
	{"-v DIR/shared:/v:Z", "cat /v/file", "host's", mounted("/v"), "rw,.*"},
	{"-v DIR/shared:/v:noexec", "cp /bin/busybox /v/b; /v/b true 2>&1", ".*Permission denied", mounted("/v"), "rw,nosuid,nodev,noexec.*"},
	{"-v DIR/shared:/v:exec,dev,suid", "", "", mounted("/v"), "rw,relatime.*"},
	{"-v DIR/shared:/v:nosuid,nodev", "", "", mounted("/v"), "rw,nosuid,nodev,relatime.*"},
	{"-v DIR/shared:/v:noidmap", "stat -c %u /v/file; touch /v/x 2>&1", "65534\n.*Permission denied", mounted("/v"), "rw,nosuid,nodev,relatime - .*"},
	{"-v DIR/shared:/v:rslave,ro", "touch /v/x 2>&1", ".*Read-only file system", mounted("/v"), "ro,.*"},
	{"-v DIR/shared/file:/etc/motd:ro", "cat /etc/motd", "host's", mounted("/etc/motd"), "ro,.*"},
	{"-v DIR/absent:/v", "echo x >/v/x; cat /v/x", "x", func(s *seen) string {
		b, _ := os.ReadFile(filepath.Join(s.dir, "absent", "x"))
		return string(b)
	}, "x\n"},
	{"-v lesson:/v", "echo x >>/v/x; cat /v/x", "x", mounted("/v"), "rw,.*"},
	{"-v lesson:/v:ro", "cat /v/x; touch /v/y 2>&1", "x\n.*Read-only file system", mounted("/v"), "ro,.*"},
	{"-v /v", "touch /v/y; ls /v", "y", mounted("/v"), "rw,.*"},
	{"--mount type=bind,source=DIR/shared,target=/v,readonly", "cat /v/file; touch /v/x 2>&1", "host's\n.*Read-only file system", mounted("/v"), "ro,.*"},
	{"--mount type=bind,src=DIR/shared,dst=/v,bind-propagation=rslave", "cat /v/file", "host's", mounted("/v"), "rw,.*"},
	{"--mount type=volume,source=lesson,target=/v", "cat /v/x", "x", mounted("/v"), "rw,.*"},
	{"--mount type=tmpfs,destination=/v,tmpfs-size=1m,tmpfs-mode=1770", "stat -c %a /v", "1770", mounted("/v"), ".*size=1024k.*"},
	{"--device /dev/null:/dev/nothing:r", "stat -c %t:%T /dev/nothing; head -c 1 /dev/nothing | wc -c", "1:3\n0", nil, ""},
	{"--device /dev/loop-control:/dev/lc", "stat -c %u:%a /dev/lc", "0:[0-9]+", group("devices", "devices.list", "cgroup.type"), ".*c 10:237 rwm.*|domain"},
	{"--device-cgroup-rule=c_13:*_rwm", "", "", group("devices", "devices.list", "cgroup.type"), ".*c 13:[*] rwm.*|domain"},
}

var restLessons = []lesson{
	{"--tz Europe/Berlin", "ls -l /etc/localtime | wc -l", "1", nil, ""},
	{"--read-only --read-only-tmpfs=false", "touch /tmp/x 2>&1", ".*Read-only file system", mounted("/"), "ro,.*|ro .*"},
	{"--workdir /some/new/place", "pwd", "/some/new/place", nil, ""},
	{"-e A=b --env C=d --env-file DIR/env", "echo $A $C $FROM_FILE", "b d a b", nil, ""},
	{"--label a=b --label-file DIR/labels", "", "", record("Config", "Labels"), `{"a":"b","tier":"front"}`},
	{"--annotation org.example.a=b", "", "", func(s *seen) string {
		b, _ := os.ReadFile(filepath.Join(s.dir, "run", s.id, "config.json"))
		return map[bool]string{true: "written", false: "not written"}[strings.Contains(string(b), `"org.example.a":"b"`)]
	}, "written"},
	{"--add-host db:10.0.0.1", "tail -n 1 /etc/hosts", "10.0.0.1\tdb", nil, ""},
	{"--dns 10.0.0.53 --dns-search example.org --dns-option ndots:2", "cat /etc/resolv.conf", "nameserver 10.0.0.53\nsearch example.org\noptions ndots:2", nil, ""},
	{"--name lesson-by-name", "", "", record("Name"), `"lesson-by-name"`},
	{"--cidfile DIR/cid", "", "", func(s *seen) string {
		b, _ := os.ReadFile(filepath.Join(s.dir, "cid"))
		return map[bool]string{true: "the id", false: "something else"}[strings.TrimSpace(string(b)) == s.id]
	}, "the id"},
}

// record returns a function that reads a field of what the engine keeps.
func record(path ...string) func(*seen) string {
	return func(s *seen) string {
		b, err := os.ReadFile(filepath.Join(s.dir, "root", "containers", s.id, "container.json"))
		if err != nil {
			s.t.Error(err)
		}
		for _, key := range path {
			var m map[string]json.RawMessage
			if err := json.Unmarshal(b, &m); err != nil {
				s.t.Error(err)
			}
			b = m[key]
		}
		return string(b)
	}
}
