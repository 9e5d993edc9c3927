package doctor

import "strconv"

const (
	fewFiles = 4096
	fewTasks = 2048 // the default limit of one container

	leastFiles = 192 // to start a container: package command refuses to begin with fewer
)

func (j *judge) caller() {
	c := &j.f.Caller
	if c.ProcMissing {
		j.add(Finding{
			ID: "host.proc", Status: Missing, Title: "/proc", Found: "no procfs is mounted there",
			Cost: "no container starts, and much of this report is not known", Fix: j.m.asRoot("mount -t proc proc /proc"),
		})
	}
	if c.SysMissing {
		j.add(Finding{
			ID: "host.sys", Status: Weak, Title: "/sys", Found: "no sysfs is mounted there",
			Cost: "cgroups and security modules are not to be had, and not known here", Fix: j.m.asRoot("mount -t sysfs sysfs /sys"),
		})
	}
	j.limit("limit.nofile", "open files", c.NoFile, fewFiles, "an ulimit that a container is to have is refused above it, and many containers at once run out of them")
	j.limit("limit.nproc", "processes", c.NProc, fewTasks, "a user's containers share it")
	j.ok("limit.memlock", "locked memory", limitText(c.MemLock, true))
	if c.NoNewPrivs && j.f.Caller.UID != 0 {
		j.add(Finding{
			ID: "host.no_new_privs", Status: Weak, Title: "no_new_privs", Found: "set on this process",
			Cost: "newuidmap and newgidmap gain nothing, so that containers have one id only",
		})
	}
	if c.Seccomp {
		j.ok("host.seccomp", "seccomp", "a filter is in force on this process")
	}
	j.surroundings()
	switch {
	case c.Report.Path != "":
		j.ok("helper.report", "bulkhead-report", c.Report.Path)
	default:
		j.add(Finding{
			ID: "helper.report", Status: Weak, Title: "bulkhead-report", Found: "not in " + where(c.Report),
			Cost: "no report from inside of a container",
		})
	}
	if c.Systemd.Path != "" {
		j.ok("helper.systemd", "bulkhead-systemd", c.Systemd.Path)
	} else if !j.f.Cgroups.Systemd {
		j.ok("helper.systemd", "bulkhead-systemd", "not in "+where(c.Systemd)+"; not needed here")
	}
	for _, what := range j.f.Silent {
		j.unknown("host.silent", what, "did not answer in time")
	}
}

// where says where a helper was looked for.
func where(h Helper) string {
	if h.Seen == "" {
		return "the directory of this program"
	}
	return h.Seen + " or ../libexec/bulkhead"
}

func (j *judge) surroundings() {
	h := &j.f.Host
	if h.Container != "" {
		j.ok("host.container", "in a container", "yes: "+h.Container)
	} else {
		j.ok("host.container", "in a container", "no")
	}
	if h.VM != "" {
		j.ok("host.vm", "in a virtual machine", "yes: "+h.VM)
	} else {
		j.ok("host.vm", "in a virtual machine", "no sign of it")
	}
}

func (j *judge) limit(id, title string, have, least uint64, cost string) {
	f := Finding{ID: id, Status: OK, Title: title, Found: limitText(have, false)}
	if have < least {
		f.Status, f.Cost = Weak, cost
		f.Fix = j.limitFix(id, least)
	}
	if id == "limit.nofile" && have < leastFiles {
		f.Status, f.Cost = Missing, "no container starts: it takes "+strconv.Itoa(leastFiles)
	}
	j.add(f)
}

// limitFix raises a limit for the shell that it is pasted into: prlimit(1) of root may.
func (j *judge) limitFix(id string, least uint64) string {
	number := strconv.FormatUint(least, 10)
	what := "--nofile="
	if id == "limit.nproc" {
		what = "--nproc="
	}
	if j.m.root {
		return "prlimit --pid $$ " + what + number + ":" + number
	}
	return "sudo prlimit --pid $$ " + what + number + ":" + number
}
