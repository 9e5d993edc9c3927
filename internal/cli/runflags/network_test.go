package runflags

import (
	"strings"
	"testing"
)

// ports are the bindings of a request: PORT=ADDRESS:HOST, sorted by what was asked for.
func ports(q *Request, port string) string {
	var out []string
	for p, list := range q.Host.PortBindings {
		for _, b := range list {
			ip := ""
			if b.HostIP.IsValid() {
				ip = b.HostIP.String()
			}
			if p.String() == port {
				out = append(out, ip+"|"+b.HostPort)
			}
		}
	}
	return strings.Join(out, " ")
}

func TestPublish(t *testing.T) {
	for line, want := range map[string]string{
		"-p 80 x": "80/tcp=|", "-p 8080:80 x": "80/tcp=|8080", "-p 127.0.0.1:8080:80/udp x": "80/udp=127.0.0.1|8080", "-p [::1]:8080:80 x": "80/tcp=::1|8080",
		"-p ::1:8080:80 x": "80/tcp=::1|8080", "-p 127.0.0.1::80 x": "80/tcp=127.0.0.1|", "-p 8000-8010:80 x": "80/tcp=|8000-8010", "-p 8000-8002:90-92 x": "91/tcp=|8001",
		"-p 90-92 x": "92/tcp=|", "-p 1.2.3.4:5:6 -p 7:6 x": "6/tcp=1.2.3.4|5 |7", "-p target=80,published=8080,protocol=udp x": "80/udp=|8080", "-p :8080:80 x": "80/tcp=|8080",
	} {
		q, err := parse(t, strings.Fields(line)...)
		port, bindings, _ := strings.Cut(want, "=")
		if err != nil || ports(q, port) != bindings {
			t.Errorf("%s: %+v, %v", line, q, err)
			continue
		}
		if len(q.Config.ExposedPorts) == 0 {
			t.Errorf("%s: nothing is exposed", line)
		}
	}
	for _, line := range []string{
		"-p x x", "-p 0:80:90:100:110 x", "-p 70000:80 x", "-p 80/icmp x", "-p 8000-8001:90-92 x", "-p host:80:80 x", "-p 0-5:80 x", "-p published=80 x", "-p target=80,colour=blue x", "-p target=80,mode=x x", "-p  x",
	} {
		if _, err := parse(t, strings.Fields(line)...); err == nil || !strings.Contains(err.Error(), "publish") && !strings.Contains(line, "-p  x") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestNetworks(t *testing.T) {
	for line, right := range map[string]func(*Request) bool{
		"x":                    func(q *Request) bool { return q.Host.NetworkMode == "" && q.Networks["default"] != nil },
		"--network web x":      func(q *Request) bool { return q.Host.NetworkMode == "web" && q.Networks["web"] != nil },
		"--net container:db x": func(q *Request) bool { return q.Host.NetworkMode == "container:db" },
		"--network web --network name=back,ip=10.0.0.9,ip6=fd00::9,alias=a,alias=b,mac-address=02:00:00:00:00:01,gw-priority=7,link-local-ip=169.254.3.4,driver-opt=k=v,interface_name=up0 x": func(q *Request) bool {
			e := q.Networks["back"]
			return q.Host.NetworkMode == "web" && e.IPAMConfig.IPv4Address.String() == "10.0.0.9" && e.IPAMConfig.IPv6Address.String() == "fd00::9" && strings.Join(e.Aliases, " ") == "a b" &&
				e.MacAddress.String() == "02:00:00:00:00:01" && e.GwPriority == 7 && len(e.IPAMConfig.LinkLocalIPs) == 1 && e.DriverOpts["k"] == "v" && e.DriverOpts[optionInterface] == "up0"
		},
		"--network web:ip=10.0.0.9,ip=fd00::9,mac=02:00:00:00:00:01,alias=a,interface_name=up0 x": func(q *Request) bool {
			e := q.Networks["web"]
			return q.Host.NetworkMode == "web" && e.IPAMConfig.IPv4Address.String() == "10.0.0.9" && e.IPAMConfig.IPv6Address.String() == "fd00::9" && e.DriverOpts[optionInterface] == "up0"
		},
		"--network web --ip 10.0.0.9 --network-alias a --net-alias b --mac-address 02-00-00-00-00-01 x": func(q *Request) bool {
			e := q.Networks["web"]
			return e.IPAMConfig.IPv4Address.String() == "10.0.0.9" && len(e.Aliases) == 2 && e.MacAddress.String() == "02:00:00:00:00:01"
		},
		"--egress example.org:443 --egress 10.0.0.0/8 x": func(q *Request) bool { return q.Host.Annotations[Egress] == "example.org:443,10.0.0.0/8" },
		"-P --expose 80 x": func(q *Request) bool { return q.Host.PublishAllPorts && len(q.Config.ExposedPorts) == 1 },
	} {
		q, err := parse(t, strings.Fields(line)...)
		if err != nil || !right(q) {
			t.Errorf("%s: %+v, %v", line, q, err)
		}
	}
	for line, want := range map[string]string{
		"--network web --network web x": "multiple times", "--network none --network web x": "conflicting", "--network web --network host x": "conflicting",
		"--network name=web,colour=blue x": "colour", "--network alias=a x": "not specified", "--network name=web,gw-priority=x x": "gw-priority", "--network name=web,ip x": "invalid field",
		"--network name=web,ip=1.2.3.4 --ip 1.2.3.5 x": "conflicting", "--ip fd00::1 x": "--ip", "--ip6 1.2.3.4 x": "--ip6", "--mac-address 1:2 x": "--mac-address", "--link-local-ip 1.2.3.4 x": "--link-local-ip",
		"--network name=web,driver-opt=x x": "driver-opt",
	} {
		if _, err := parse(t, strings.Fields(line)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}
