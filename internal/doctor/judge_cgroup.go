package doctor

import (
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/linux/feature"
)

// limiters are the controllers that limits are asked of, and what each limits.
var limiters = [...]struct{ name, what string }{
	{"cpu", "time of processors"},
	{"cpuset", "which processors"},
	{"io", "disks"},
	{"memory", "memory"},
	{"pids", "number of processes"},
}

func (j *judge) cgroups() {
	c := &j.f.Cgroups
	j.mode(c)
	if c.Mode == "none" || c.Mode == "" {
		return
	}
	j.controllers(c)
	if c.Mode == "v2" {
		j.mountOptions(c)
		j.atOnce()
	}
	if j.f.Caller.Privileged {
		j.devices(c)
	} else {
		j.delegation(c)
	}
	j.swap(c)
	j.bus(c)
}

func (j *judge) mode(c *Cgroups) {
	f := Finding{ID: "cgroup.mode", Status: OK, Title: "hierarchy", Found: "version 2"}
	switch c.Mode {
	case "v2":
	case "":
		f.Status, f.Found = Unknown, "cannot be told"
	case "none":
		f.Status, f.Found = Missing, "none is mounted"
		f.Cost = "no container starts but with --cgroup-manager disabled, without any limit"
		f.Fix = j.m.asRoot("mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup")
		if !j.f.Caller.Privileged {
			f.Status, f.Cost = Weak, "containers have no limits"
		}
	default:
		f.Status, f.Found = Weak, "version 1"
		if c.Mode == "hybrid" {
			f.Found = "version 1, and version 2 beside it with what is left"
		}
		f.Cost = "no limits without root, and killing, freezing and accounting are not of one piece"
		if c.Systemd {
			f.Fix = j.m.boot("systemd.unified_cgroup_hierarchy=1")
		}
	}
	j.add(f)
}

func (j *judge) controllers(c *Cgroups) {
	have := func(name string) bool {
		return slices.Contains(c.Controllers, name) || name == "io" && slices.Contains(c.Controllers, "blkio")
	}
	var lack, what []string
	for _, l := range limiters {
		if !have(l.name) {
			lack = append(lack, l.name)
			what = append(what, l.what)
		}
	}
	f := Finding{ID: "cgroup.controllers", Status: OK, Title: "controllers", Found: strings.Join(c.Controllers, " ")}
	if len(lack) > 0 {
		f.Status = Weak
		f.Found = "without " + strings.Join(lack, " ")
		f.Cost = "a limit of " + strings.Join(what, ", ") + " is refused"
		if j.f.Caller.Privileged && slices.Contains(lack, "pids") {
			f.Status = Missing
			f.Cost += "; the default limits the number of processes"
		}
		switch {
		case j.f.Host.Container != "":
			f.Cost += "; the container around this one was given no more"
		case slices.Contains(lack, "memory"):
			f.Fix = j.m.boot("cgroup_enable=memory")
		}
	}
	j.add(f)
}

func (j *judge) mountOptions(c *Cgroups) {
	f := Finding{ID: "cgroup.options", Status: OK, Title: "mount options", Found: "nsdelegate, memory_recursiveprot"}
	var lack []string
	for _, o := range []string{"nsdelegate", "memory_recursiveprot"} {
		if !strings.Contains(","+c.Options+",", ","+o+",") {
			lack = append(lack, o)
		}
	}
	switch {
	case c.Options == "":
		f.Status, f.Found = Unknown, "the mount table cannot be read"
	case len(lack) > 0:
		f.Status, f.Found = Weak, "without "+strings.Join(lack, ", ")
		f.Cost = "a container's memory protection does not reach its own groups"
		if lack[0] == "nsdelegate" {
			f.Cost = "a container with a writable cgroup file system can move its limits"
		}
		if j.f.Host.Container == "" && c.Mount == usualCgroup {
			f.Fix = j.m.asRoot("mount -o remount,nsdelegate,memory_recursiveprot " + usualCgroup)
		}
	}
	j.add(f)
}

// usualCgroup is where hierarchies are mounted.
const usualCgroup = "/sys/fs/cgroup"

// atOnce judges what makes starting and killing one step.
func (j *judge) atOnce() {
	f := Finding{ID: "cgroup.atomic", Status: OK, Title: "start and kill in one step", Found: "CLONE_INTO_CGROUP, cgroup.kill"}
	var lack, why []string
	for _, x := range []struct {
		id         feature.ID
		name, cost string
	}{
		{feature.CloneIntoCgroup, "CLONE_INTO_CGROUP", "a container moves into its group after it is born"},
		{feature.CgroupKill, "cgroup.kill", "a container is frozen before it is killed"},
	} {
		if j.f.Kernel.lacks(x.id) != "" {
			lack = append(lack, x.name)
			why = append(why, x.cost)
		}
	}
	if len(lack) > 0 {
		f.Status, f.Found, f.Cost = Weak, "without "+strings.Join(lack, ", "), strings.Join(why, "; ")+" (kernels 5.7 and 5.14)"
	}
	j.add(f)
}

func (j *judge) devices(c *Cgroups) {
	f := Finding{ID: "cgroup.devices", Status: OK, Title: "device filter", Found: "a program loads"}
	switch {
	case c.Mode != "v2" && slices.Contains(c.Controllers, "devices"):
		f.Found = "controller devices"
	case c.Mode != "v2":
		f.Status, f.Found = Missing, "no controller devices"
		f.Cost = "no container starts: its devices could not be held"
	case !c.Devices.Done:
		f.Status, f.Found = Unknown, "not tried"
	case c.Devices.fails():
		f.Status, f.Found = Missing, "a program does not load: "+c.Devices.Text
		f.Cost = "no container starts: its devices could not be held (CONFIG_CGROUP_BPF)"
	}
	j.add(f)
}

func (j *judge) swap(c *Cgroups) {
	f := Finding{ID: "cgroup.swap", Status: OK, Title: "accounting of swap", Found: "counted"}
	switch {
	case !slices.Contains(c.Controllers, "memory"):
		return // said above
	case c.SwapFile.fails() && c.SwapKnown && !c.Swap:
		f.Found = "not counted, but there is no swap"
	case c.SwapFile.fails():
		f.Status, f.Found = Weak, "not counted"
		f.Cost = "a limit of memory is a limit of RAM alone; one of swap is refused"
		f.Fix = j.m.boot("swapaccount=1")
	case !c.SwapFile.Done:
		f.Status, f.Found = Unknown, "no group to look into"
	}
	j.add(f)
}

func (j *judge) bus(c *Cgroups) {
	if !c.Systemd {
		j.ok("cgroup.systemd", "systemd", "does not run here; groups are made directly")
		return
	}
	f := Finding{ID: "cgroup.systemd", Status: OK, Title: "systemd", Found: "runs, and answers at " + c.BusPath}
	own := j.f.Caller
	switch {
	case c.Bus.fails():
		f.Status, f.Found = Weak, "runs; its bus "+c.BusPath+": "+c.Bus.Text
		if c.BusPath == "" {
			f.Found = "runs; where its bus is, is not known"
		}
		f.Cost = "--systemd-cgroup does not work"
		f.Fix = j.m.install(busPackage)
		if !own.Privileged {
			f.Fix = j.m.install(userBusPackage)
		}
		if f.Fix == "" || own.RuntimeDirOK != "" {
			f.Fix = ""
		}
	case own.Systemd.Path == "":
		f.Status, f.Found = Weak, "runs; bulkhead-systemd is not in "+where(own.Systemd)
		f.Cost = "--systemd-cgroup does not work"
	}
	j.add(f)
}

// wanted is what a user should have delegated, for all that limits are asked of.
const wanted = "cpu cpuset io memory pids"

// delegation judges what a user may limit.
func (j *judge) delegation(c *Cgroups) {
	if c.Mode != "v2" {
		return // said above
	}
	f := Finding{ID: "cgroup.delegation", Status: OK, Title: "delegated to this user", Found: strings.Join(c.Delegated, " ") + " (" + c.DelegatedAt + ")"}
	var lack []string
	for _, name := range strings.Fields(wanted) {
		if !slices.Contains(c.Delegated, name) {
			lack = append(lack, name)
		}
	}
	if c.DelegatedAt != "" && len(lack) == 0 {
		j.add(f)
		return
	}
	f.Status = Weak
	switch {
	case c.DelegatedAt == "":
		f.Found = "no group that this user may write to"
		f.Cost = "containers have no limits; one that is asked for is refused"
	case len(c.Delegated) == 0:
		f.Found = "no controller (" + c.DelegatedAt + ")"
		f.Cost = "containers have no limits; one that is asked for is refused"
	default:
		f.Found = strings.Join(c.Delegated, " ") + ", not " + strings.Join(lack, " ") + " (" + c.DelegatedAt + ")"
		f.Cost = "a limit that needs " + strings.Join(lack, " or ") + " is refused"
	}
	if j.f.Host.Container == "" {
		f.Fix = j.m.delegate(c.Systemd, j.f.Caller.UID)
		if c.Systemd {
			f.Cost += " (the command restarts what runs under this user's systemd)"
		}
	}
	j.add(f)
}

// delegate gives a user controllers: by a drop-in for his manager, which takes effect when that starts again (reloading systemd is not enough:
// tried with release 257); without systemd by a group of his own, that the shell moves into.
func (m mender) delegate(systemd bool, uid int) string {
	id := strconv.Itoa(uid)
	if systemd {
		return m.asRoot(`mkdir -p /etc/systemd/system/user@.service.d && printf "[Service]\nDelegate=` + wanted +
			`\n" >/etc/systemd/system/user@.service.d/bulkhead.conf && systemctl daemon-reload && systemctl try-restart user@` + id + `.service`)
	}
	dir := usualCgroup + "/user-" + id
	plus := "+" + strings.ReplaceAll(wanted, " ", " +")
	command := `cd ` + usualCgroup + ` && echo "` + plus + `" >cgroup.subtree_control && mkdir -p ` + dir + `/shell && cd ` + dir +
		` && chown ` + id + ` . cgroup.procs cgroup.subtree_control cgroup.threads shell shell/cgroup.procs && echo "` + plus +
		`" >cgroup.subtree_control && echo $SHELL >shell/cgroup.procs`
	if m.root {
		return "(" + strings.Replace(command, "$SHELL", "$$", 1) + ")"
	}
	return "sudo sh -c '" + strings.Replace(command, "$SHELL", "'$$'", 1) + "'"
}
