package assemble

import (
	"bytes"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/sys/user"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// process says what runs, as whom, and with which environment.
func (b *build) process() error {
	c, h, p := &b.r.Config, &b.r.Host, b.spec.Process
	who, err := lookUp(c.User, b.r.Facts.Passwd, b.r.Facts.Group)
	if err != nil {
		return err
	}
	extra, err := user.GetAdditionalGroups(h.GroupAdd, bytes.NewReader(b.r.Facts.Group))
	if err != nil {
		return errdef.Errorf(errdef.Invalid, "group-add: %w", err)
	}
	groups := append(slices.Clone(who.Sgids), extra...)
	p.User = specs.User{UID: uint32(who.Uid), GID: uint32(who.Gid)}
	for _, g := range groups {
		if !slices.Contains(p.User.AdditionalGids, uint32(g)) {
			p.User.AdditionalGids = append(p.User.AdditionalGids, uint32(g))
		}
	}
	if h.Umask != nil {
		p.User.Umask = h.Umask
	}
	b.out.UID, b.out.GID = p.User.UID, p.User.GID
	p.Args = append(slices.Clone(c.Entrypoint), c.Cmd...)
	if h.Init != nil && *h.Init {
		if b.r.Facts.Init == "" {
			return errdef.Errorf(errdef.Unsupported, "init: there is no init program on this host")
		}
		p.Args = append([]string{b.r.Facts.Init, "--"}, p.Args...)
	}
	if p.Cwd = c.WorkingDir; p.Cwd == "" {
		p.Cwd = "/"
	}
	if !strings.HasPrefix(p.Cwd, "/") {
		return errdef.Errorf(errdef.Invalid, "workdir %.256q: is invalid, it needs to be an absolute path", p.Cwd)
	}
	b.environment(who.Home)
	p.Terminal = c.Tty
	if c.Tty && h.ConsoleSize[0] > 0 && h.ConsoleSize[1] > 0 {
		p.ConsoleSize = &specs.Box{Height: h.ConsoleSize[0], Width: h.ConsoleSize[1]}
	}
	if h.OomScoreAdj != 0 {
		if h.OomScoreAdj < -1000 || h.OomScoreAdj > 1000 {
			return errdef.Errorf(errdef.Invalid, "oom-score-adj %d: wants -1000 to 1000", h.OomScoreAdj)
		}
		adj := h.OomScoreAdj
		p.OOMScoreAdj = &adj
		if adj < 0 {
			b.weaker("oom-score-adj", "that the host's other processes survive it when memory runs out")
		}
	}
	b.privileges()
	return b.ulimits()
}

// lookUp finds a user: names and numbers, USER[:GROUP], by passwd(5) and group(5).
func lookUp(text string, passwd, group []byte) (*user.ExecUser, error) {
	who, err := user.GetExecUser(text, &user.ExecUser{Home: "/"}, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		err := errdef.Errorf(errdef.Invalid, "user %.128q: %w", text, err)
		return nil, errdef.WithHint(err, "a name must be in the image's /etc/passwd or /etc/group; numbers always work")
	}
	return who, nil
}

// User finds the user of one more process in a container, by its passwd(5) and group(5).
func User(text string, passwd, group []byte) (specs.User, error) {
	who, err := lookUp(text, passwd, group)
	if err != nil {
		return specs.User{}, err
	}
	u := specs.User{UID: uint32(who.Uid), GID: uint32(who.Gid)}
	for _, g := range who.Sgids {
		u.AdditionalGids = append(u.AdditionalGids, uint32(g))
	}
	return u, nil
}

// privileges decides on no_new_privs.
func (b *build) privileges() {
	p := b.spec.Process
	before := p.NoNewPrivileges
	switch {
	case b.o.NoNewPrivs != nil:
		p.NoNewPrivileges = *b.o.NoNewPrivs
	case b.r.Host.Privileged:
		p.NoNewPrivileges = false
	}
	if before && !p.NoNewPrivileges && !b.r.Host.Privileged {
		b.weaker("security-opt no-new-privileges=false", "that set-user-id programs give nothing")
	}
}

// environment adds what Docker adds: a path, the host name, a home directory, and TERM with a terminal.
func (b *build) environment(home string) {
	c, p := &b.r.Config, b.spec.Process
	base := slices.Clone(p.Env) // PATH
	name := c.Hostname
	if name == "" {
		name = b.r.ID[:min(12, len(b.r.ID))]
	}
	base = append(base, "HOSTNAME="+name)
	if c.Tty {
		base = append(base, "TERM=xterm")
	}
	env := MergeEnv(base, c.Env)
	if !slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "HOME=") }) {
		env = append(env, "HOME="+home)
	}
	p.Env = env
}

// ulimits replaces the default's limits by those of the request. A hard limit above the engine's own is refused by the kernel, and here, by name.
func (b *build) ulimits() error {
	p := b.spec.Process
	for _, u := range b.r.Host.Ulimits {
		if u == nil {
			continue
		}
		name := "RLIMIT_" + strings.ToUpper(u.Name)
		soft, hard := uint64(u.Soft), uint64(u.Hard) // -1 is no limit
		if soft > hard {
			return errdef.Errorf(errdef.Invalid, "ulimit %s: the soft limit %d is above the hard limit %d", u.Name, u.Soft, u.Hard)
		}
		p.Rlimits = slices.DeleteFunc(p.Rlimits, func(l specs.POSIXRlimit) bool { return l.Type == name })
		p.Rlimits = append(p.Rlimits, specs.POSIXRlimit{Type: name, Soft: soft, Hard: hard})
	}
	return nil
}
