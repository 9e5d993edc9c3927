package engine

import (
	"strings"
	"testing"
)

// TestTeach: a start that the kernel refuses says which layer it was and which flag asked for it.
func TestTeach(t *testing.T) {
	l := newLine(t)
	for flags, want := range map[string]string{
		"--ulimit nofile=1073741824:1073741824": "for rlimit nofile 1073741824:1073741824, from --ulimit nofile", // above fs.nr_open, whoever asks
		"--cpuset-cpus 4000":                    "for the limit cpu.cpus, from --cpuset-cpus",
		"-v DIR/busybox.tar:/etc":               `for mount /etc: DIR/busybox.tar`,
		"--sysctl net.ipv4.no_such_parameter=1": "from --sysctl net.ipv4.no_such_parameter",
		"--tmpfs /t:nr_inodes=x":                `for mount /t: tmpfs`,
	} {
		r := l.do("", append(append([]string{"run", "--rm"}, strings.Fields(strings.ReplaceAll(flags, "DIR", l.dir))...), "busybox", "true")...)
		if r.code == 0 || !strings.Contains(r.problems, strings.ReplaceAll(want, "DIR", l.dir)) {
			t.Errorf("%s: nothing says %q: %+v", flags, want, r)
		}
	}
}
