package doctor

// A Status is the verdict of one line.
type Status string

// The verdicts.
const (
	OK      Status = "ok"
	Weak    Status = "weak"    // containers run, something is not to be had
	Missing Status = "missing" // containers do not run, or not all that are asked for with no flags
	Unknown Status = "unknown" // this process may not look
)

// A Finding is one line of the report. The names of its fields in JSON are part of the command line's interface.
type Finding struct {
	ID     string // "cgroup.mode": stable
	Group  string // the heading it stands under
	Status Status
	Title  string // what was looked at, in a few words
	Found  string // what is there
	Cost   string // what the lack costs, in one clause; "" with OK
	Fix    string // a command for a shell; "" where there is none
}

// A Report is what Judge says of a host.
type Report struct {
	Host     string // who was asked: system, kernel, user
	Findings []Finding
}

// Missing counts what is missing.
func (r *Report) Missing() int { return r.count(Missing) }

func (r *Report) count(s Status) int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].Status == s {
			n++
		}
	}
	return n
}

// Find returns the finding with the id, nil if the report has none.
func (r *Report) Find(id string) *Finding {
	for i := range r.Findings {
		if r.Findings[i].ID == id {
			return &r.Findings[i]
		}
	}
	return nil
}

// The headings, in their order.
const (
	groupKernel   = "Kernel"
	groupSpaces   = "Namespaces"
	groupAccess   = "Access control"
	groupCgroup   = "Control groups"
	groupUser     = "This user"
	groupSettings = "Settings of the kernel"
	groupStorage  = "Storage"
	groupCaller   = "This process"
)

// A judge collects findings about one host.
type judge struct {
	f     *Facts
	m     mender
	group string
	out   []Finding
}

func (j *judge) ok(id, title, found string) {
	j.out = append(j.out, Finding{ID: id, Group: j.group, Status: OK, Title: title, Found: found})
}

func (j *judge) unknown(id, title, found string) {
	j.out = append(j.out, Finding{ID: id, Group: j.group, Status: Unknown, Title: title, Found: found})
}

// add appends a finding of the current group.
func (j *judge) add(f Finding) {
	f.Group = j.group
	if f.Status == OK || f.Status == Unknown {
		f.Cost, f.Fix = "", ""
	}
	j.out = append(j.out, f)
}

// Judge decides what the facts mean.
func Judge(f *Facts) *Report {
	j := &judge{f: f, m: mender{root: f.Caller.UID == 0, family: f.Host.Family}}
	for _, part := range []struct {
		group string
		judge func(*judge)
	}{
		{groupKernel, (*judge).kernel},
		{groupSpaces, (*judge).namespaces},
		{groupAccess, (*judge).access},
		{groupCgroup, (*judge).cgroups},
		{groupUser, (*judge).user},
		{groupSettings, (*judge).settings},
		{groupStorage, (*judge).storage},
		{groupCaller, (*judge).caller},
	} {
		j.group = part.group
		part.judge(j)
	}
	return &Report{Host: f.title(), Findings: j.out}
}
