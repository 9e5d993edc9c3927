package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/credential"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/moby/moby/api/types/registry"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// loginFlags are those of login.
type loginFlags struct {
	remote
	username string
	stdin    bool
	show     bool
}

func loginCommand(p *program) *cobra.Command {
	o := loginFlags{remote: remote{writes: true}}
	c := &cobra.Command{
		Use: "login [OPTIONS] [SERVER]", Short: "Log in to a registry", Args: count(0, 1),
		Long: "Try a name and a password against a registry (docker.io if none is named) and keep them where Docker and Podman do.",
		RunE: func(cmd *cobra.Command, args []string) error {
			server := reference.DefaultDomain
			if len(args) == 1 {
				server = args[0]
			}
			if o.show {
				return p.showLogin(cmd.Context(), server, &o)
			}
			return p.login(cmd.Context(), server, &o)
		},
	}
	f := c.Flags()
	f.StringVarP(&o.username, "username", "u", "", "name of the user")
	f.BoolVar(&o.stdin, "password-stdin", false, "read the password from standard input")
	f.BoolVar(&o.show, "get-login", false, "print the name of the user who is logged in, and do nothing else")
	refuse(f, "password", "p", refusedFlag{reason: "a password is never an argument: everybody on this machine can read it", hint: "type it when asked, or --password-stdin < FILE"})
	o.register(f)
	return c
}

// login reads what is missing and tries it.
func (p *program) login(ctx context.Context, server string, o *loginFlags) error {
	var password io.Reader
	terminal := term.IsTerminal(int(p.in.Fd()))
	switch {
	case o.stdin && o.username == "":
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "login %s: --password-stdin goes with a user", server), "--username NAME")
	case !o.stdin && !terminal:
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "login %s: standard input is no terminal that could be asked", server), "--username NAME --password-stdin")
	}
	set, err := p.credentials(o.authFile, false)
	if err != nil {
		return err
	}
	if server, err = registryName(server); err != nil {
		return err
	}
	if o.stdin {
		password = readable(ctx, p.in)
	} else {
		if o.username == "" {
			if o.username, err = p.ask(ctx, "Username: "); err != nil {
				return err
			}
		}
		secret, err := p.secret(ctx, "Password: ")
		if err != nil {
			return err
		}
		password = strings.NewReader(secret)
	}
	cred, err := credential.Read(password, o.username)
	if err != nil {
		return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "login %s: %w", server, err), errdef.Hint(err))
	}
	done, err := p.tryLogin(ctx, server, cred, &o.remote)
	if err != nil {
		return err
	}
	if done.IdentityToken != "" {
		cred = credential.Credential{Username: cred.Username, IdentityToken: done.IdentityToken}
	}
	where, err := set.Store(ctx, server, cred)
	if err != nil {
		return errdef.Errorf(errdef.KindOf(err), "login %s: %w", server, err)
	}
	for _, w := range set.Warnings() {
		p.warn(w)
	}
	return p.loggedIn(server, where, done)
}

// tryLogin has the engine try a password.
func (p *program) tryLogin(ctx context.Context, server string, cred credential.Credential, r *remote) (*option.Login, error) {
	c, err := p.engine()
	if err != nil {
		return nil, err
	}
	o, err := r.registry()
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(registry.AuthConfig{Username: cred.Username, Password: cred.Password, ServerAddress: server})
	if err != nil {
		return nil, err
	}
	q := client.Request{Method: http.MethodPost, Path: "/auth", Body: bytes.NewReader(data), Header: http.Header{"Content-Type": {"application/json"}}}
	if err := registryHeader(q.Header, o); err != nil {
		return nil, err
	}
	answer, err := c.Stream(ctx, q)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var out option.Login
	if err := json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(&out); err != nil {
		return nil, errdef.Errorf(errdef.Internal, "answer to a login: %w", err)
	}
	return &out, nil
}

// registryName wants the name of a registry alone; "" and Docker's addresses of Docker Hub are docker.io.
func registryName(domain string) (string, error) {
	switch domain {
	case "", "index.docker.io", "registry-1.docker.io", "https://index.docker.io/v1/":
		return reference.DefaultDomain, nil
	}
	ref, err := reference.Parse(domain + "/x")
	if err != nil || ref.Domain != domain {
		return "", errdef.WithHint(errdef.Errorf(errdef.Invalid, "%q is no registry", domain), "give host or host:port, as in the names of images, without https:// and path")
	}
	return domain, nil
}

func (p *program) loggedIn(server, where string, r *option.Login) error {
	if !r.Tried {
		p.warn("registry " + server + " lets everybody look, and has not looked at the password")
	}
	what := "password"
	if r.IdentityToken != "" {
		what = "token"
	}
	if err := p.printOthers("The " + what + " for " + server + " is kept in " + where); err != nil {
		return err
	}
	return p.print("Login Succeeded")
}

// ask reads a line from the terminal.
func (p *program) ask(ctx context.Context, question string) (string, error) {
	if _, err := io.WriteString(p.out, question); err != nil {
		return "", err
	}
	line, err := p.readLine(ctx)
	return strings.TrimSpace(line), err
}

// secret reads a line from the terminal, which does not show it, and shows again what follows however this ends.
func (p *program) secret(ctx context.Context, question string) (string, error) {
	fd := int(p.in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", errdef.Errorf(errdef.Unavailable, "ask for the password: %w", err)
	}
	if err := hide(fd); err != nil { // before the question: who types ahead is not shown either
		return "", errdef.Errorf(errdef.Unavailable, "ask for the password: %w", err)
	}
	if _, err := io.WriteString(p.out, question); err != nil {
		return "", errors.Join(err, term.Restore(fd, before))
	}
	type result struct {
		line []byte
		err  error
	}
	got := make(chan result, 1)
	go func() { // it ends with the line, or with the process
		line, err := term.ReadPassword(fd)
		got <- result{line, err}
	}()
	select {
	case r := <-got:
		_, werr := io.WriteString(p.out, "\n")
		werr = errors.Join(werr, term.Restore(fd, before))
		if r.err != nil && r.err != io.EOF {
			return "", errdef.Errorf(errdef.Unavailable, "ask for the password: %w", r.err)
		}
		return string(r.line), werr
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), term.Restore(fd, before))
	}
}

// hide has a terminal show nothing of what is typed.
func hide(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Lflag &^= unix.ECHO
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// showLogin prints who is logged in.
func (p *program) showLogin(ctx context.Context, server string, o *loginFlags) error {
	set, err := p.credentials(o.authFile, true)
	if err != nil {
		return err
	}
	c, _, err := set.Lookup(ctx, server, "")
	if err != nil {
		return err
	}
	if c.Username == "" {
		return errdef.WithHint(errdef.Errorf(errdef.NotFound, "login %s: nobody is logged in", server), "bulkhead login "+server)
	}
	return p.printOthers(c.Username)
}

func logoutCommand(p *program) *cobra.Command {
	var (
		r   remote
		all bool
	)
	c := &cobra.Command{
		Use: "logout [OPTIONS] [SERVER]", Short: "Log out from a registry", Args: count(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := p.credentials(r.authFile, true)
			if err != nil {
				return err
			}
			servers := []string{reference.DefaultDomain}
			if len(args) == 1 {
				servers = args
			}
			if all {
				if servers, err = p.logins(cmd.Context(), r.authFile); err != nil {
					return err
				}
			}
			return each(cmd.Context(), servers, func(server string) error {
				server, err := registryName(server)
				if err != nil {
					return err
				}
				where, err := set.Erase(cmd.Context(), server)
				if errdef.Is(err, errdef.NotFound) { // as Docker: said, and no error
					p.say(err)
					return nil
				}
				if err != nil {
					return err
				}
				return p.printOthers("Removing login credentials for " + server + " from " + strings.Join(where, ", "))
			})
		},
	}
	c.Flags().BoolVarP(&all, "all", "a", false, "log out from all registries")
	c.Flags().StringVar(&r.authFile, "authfile", "", "file with credentials, instead of those of Docker and Podman")
	return c
}

// logins are the registries that somebody is logged in to.
func (p *program) logins(ctx context.Context, authFile string) ([]string, error) {
	set, err := p.credentials(authFile, true)
	if err != nil {
		return nil, err
	}
	users, err := set.Logins(ctx)
	var out []string
	for server := range users {
		out = append(out, server)
	}
	return out, err
}
