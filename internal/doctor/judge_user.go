package doctor

import (
	"strconv"
	"strings"
)

// enoughIDs is how many ids a container is to have: what images count on.
const enoughIDs = 65536

// user judges what a caller needs who is not root: ranges of ids, the helpers that map them, a place for state, a session that stays.
func (j *judge) user() {
	if j.f.Caller.Privileged || j.f.Caller.UID == 0 {
		return
	}
	m := &j.f.Maps
	ranges := j.ranges(m)
	helpers := j.mapHelper("user.newuidmap", "newuidmap", "cap_setuid", m.NewUIDMap)
	helpers = j.mapHelper("user.newgidmap", "newgidmap", "cap_setgid", m.NewGIDMap) && helpers
	f := Finding{ID: "user.mapping", Status: OK, Title: "mapping", Found: strconv.Itoa(enoughIDs) + " ids were mapped into a user namespace"}
	switch {
	case m.Mapped.fails():
		f.Status, f.Found = Missing, m.Mapped.Text
		f.Cost = "containers have one id only; most images do not work with that"
		if j.f.Caller.NoNewPrivs {
			f.Found = "no_new_privs is set on this process, so that the helpers gain nothing"
		}
		j.add(f)
	case m.Mapped.Done:
		j.add(f)
	case ranges && helpers && !j.f.Kernel.UserNS.fails():
		j.unknown(f.ID, f.Title, "not tried")
	}
	j.runtimeDir()
	if !j.f.Cgroups.Systemd {
		return
	}
	f = Finding{ID: "user.linger", Status: OK, Title: "lingering", Found: "on"}
	if !j.f.Caller.Linger {
		f.Status, f.Found = Weak, "off"
		f.Cost = "containers and their state end when the user logs out"
		f.Fix = j.lingerFix()
	}
	j.add(f)
}

// who names the user in a command: by name if that may stand there, else by number.
func (j *judge) who() string {
	if isName(j.f.Caller.Name) {
		return j.f.Caller.Name
	}
	return strconv.Itoa(j.f.Caller.UID)
}

func (j *judge) lingerFix() string { return j.m.asRoot("loginctl enable-linger " + j.who()) }

func (j *judge) ranges(m *Maps) bool {
	f := Finding{
		ID: "user.ranges", Status: OK, Title: "ranges of ids",
		Found: strconv.FormatUint(uint64(m.SubUID), 10) + " in /etc/subuid, " + strconv.FormatUint(uint64(m.SubGID), 10) + " in /etc/subgid",
	}
	switch {
	case m.SubUID >= enoughIDs && m.SubGID >= enoughIDs:
	case m.Elsewhere != "":
		f.Status, f.Found = Unknown, "come from "+m.Elsewhere+" (nsswitch.conf)"
	default:
		f.Status = Missing
		f.Cost = "containers have one id only; most images need " + strconv.Itoa(enoughIDs)
		line := j.who() + ":" + strconv.FormatUint(uint64(max(m.FreeID, 100000)), 10) + ":" + strconv.Itoa(enoughIDs)
		switch {
		case m.SubUID >= enoughIDs:
			f.Fix = j.m.asRoot("echo " + line + " >>/etc/subgid")
		case m.SubGID >= enoughIDs:
			f.Fix = j.m.asRoot("echo " + line + " >>/etc/subuid")
		default:
			f.Fix = j.m.asRoot("echo " + line + " | tee -a /etc/subuid /etc/subgid")
		}
	}
	j.add(f)
	return f.Status != Missing
}

func (j *judge) mapHelper(id, name, capability string, h MapHelper) bool {
	f := Finding{ID: id, Status: OK, Title: name, Found: h.Path}
	cost := "containers have one id only; most images need " + strconv.Itoa(enoughIDs)
	switch {
	case h.Path == "":
		f.Status, f.Found, f.Cost = Missing, "not installed", cost
		f.Fix = j.m.install(uidmapPackage)
	case h.NoSuid != "":
		f.Status, f.Found, f.Cost = Missing, h.Path+" lies on "+h.NoSuid+", which is mounted nosuid", cost
		if paths := plain([]string{h.NoSuid}); len(paths) == 1 {
			f.Fix = j.m.asRoot("mount -o remount,suid " + paths[0])
		}
	case h.Setuid:
		f.Found += ", set-user-ID root"
	case h.Caps:
		f.Found += ", with " + capability
	default:
		f.Status, f.Found, f.Cost = Missing, h.Path+" has neither set-user-ID nor "+capability, cost
		if paths := plain([]string{h.Path}); len(paths) == 1 {
			f.Fix = j.m.asRoot("chown root " + paths[0] + " && chmod u+s " + paths[0])
		}
	}
	j.add(f)
	return f.Status == OK
}

func (j *judge) runtimeDir() {
	c := &j.f.Caller
	f := Finding{ID: "user.runtime_dir", Status: OK, Title: "XDG_RUNTIME_DIR", Found: c.RuntimeDir}
	if c.RuntimeDirOK != "" {
		f.Status, f.Found = Missing, c.RuntimeDirOK
		f.Cost = "there is no place for the state of containers, but with --root DIR"
		for _, p := range j.f.Places { // which was given
			if p.ID == "state" && (c.RuntimeDir == "" || !strings.HasPrefix(p.Path, c.RuntimeDir+"/")) {
				f.Status, f.Cost = Weak, "each command needs --root DIR"
			}
		}
		dir := "/run/user/" + strconv.Itoa(c.UID)
		set := "export XDG_RUNTIME_DIR=" + dir
		switch {
		case c.HasRunUser:
			f.Fix = set
		case j.f.Cgroups.Systemd:
			f.Fix = j.lingerFix() + " && " + set
		default:
			f.Fix = j.m.asRoot("install -d -m 0700 -o "+strconv.Itoa(c.UID)+" "+dir) + " && " + set
		}
	}
	j.add(f)
}
