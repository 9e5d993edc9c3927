package doctor

import (
	"strconv"
	"strings"
)

func (j *judge) access() {
	m := &j.f.Modules
	j.appArmor(m)
	j.seLinux(m)
	j.landlock()
	f := Finding{ID: "lsm.yama", Status: OK, Title: "Yama", Found: "ptrace_scope " + m.Yama}
	switch m.Yama {
	case "":
		f.Status, f.Found = Weak, "not in force"
		f.Cost = "a process may read the memory of any other of its user"
		if j.f.Caller.SysMissing || j.f.Caller.ProcMissing {
			f.Status = Unknown
		}
	case "0":
		f.Status = Weak
		f.Cost = "a process may read the memory of any other of its user"
		f.Fix = j.m.sysctl("kernel.yama.ptrace_scope", "1")
	}
	j.add(f)
}

func (j *judge) appArmor(m *Modules) {
	f := Finding{ID: "lsm.apparmor", Title: "AppArmor"}
	switch {
	case m.AppArmor:
		j.appArmorTools(m, &f)
	case m.SELinux:
		f.Status, f.Found = OK, "not in force; SELinux is, and one is enough"
	case j.f.Caller.SysMissing:
		f.Status, f.Found = Unknown, "/sys cannot be read"
	case j.m.family == Fedora:
		f.Status, f.Found = OK, "not in force; SELinux is this system's"
	default:
		f.Status, f.Found = Weak, "not built into this kernel"
		f.Cost = "no mandatory access control but Landlock; a profile that is asked for is an error"
		if m.AppArmorIn {
			f.Found = "built in, not in force"
			f.Fix = j.m.boot("apparmor=1 security=apparmor")
			if strings.Contains(" "+j.f.Kernel.Cmdline, " lsm=") { // which makes the kernel pass over security=
				f.Fix = j.bootModules("", ",apparmor")
			}
		}
	}
	j.add(f)
}

// appArmorTools judges what is needed to load profiles, where the module runs.
func (j *judge) appArmorTools(m *Modules, f *Finding) {
	f.Status, f.Found = OK, "in force; "+m.Parser
	if m.OwnProfile != "" && m.OwnProfile != "unconfined" {
		f.Found += "; this process has profile " + m.OwnProfile
	}
	switch {
	case !m.SecurityFS:
		f.Status, f.Found = Weak, "in force, securityfs not mounted"
		f.Cost = "no profile of a container's own can be loaded"
		f.Fix = j.m.asRoot("mount -t securityfs securityfs /sys/kernel/security")
	case m.Parser == "":
		f.Status, f.Found = Weak, "in force, apparmor_parser not installed"
		f.Cost = "profiles cannot be compiled: only those that are loaded or compiled already serve"
		f.Fix = j.m.install(apparmorPackage)
	case !m.PolicyAdmin && j.f.Caller.UID == 0:
		f.Status, f.Found = Weak, "in force; this process may not load profiles (no CAP_MAC_ADMIN in the first namespaces)"
		f.Cost = "containers can have profiles that are loaded already, none of their own"
	case !m.PolicyAdmin:
		f.Found += "; a user's containers can have profiles that are loaded already"
	}
}

func (j *judge) seLinux(m *Modules) {
	f := Finding{ID: "lsm.selinux", Title: "SELinux"}
	switch {
	case m.SELinux && m.Enforcing == "0":
		f.Status, f.Found = Weak, "permissive"
		f.Cost = "what its policy forbids a container is logged and done"
		f.Fix = j.m.asRoot("setenforce 1")
	case m.SELinux && m.ContainerT.fails():
		f.Status, f.Found = Weak, enforcing(m)+", the policy has no container_t"
		f.Cost = "containers have no type of their own, and a label of that type is refused"
		f.Fix = j.m.install(policyPackage)
	case m.SELinux:
		f.Status, f.Found = OK, enforcing(m)+", the policy has container_t"
		if !m.ContainerT.Done {
			f.Found = enforcing(m)
		}
	case m.AppArmor:
		f.Status, f.Found = OK, "not in force; AppArmor is, and one is enough"
	case j.f.Caller.SysMissing:
		f.Status, f.Found = Unknown, "/sys cannot be read"
	case j.m.family == Fedora && m.SELinuxIn:
		f.Status, f.Found = Weak, "built in, not in force"
		f.Cost = "no mandatory access control but Landlock; a label that is asked for is an error"
		f.Fix = j.m.boot("selinux=1 security=selinux")
	default:
		f.Status, f.Found = OK, "not in force"
	}
	j.add(f)
}

func enforcing(m *Modules) string {
	if m.Enforcing == "1" {
		return "enforcing"
	}
	return "in force"
}

// abis are what each version of Landlock brought, and what is lost without it.
var abis = [...]struct {
	abi          int
	kernel, lost string
}{
	{1, "5.13", "files are not restricted"},
	{2, "5.19", "no file can be moved to another directory"},
	{3, "6.2", "files that may not be written may be cut short"},
	{4, "6.7", "TCP ports are not restricted"},
	{5, "6.10", "ioctl on devices is not restricted"},
	{6, "6.12", "abstract sockets and signals are not scoped"},
}

func (j *judge) landlock() {
	abi := j.f.Kernel.Landlock
	f := Finding{ID: "lsm.landlock", Status: OK, Title: "Landlock", Found: "ABI " + strconv.Itoa(abi)}
	var lost []string
	kernel := ""
	for _, a := range abis {
		if abi < a.abi {
			lost = append(lost, a.lost)
			kernel = a.kernel
		}
	}
	if len(lost) == 0 {
		j.add(f)
		return
	}
	f.Status = Weak
	f.Cost = strings.Join(lost, "; ") + " (kernel " + kernel + " has all)"
	if abi == 0 {
		f.Found = "not there"
		f.Cost = "without it, and with no AppArmor or SELinux, nothing but ids and mounts holds files"
		if text := j.f.Modules.List; text != "" && !strings.Contains(","+text+",", ",landlock,") {
			f.Found = "not in the list of modules: " + text
			if j.f.Modules.LandlockIn {
				f.Fix = j.bootModules("landlock,", "")
			}
		}
	}
	j.add(f)
}

// bootModules boots with the modules of now and one more. The module capability is always there, and no word of the parameter.
func (j *judge) bootModules(before, behind string) string {
	list := j.f.Modules.List
	if list == "" || !isModuleList(list) {
		return ""
	}
	return j.m.boot("lsm=" + before + strings.Trim(strings.ReplaceAll(","+list+",", ",capability,", ","), ",") + behind)
}

// isModuleList reports whether text may stand in a command.
func isModuleList(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r == ',' || r == '_' || r >= '0' && r <= '9') })
}
