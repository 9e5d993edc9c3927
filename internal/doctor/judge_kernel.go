package doctor

import (
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/linux/feature"
)

// required are the features without which no container starts, and what they are for people.
var required = [...]struct {
	id   feature.ID
	what string
}{
	{feature.Clone3, "clone3"},
	{feature.PidfdOpen, "pidfd_open"},
	{feature.PidfdGetfd, "pidfd_getfd"},
	{feature.Openat2, "openat2"},
	{feature.Faccessat2, "faccessat2"},
	{feature.CloseRangeCloexec, "close_range"},
	{feature.OpenTree, "open_tree and move_mount"},
	{feature.Fsopen, "fsopen and fsmount"},
	{feature.MountSetattr, "mount_setattr"},
}

// oldest is the kernel that brought the last of them.
const oldest = "5.12"

func (j *judge) kernel() {
	k := &j.f.Kernel
	j.calls(k)
	j.memfd(k)
	j.seccomp(k)
	j.overlay(k)
	j.idmap(k)
	if text := k.lacks(feature.Mqueue); text != "" {
		j.add(Finding{
			ID: "kernel.mqueue", Status: Weak, Title: "message queues", Found: text,
			Cost: "a container whose configuration mounts /dev/mqueue, as the usual one does, does not start", Fix: "",
		})
	} else {
		j.ok("kernel.mqueue", "message queues", "mqueue file system")
	}
	switch k.Lockdown {
	case "":
		j.ok("kernel.lockdown", "lockdown", "not built in")
	case "confidentiality":
		j.ok("kernel.lockdown", "lockdown", "confidentiality: nor may root read the kernel's memory")
	default:
		j.ok("kernel.lockdown", "lockdown", k.Lockdown)
	}
	j.vulnerable(k)
}

func (j *judge) calls(k *Kernel) {
	var bad, why []string
	for _, r := range required {
		if text := k.lacks(r.id); text != "" {
			bad = append(bad, r.what)
			why = append(why, text)
		}
	}
	if len(bad) == 0 {
		j.ok("kernel.calls", "system calls", "all "+strconv.Itoa(len(required))+" that a start needs (kernel "+oldest+" has them)")
		return
	}
	fix := j.m.newKernel()
	if j.f.Host.Container != "" || !strings.Contains(strings.Join(why, " "), "needs kernel") {
		fix = "" // an outer container's filter forbids them: no package of ours helps
	}
	j.add(Finding{
		ID: "kernel.calls", Status: Missing, Title: "system calls", Found: "without " + strings.Join(bad, ", ") + " (" + why[0] + ")",
		Cost: "no container starts; kernel " + oldest + " has them", Fix: fix,
	})
}

func (j *judge) memfd(k *Kernel) {
	text := k.lacks(feature.MemfdExec)
	f := Finding{ID: "kernel.memfd_exec", Title: "programs in memory", Status: OK, Found: "memfd_create, executable and sealed"}
	if text != "" {
		f.Status, f.Found = Missing, text
		f.Cost = "no container starts: its first program is a sealed file in memory"
		if k.MemfdNoexec == "2" {
			f.Found = "vm.memfd_noexec is 2"
			f.Fix = j.m.sysctl("vm.memfd_noexec", "1")
		}
	}
	j.add(f)
}

func (j *judge) seccomp(k *Kernel) {
	if text := k.lacks(feature.SeccompFilter); text != "" {
		j.add(Finding{
			ID: "kernel.seccomp", Status: Missing, Title: "seccomp filters", Found: text, Cost: "the default profile cannot be loaded, so nothing starts with it",
		})
		return
	}
	var without []string
	for _, f := range []struct {
		id   feature.ID
		what string
	}{
		{feature.SeccompLog, "log"},
		{feature.SeccompSpecAllow, "spec_allow"},
		{feature.SeccompNotify, "notify"},
		{feature.SeccompWaitKill, "wait_killable"},
	} {
		if k.lacks(f.id) != "" {
			without = append(without, f.what)
		}
	}
	if len(without) == 0 {
		j.ok("kernel.seccomp", "seccomp filters", "all actions and flags, user notification too")
		return
	}
	list := strings.Join(without, ", ")
	j.add(Finding{
		ID: "kernel.seccomp", Status: Weak, Title: "seccomp filters", Found: "without " + list, Cost: "a profile that asks for " + list + " is refused",
	})
}

func (j *judge) overlay(k *Kernel) {
	if text := k.lacks(feature.Overlay); text != "" {
		j.add(Finding{
			ID: "kernel.overlay", Status: Weak, Title: "overlayfs", Found: text, Cost: "layers of images are copied, not stacked",
			Fix: j.m.asRoot("modprobe overlay"),
		})
		return
	}
	f := Finding{ID: "kernel.overlay", Status: OK, Title: "overlayfs", Found: "for root and in user namespaces"}
	switch {
	case k.OverlayUser.fails():
		f.Found = "for root alone: " + k.OverlayUser.Text
		f.Status = Weak
		f.Cost = "without root, layers of images are copied or go through FUSE (kernel 5.11 has it)"
	case !k.OverlayUser.Done:
		f.Found = "for root; not tried in a user namespace"
	}
	j.add(f)
}

func (j *judge) idmap(k *Kernel) {
	if !j.f.Caller.Privileged {
		return // only root may make one, outside of the file system's user namespace
	}
	var yes, no []string
	seen := func(name string) bool {
		return strings.Contains(" "+strings.Join(append(yes, no...), " ")+" ", " "+name+" ")
	}
	for _, p := range j.f.Places {
		switch {
		case p.Type == "" || seen(p.Type):
		case p.IDMap.works():
			yes = append(yes, p.Type)
		case p.IDMap.fails():
			no = append(no, p.Type)
		}
	}
	if k.IDMapTmpfs.Done && !seen("tmpfs") {
		if k.IDMapTmpfs.works() {
			yes = append(yes, "tmpfs")
		} else {
			no = append(no, "tmpfs")
		}
	}
	f := Finding{ID: "kernel.idmap", Status: OK, Title: "idmapped mounts", Found: "on " + strings.Join(yes, ", ")}
	if len(no) > 0 {
		f.Status = Weak
		f.Found = "not on " + strings.Join(no, ", ")
		if len(yes) > 0 {
			f.Found = "on " + strings.Join(yes, ", ") + "; " + f.Found
		}
		f.Cost = "what lies there is shown to a user namespace only by a copy, or not at all (ext4 and xfs: kernel 5.12, btrfs 5.15, overlayfs 5.19, tmpfs 6.3)"
	} else if len(yes) == 0 {
		f.Status, f.Found = Unknown, "not tried"
	}
	j.add(f)
}

func (j *judge) vulnerable(k *Kernel) {
	switch {
	case !k.CPUKnown:
		j.unknown("cpu.mitigations", "processor bugs", "/sys/devices/system/cpu/vulnerabilities cannot be read")
	case len(k.Vulnerable) == 0:
		j.ok("cpu.mitigations", "processor bugs", "each mitigated, or not there")
	default:
		f := Finding{
			ID: "cpu.mitigations", Status: Weak, Title: "processor bugs", Found: "open to " + strings.Join(k.Vulnerable, ", "),
			Cost: "containers on one processor can read each other's and the kernel's memory",
		}
		off := strings.Contains(" "+k.Cmdline+" ", " mitigations=off ")
		switch {
		case off && j.m.family == Fedora:
			f.Fix = j.m.asRoot(`grubby --update-kernel=ALL --remove-args="mitigations=off" && reboot`)
		case off && j.m.family == Debian:
			f.Fix = j.m.asRoot(`sed -i "s/mitigations=off//g" /etc/default/grub && update-grub && reboot`)
		case j.f.Host.VM != "":
			f.Cost += "; microcode is the business of the machine around this one"
		default:
			f.Fix = j.m.install(packages{debian: "intel-microcode amd64-microcode", fedora: "microcode_ctl", suse: "ucode-intel ucode-amd", arch: "intel-ucode amd-ucode"})
		}
		if off {
			f.Found += " (booted with mitigations=off)"
		}
		j.add(f)
	}
}
