package doctor

import "strings"

const (
	littleSpace  = 1 << 30  // bytes, for images
	littleState  = 16 << 20 // bytes, for state: a container takes some 20 KiB
	littleInodes = 1000
)

func (j *judge) storage() {
	for i := range j.f.Places {
		p := &j.f.Places[i]
		title, what := "state of containers", "containers"
		if p.ID == "data" {
			title, what = "images and volumes", "images"
		}
		j.mounted(p, title, what)
		if p.Silent || p.Err != "" {
			continue
		}
		j.space(p, what)
		j.files(p)
	}
}

// networked are types of file systems whose files are elsewhere, where locks and the like are only as good as another machine.
func networked(fstype string) bool {
	switch fstype {
	case "nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "afs", "glusterfs", "lustre", "gpfs", "virtiofs", "beegfs", "ocfs2", "gfs2":
		return true
	}
	return strings.HasPrefix(fstype, "fuse.") || fstype == "fuse"
}

func (j *judge) mounted(p *Place, title, what string) {
	has := func(option string) bool { return strings.Contains(","+p.Options+",", ","+option+",") }
	f := Finding{ID: "storage." + p.ID, Status: OK, Title: title, Found: p.Type + " (" + p.At + ")"}
	switch {
	case p.Silent:
		f.Status, f.Found = Missing, p.Path+": the file system does not answer"
		f.Cost = "every command on " + what + " hangs"
	case p.Err != "":
		f.Status, f.Found = Unknown, p.Path+": "+p.Err
	case has("ro"):
		f.Status, f.Found = Missing, p.At+" is mounted read-only"
		f.Cost = "no " + what + " can be made there"
		if paths := plain([]string{p.At}); len(paths) == 1 {
			f.Fix = j.m.asRoot("mount -o remount,rw \"$(findmnt -n -o TARGET --target " + paths[0] + ")\"")
		}
	case p.OtherOwner:
		f.Status, f.Found = Missing, p.At+" belongs to another user"
		f.Cost = "its files are not trusted, and cannot be made"
	case !p.Writable:
		f.Status, f.Found = Missing, p.At+" may not be written"
		f.Cost = "no " + what + " can be made there"
	case networked(p.Type):
		f.Status = Weak
		f.Cost = "locks are only as good as the other end, and each command waits for the network"
	case p.ID == "data" && has("noexec"):
		f.Status, f.Found = Weak, p.Type+", mounted noexec ("+p.At+")"
		f.Cost = "programs of images do not run from there"
		if paths := plain([]string{p.At}); len(paths) == 1 {
			f.Fix = j.m.asRoot("mount -o remount,exec \"$(findmnt -n -o TARGET --target " + paths[0] + ")\"")
		}
	}
	if p.ID == "data" && f.Status == Missing {
		f.Status = Weak // the runtime by itself keeps nothing there
	}
	j.add(f)
}

func (j *judge) space(p *Place, what string) {
	least := uint64(littleState)
	if p.ID == "data" {
		least = littleSpace
	}
	f := Finding{ID: "storage." + p.ID + "_space", Status: OK, Title: "free space there", Found: bytesText(p.Bytes)}
	if p.Counted {
		f.Found += ", " + countText(p.Inodes) + " inodes"
	}
	if p.Bytes < least || p.Counted && p.Inodes < littleInodes {
		f.Status, f.Cost = Weak, "it is full soon, and then no "+what+" can be made"
	}
	j.add(f)
}

// files judges what the file system can do. State needs locks; images need attributes, for overlayfs and file capabilities.
func (j *judge) files(p *Place) {
	if !p.Tmpfile.Done && !p.Flock.Done {
		return
	}
	var yes, no []string
	for _, x := range []struct {
		name string
		try  Try
	}{{"flock", p.Flock}, {"attributes", p.Xattr}, {"O_TMPFILE", p.Tmpfile}} {
		switch {
		case x.try.works():
			yes = append(yes, x.name)
		case x.try.fails():
			no = append(no, x.name)
		}
	}
	f := Finding{ID: "storage." + p.ID + "_files", Status: OK, Title: "file system there", Found: strings.Join(yes, ", ")}
	switch {
	case p.Flock.fails():
		f.Status, f.Found, f.Cost = Missing, "no flock: "+p.Flock.Text, "two commands on one container cannot be kept apart"
	case p.ID == "data" && p.Xattr.fails():
		f.Status, f.Found, f.Cost = Weak, "no extended attributes: "+p.Xattr.Text, "layers cannot be stacked by overlayfs there, and file capabilities are lost"
	case len(no) > 0:
		f.Found += "; no " + strings.Join(no, ", ")
	}
	j.add(f)
}
