package doctor

import "strings"

// optionalSpace are the namespaces without which containers start, if their configuration asks for none.
func optionalSpace(name string) bool { return name == "time" || name == "user" }

func (j *judge) namespaces() {
	k := &j.f.Kernel
	var yes, no, weak []string
	why := ""
	for _, ns := range k.Namespaces {
		switch {
		case ns.Err == "":
			yes = append(yes, ns.Name)
		case ns.Name == "user": // has a line of its own
		case optionalSpace(ns.Name):
			weak = append(weak, ns.Name)
			why = ns.Err
		default:
			no = append(no, ns.Name)
			why = ns.Err
		}
	}
	f := Finding{ID: "namespace.kinds", Status: OK, Title: "kinds", Found: strings.Join(yes, ", ")}
	switch {
	case len(k.Namespaces) == 0:
		f.Status, f.Found = Unknown, "not tried"
	case len(no) > 0 && !j.f.Caller.Privileged && k.UserNS.fails():
		f.Status, f.Found = Unknown, "they come with a user namespace, and there is none"
	case len(no) > 0:
		f.Status, f.Found = Missing, "not "+strings.Join(append(no, weak...), ", ")+": "+why
		f.Cost = "no container starts that has them, and all have"
		if j.f.Host.Container != "" {
			f.Cost += "; the container around this one forbids it"
		}
	case len(weak) > 0:
		f.Status, f.Found = Weak, "not "+strings.Join(weak, ", ")+": "+why
		f.Cost = "containers have the host's clocks"
	}
	j.add(f)
	j.userNamespace(k)
	j.fresh("namespace.procfs", "fresh /proc inside", k.Procfs, k.ProcCovered)
	j.fresh("namespace.sysfs", "fresh /sys inside", k.Sysfs, k.SysCovered)
}

// userNamespace names the switch that is off, where one is.
func (j *judge) userNamespace(k *Kernel) {
	f := Finding{ID: "namespace.user", Status: OK, Title: "user namespaces", Found: "made, with all rights inside"}
	if !k.UserNS.fails() {
		if !k.UserNS.Done {
			f.Status, f.Found = Unknown, "not tried"
		}
		j.add(f)
		return
	}
	f.Status = Weak
	f.Cost = "root in a container is root of the host: only --userns=host starts"
	if !j.f.Caller.Privileged {
		f.Status = Missing
		f.Cost = "no container starts but by root of the host"
	}
	f.Found = k.UserNS.Text
	switch {
	case j.f.setting("user.max_user_namespaces") == "0":
		f.Found = "user.max_user_namespaces is 0"
		f.Fix = j.m.sysctl("user.max_user_namespaces", "15000")
	case !j.f.Caller.Privileged && j.f.setting("kernel.unprivileged_userns_clone") == "0":
		f.Found = "kernel.unprivileged_userns_clone is 0"
		f.Fix = j.m.sysctl("kernel.unprivileged_userns_clone", "1")
	case !j.f.Caller.Privileged && j.f.setting("kernel.apparmor_restrict_unprivileged_userns") == "1":
		f.Found = "AppArmor takes all rights from them (kernel.apparmor_restrict_unprivileged_userns is 1)"
		f.Fix = j.m.usernsProfile(j.f.Caller.Systemd.Seen)
	case j.f.Host.Container != "":
		f.Cost += "; the container around this one forbids it"
	case j.f.Modules.AppArmor && j.f.Modules.OwnProfile != "" && j.f.Modules.OwnProfile != "unconfined":
		f.Found += "; this process is confined by the AppArmor profile " + j.f.Modules.OwnProfile
	}
	j.add(f)
}

// usernsProfile gives this one program leave, rather than all. The path of an attachment must begin with a slash.
func (m mender) usernsProfile(dir string) string {
	program := "/usr/{,local/}{,s}bin/bulkhead-runtime"
	if len(plain([]string{dir})) == 1 && strings.HasPrefix(dir, "/") && !strings.HasPrefix(dir, "/usr/") {
		program = "/{usr/{,local/}{,s}bin," + strings.Trim(dir, "/") + "}/bulkhead-runtime"
	}
	return m.asRoot(`printf "abi <abi/4.0>,\ninclude <tunables/global>\nprofile bulkhead-runtime ` + program +
		` flags=(unconfined) { userns, }\n" >/etc/apparmor.d/bulkhead-runtime && apparmor_parser -r /etc/apparmor.d/bulkhead-runtime`)
}

// fresh judges a file system that a container in a user namespace mounts anew, which the kernel allows only where one is fully visible
// already: mount_too_revealing() of fs/namespace.c.
func (j *judge) fresh(id, title string, t Try, covered []string) {
	switch {
	case t.works():
		j.ok(id, title, "mounted in a user namespace")
		return
	case !t.Done && j.f.Kernel.UserNS.fails():
		return // said above
	case !t.Done:
		j.unknown(id, title, "not tried")
		return
	}
	f := Finding{ID: id, Status: Weak, Title: title, Found: t.Text, Cost: "containers with a user namespace of their own do not start"}
	if !j.f.Caller.Privileged {
		f.Status = Missing
	}
	if len(covered) > 0 {
		f.Found = "refused, for parts of the one here are covered: " + some(covered, 4)
		f.Cost += "; the container around this one must run with its /proc and /sys unmasked"
		if j.f.Caller.Privileged {
			f.Fix = "umount " + strings.Join(plain(covered), " ")
		}
	}
	j.add(f)
}

// some joins the first words of a list and counts the others.
func some(list []string, n int) string {
	if len(list) <= n {
		return strings.Join(list, ", ")
	}
	return strings.Join(list[:n], ", ") + " and " + count(len(list)-n, "more", "more")
}

// plain leaves out paths that a shell would read otherwise.
func plain(paths []string) []string {
	var out []string
	for _, p := range paths {
		if !strings.ContainsFunc(p, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-", r))
		}) {
			out = append(out, p)
		}
	}
	return out
}
