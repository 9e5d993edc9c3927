package workload

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

const (
	release = "trixie" // Debian's stable
	keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
)

// bootstrap are the options for mmdebstrap: what is installed, and what no program needs of it.
var bootstrap = []string{
	"--mode=root", "--variant=essential", "--format=tar", "--include=nginx-light,redis-server,postgresql,gosu,curl",
	"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/i18n/*",
	"--dpkgopt=path-exclude=/usr/lib/*/libLLVM*", // a compiler, for queries that take minutes
}

// debian returns the archive of a root file system.
func debian(work string) (string, error) {
	cache := os.Getenv("BULKHEAD_WORKLOAD_CACHE")
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(dir, "bulkhead", "workload")
	}
	sum := sha256.Sum256([]byte(release + strings.Join(bootstrap, "\n")))
	archive := filepath.Join(cache, hex.EncodeToString(sum[:8])+".tar")
	if _, err := os.Stat(archive); err == nil {
		return archive, nil
	}
	if err := os.RemoveAll(cache); err != nil { // of other recipes
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	argv := append([]string{"--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "mmdebstrap"}, bootstrap...)
	argv = append(argv, release, filepath.Join(work, "debian.tar"), "deb [signed-by="+keyring+"] http://deb.debian.org/debian "+release+" main")
	cmd := exec.CommandContext(ctx, "unshare", argv...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "TMPDIR="+work)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mmdebstrap: %w\n%s", err, out)
	}
	if err := exec.Command("mv", filepath.Join(work, "debian.tar"), archive+".new").Run(); err != nil { // another file system, maybe
		return "", fmt.Errorf("keep the root file system: %w", err)
	}
	fmt.Printf("root file system made of Debian's packages in %.0f s: %s\n", time.Since(start).Seconds(), archive)
	return archive, os.Rename(archive+".new", archive)
}

// A recipe is an image on top of the root file system: a script that root runs in a container, and what the image says.
type recipe struct {
	name, script, entrypoint string
	changes                  []string
}

var recipes = []recipe{
	{"nginx", `
		ln -sf /dev/stdout /var/log/nginx/access.log
		ln -sf /dev/stderr /var/log/nginx/error.log
		mkdir /var/www/html/closed
		echo "served by nginx" >/var/www/html/index.html`, `#!/bin/sh
		set -e
		exec "$@"
		`, []string{`CMD ["nginx", "-g", "daemon off;"]`, "STOPSIGNAL SIGQUIT", "EXPOSE 80"}},
	{"redis", `
		mkdir /data
		chown redis:redis /data`, `#!/bin/sh
		set -e
		if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
			find . \! -user redis -exec chown redis '{}' +
			exec setpriv --reuid=redis --regid=redis --clear-groups -- "$0" "$@"
		fi
		umask 0077
		exec "$@"
		`, []string{`CMD ["redis-server", "--protected-mode", "no", "--appendonly", "yes"]`, "VOLUME /data", "WORKDIR /data", "EXPOSE 6379"}},
	{"postgres", `
		usermod --uid 999 postgres
		groupmod --gid 999 postgres
		rm -rf /var/lib/postgresql/*
		mkdir -p /var/lib/postgresql/data /run/postgresql
		chown -R postgres:postgres /var/lib/postgresql /run/postgresql
		chmod 3777 /run/postgresql
		chmod 1777 /var/lib/postgresql/data
		ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/`, `#!/bin/bash
		set -eu
		if [ "$1" = postgres ] && [ "$(id -u)" = 0 ]; then
			mkdir -p "$PGDATA" /var/run/postgresql
			chmod 00700 "$PGDATA"
			find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
			chmod 03775 /var/run/postgresql
			find /var/run/postgresql \! -user postgres -exec chown postgres '{}' +
			exec gosu postgres "$BASH_SOURCE" "$@"
		fi
		if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
			mkdir -p "$PGDATA"
			chmod 00700 "$PGDATA" || :
			initdb --no-sync --username=postgres --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") --auth-host=scram-sha-256 --auth-local=trust >/dev/null
			pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
			psql -v ON_ERROR_STOP=1 -U postgres --no-password -c 'CREATE TABLE visits (who text)'
			pg_ctl -D "$PGDATA" -m fast -w stop
			echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
		fi
		exec "$@"
		`, []string{`CMD ["postgres"]`, "ENV PGDATA=/var/lib/postgresql/data", "VOLUME /var/lib/postgresql/data", "STOPSIGNAL SIGINT", "EXPOSE 5432"}},
	{"stepper", `
		useradd --system --uid 990 --home-dir /data --shell /usr/sbin/nologin app
		mkdir /data`, `#!/bin/sh
		set -e
		if [ "$(id -u)" = 0 ]; then
			chown -R app:app /data
			exec gosu app "$0" "$@"
		fi
		echo start >>/data/starts
		exec "$@"
		`, []string{`CMD ["perl", "-MIO::Socket::UNIX", "-e", "unlink q(/data/sock); $s = IO::Socket::UNIX->new(Local => q(/data/sock), Listen => 5) or die qq(listen: $!); chmod 0777, q(/data/sock); $SIG{TERM} = sub { print qq(bye\\n); exit 0 }; $| = 1; print qq(ready\\n); while (1) { $c = $s->accept or next; open F, q(/data/starts); @l = <F>; print $c qq(uid $< starts ), scalar(@l), qq(\\n); close $c }"]`}},
}

// make builds the images and pushes them.
func (e *engine) make(archive, address string) error {
	if err := e.must("import", archive, "debian"); err != nil {
		return err
	}
	for _, r := range recipes {
		script := "set -e\n" + r.script + "\ncat >/usr/local/bin/entrypoint.sh\nchmod 755 /usr/local/bin/entrypoint.sh\n"
		made, err := e.feed(r.entrypoint, "run", "-i", "--network", "none", "--name", r.name, "debian", "sh", "-c", script)
		if err == nil && made.code != 0 {
			err = fmt.Errorf("%+v", made)
		}
		if err != nil {
			return fmt.Errorf("make %s: %w", r.name, err)
		}
		args := []string{"commit", "-c", `ENTRYPOINT ["entrypoint.sh"]`}
		for _, c := range r.changes {
			args = append(args, "-c", c)
		}
		name := address + "/" + r.name
		for _, command := range [][]string{append(args, r.name, name), {"push", "-q", name}, {"rm", r.name}} {
			if err := e.must(command...); err != nil {
				return err
			}
		}
	}
	return nil
}

// registry starts Debian's registry on the loopback.
func registry(dir string) (address string, stop func(), err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", nil, err
	}
	config, logName := filepath.Join(dir, "config.yml"), filepath.Join(dir, "log")
	text := "version: 0.1\nlog:\n  level: info\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: " + dir + "\nhttp:\n  addr: 127.0.0.1:0\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return "", nil, err
	}
	log, err := os.Create(logName)
	if err != nil {
		return "", nil, err
	}
	defer log.Close()
	cmd := exec.Command("docker-registry", "serve", config)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	}
	listening := regexp.MustCompile(`listening on (127\.0\.0\.1:[0-9]+)`)
	for range 400 {
		b, _ := os.ReadFile(logName)
		if m := listening.FindSubmatch(b); m != nil {
			return string(m[1]), stop, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	b, _ := os.ReadFile(logName)
	stop()
	return "", nil, fmt.Errorf("the registry does not come up: %s", b)
}
