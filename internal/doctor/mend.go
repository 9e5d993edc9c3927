package doctor

import "strings"

// A Family is a family of distributions, by what installs packages.
type Family string

// The families.
const (
	Debian Family = "debian"
	Fedora Family = "fedora"
	SUSE   Family = "suse"
	Arch   Family = "arch"
	Alpine Family = "alpine"
)

// familyOf reads ID and ID_LIKE of os-release(5).
func familyOf(ids string) Family {
	for _, id := range strings.Fields(ids) {
		switch id {
		case "debian", "ubuntu":
			return Debian
		case "fedora", "rhel", "centos":
			return Fedora
		case "suse", "opensuse", "sles":
			return SUSE
		case "arch":
			return Arch
		case "alpine":
			return Alpine
		}
	}
	return ""
}

// A mender writes commands that can be pasted into a shell.
type mender struct {
	root   bool
	family Family
}

// asRoot is the command, run by root. It may hold no single quote.
func (m mender) asRoot(command string) string {
	if m.root {
		return command
	}
	if !strings.ContainsAny(command, `&|<>;$"*`) {
		return "sudo " + command
	}
	return "sudo sh -c '" + command + "'"
}

// sysctl sets a value now and at each boot, with no other tool than a shell: minimal systems have no sysctl(8).
func (m mender) sysctl(name, value string) string {
	return m.asRoot("echo " + value + " >/proc/sys/" + strings.ReplaceAll(name, ".", "/") + " && mkdir -p /etc/sysctl.d && echo \"" + name + " = " + value +
		"\" >>/etc/sysctl.d/90-bulkhead.conf")
}

// packages are the names of a package by family; "" means that there is none, or that it is always installed.
type packages struct{ debian, fedora, suse, arch, alpine string }

// install installs a package, "" where the name is not known.
func (m mender) install(p packages) string {
	name, tool := "", ""
	switch m.family {
	case Debian:
		name, tool = p.debian, "apt-get install -y "
	case Fedora:
		name, tool = p.fedora, "dnf install -y "
	case SUSE:
		name, tool = p.suse, "zypper --non-interactive install "
	case Arch:
		name, tool = p.arch, "pacman -S --noconfirm "
	case Alpine:
		name, tool = p.alpine, "apk add "
	}
	if name == "" {
		return ""
	}
	return m.asRoot(tool + name)
}

// boot adds words to the kernel's command line, for the next boot.
func (m mender) boot(words string) string {
	switch m.family {
	case Debian:
		return m.asRoot(`mkdir -p /etc/default/grub.d && echo "GRUB_CMDLINE_LINUX=\"\$GRUB_CMDLINE_LINUX ` + words +
			`\"" >>/etc/default/grub.d/90-bulkhead.cfg && update-grub && reboot`)
	case Fedora, SUSE:
		if m.family == SUSE {
			return m.asRoot(`sed -i "s/^GRUB_CMDLINE_LINUX=\"/&` + words + ` /" /etc/default/grub && grub2-mkconfig -o /boot/grub2/grub.cfg && reboot`)
		}
		return m.asRoot(`grubby --update-kernel=ALL --args="` + words + `" && reboot`)
	case Arch:
		return m.asRoot(`sed -i "s/^GRUB_CMDLINE_LINUX=\"/&` + words + ` /" /etc/default/grub && grub-mkconfig -o /boot/grub/grub.cfg && reboot`)
	}
	return ""
}

// newKernel installs the newest kernel of the distribution.
func (m mender) newKernel() string {
	switch m.family {
	case Debian:
		return m.asRoot("apt-get install -y linux-image-$(dpkg --print-architecture) && reboot")
	case Fedora:
		return m.asRoot("dnf upgrade -y kernel && reboot")
	case SUSE:
		return m.asRoot("zypper --non-interactive update kernel-default && reboot")
	case Arch:
		return m.asRoot("pacman -Syu --noconfirm && reboot")
	case Alpine:
		return m.asRoot("apk upgrade linux-lts && reboot")
	}
	return ""
}

// Names of packages.
var (
	uidmapPackage   = packages{debian: "uidmap", fedora: "shadow-utils", suse: "shadow", arch: "shadow", alpine: "shadow-uidmap"}
	apparmorPackage = packages{debian: "apparmor", suse: "apparmor-parser", arch: "apparmor", alpine: "apparmor"}
	policyPackage   = packages{debian: "selinux-policy-default", fedora: "container-selinux", suse: "container-selinux"}
	userBusPackage  = packages{debian: "dbus-user-session", fedora: "dbus-broker", suse: "dbus-1", arch: "dbus", alpine: "dbus"}
	busPackage      = packages{debian: "dbus", fedora: "dbus-broker", suse: "dbus-1", arch: "dbus", alpine: "dbus"}
)

// isName reports whether s is a user's name as useradd(8) allows it, so that it may stand in a command.
func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
		case i > 0 && (c >= '0' && c <= '9' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return s != "" && len(s) <= 64
}
