package doctor

import (
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/lsm"
	"golang.org/x/sys/unix"
)

func (e *examiner) modules(c *Caller, release string) Modules {
	inForce := lsm.Host()
	m := Modules{AppArmor: inForce.AppArmor, SELinux: inForce.SELinux}
	m.SecurityFS = fsType("/sys/kernel/security") == unix.SECURITYFS_MAGIC
	m.List = read("/sys/kernel/security/lsm")
	m.AppArmorIn = exists("/sys/module/apparmor")
	m.SELinuxIn, m.LandlockIn = builtIn(release, "CONFIG_SECURITY_SELINUX"), builtIn(release, "CONFIG_SECURITY_LANDLOCK")
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin"} {
		if path := dir + "/apparmor_parser"; unix.Access(path, unix.X_OK) == nil {
			m.Parser = path
			break
		}
	}
	if m.AppArmor {
		m.OwnProfile = ownProfile()
		m.PolicyAdmin = policyAdmin(c)
	}
	m.Yama = sysctl("kernel.yama.ptrace_scope")
	if m.SELinux {
		m.Enforcing = read("/sys/fs/selinux/enforce")
		m.ContainerT = containerType()
	}
	return m
}

// builtIn reports whether the configuration that distributions put beside their kernel says so. false may mean that there is none to read.
func builtIn(release, option string) bool {
	return !strings.Contains(release, "/") && strings.Contains("\n"+read("/boot/config-"+release)+"\n", "\n"+option+"=y\n")
}

// ownProfile is the AppArmor profile of this process, without its mode.
func ownProfile() string {
	text := read("/proc/self/attr/apparmor/current")
	if text == "" {
		text = read("/proc/self/attr/current")
	}
	name, _, _ := strings.Cut(strings.TrimRight(text, "\x00\n"), " (")
	return name
}

// policyAdmin reports whether this process may load policy: CAP_MAC_ADMIN in the first user namespace (aa_policy_admin_capable).
func policyAdmin(c *Caller) bool {
	return !c.InUserNS && capable(unix.CAP_MAC_ADMIN)
}

// containerType asks the policy whether a context with the type of containers is valid. Writing to the file is the question.
func containerType() Try {
	fd, err := unix.Open("/sys/fs/selinux/context", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return Try{}
	}
	defer unix.Close(fd)
	for _, context := range []string{"system_u:system_r:container_t:s0\x00", "system_u:system_r:container_t\x00"} {
		if _, err = unix.Write(fd, []byte(context)); err == nil {
			return Try{Done: true}
		}
	}
	if err != unix.EINVAL {
		return Try{} // we may not ask
	}
	return tried(err)
}
