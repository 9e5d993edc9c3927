package workload

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/need"
)

const password = "not-a-secret"

// TestNginx: the master is root inside, the workers are www-data, and the logs are the container's.
func TestNginx(t *testing.T) {
	need.Program(t, "nsenter")
	need.Program(t, "curl")
	b := start(t, "nginx")
	b.answers("served by nginx", "curl", "-sS", "http://127.0.0.1/")
	b.confined()
	if users := b.users(); !strings.Contains(users, "nginx 0\n") || !strings.Contains(users, "nginx 33\n") {
		t.Errorf("users: %s", users)
	}
	if out, err := b.nsenter("curl", "-sS", "http://127.0.0.1/"); err != nil || out != "served by nginx\n" {
		t.Errorf("from the host: %q, %v", out, err)
	}
	if out, err := b.client("nginx", "curl", "-sS", "http://127.0.0.1/closed/"); err != nil || !strings.Contains(out, "403 Forbidden") {
		t.Errorf("from another container: %q, %v", out, err)
	}
	b.logged(`"GET / HTTP/1.1" 200`)
	b.logged(`directory index of "/var/www/html/closed/" is forbidden`) // written to /dev/stderr by a worker
	b.exec("sh", "-c", "echo changed >/var/www/html/index.html")
	b.exec("nginx", "-s", "reload")
	b.answers("changed", "curl", "-sS", "http://127.0.0.1/")
	b.stops()
	b.ok("start", b.name)
	b.answers("changed", "curl", "-sS", "http://127.0.0.1/") // kept in the writable layer
	b.stops()
	b.ok("rm", b.name)
}

// TestNginxStrict: a read-only root, another user, and the level for code that nobody vouches for.
func TestNginxStrict(t *testing.T) {
	config := filepath.Join(t.TempDir(), "nginx.conf")
	text := "worker_processes 1;\nerror_log /dev/stderr;\npid /tmp/nginx.pid;\nevents {}\nhttp {\naccess_log /dev/stdout;\n"
	for _, dir := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		text += dir + "_temp_path /tmp/" + dir + ";\n"
	}
	text += "server { listen 80; root /var/www/html; }\n}\n"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, flags := range map[string][]string{
		"ReadOnly":   {"--read-only", "--tmpfs", "/run", "--tmpfs", "/var/lib/nginx"},
		"User":       {"--user", "1000:1000", "-v", config + ":/etc/nginx/nginx.conf:ro"},
		"NoCaps":     {"--user", "1000:1000", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "-v", config + ":/etc/nginx/nginx.conf:ro"},
		"Untrusted":  {"--level", "untrusted", "--user", "33:33", "-v", config + ":/etc/nginx/nginx.conf:ro"},
		"Privileges": {"--cap-drop", "ALL", "--cap-add", "CHOWN,SETUID,SETGID,NET_BIND_SERVICE", "--security-opt", "no-new-privileges"},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, "nginx", flags...)
			b.answers("served by nginx", "curl", "-sS", "http://127.0.0.1/")
			b.confined()
			if name == "Untrusted" || name == "NoCaps" || name == "ReadOnly" {
				if r, err := server.try("exec", b.name, "touch", "/var/www/html/x"); err != nil || r.code == 0 {
					t.Errorf("the root can be written: %+v, %v", r, err)
				}
			}
			b.logged(`"GET / HTTP/1.1" 200`)
			b.stops()
		})
	}
}

// TestRedis: it starts as root, chowns its volume and steps down; what was stored is there after a stop.
func TestRedis(t *testing.T) {
	b := start(t, "redis")
	b.answers("PONG", "redis-cli", "ping")
	b.confined()
	if users := b.users(); !strings.Contains(users, "redis-server ") || strings.Contains(users, "redis-server 0\n") {
		t.Errorf("users: %s", users)
	}
	if out, err := b.talk("127.0.0.1:6379", "SET key from-the-host\r\n"); err != nil || out != "+OK\r\n" {
		t.Errorf("from the host: %q, %v", out, err)
	}
	if out, err := b.client("redis", "redis-cli", "get", "key"); err != nil || out != "from-the-host\n" {
		t.Errorf("from another container: %q, %v", out, err)
	}
	b.exec("redis-cli", "bgsave") // forks
	b.answers("rdb_last_bgsave_status:ok", "redis-cli", "info", "persistence")
	b.stops()
	b.logged("Ready to accept connections")
	b.logged("User requested shutdown")
	b.ok("start", b.name)
	b.answers("from-the-host", "redis-cli", "get", "key")
	b.stops()
	b.ok("rm", b.name)
}

// TestRedisStrict: with a volume that has a name, and one of the host's directories, under stricter flags.
func TestRedisStrict(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	for name, flags := range map[string][]string{
		"ReadOnly":  {"--read-only"},
		"User":      {"--user", "1000:1000", "-v", dir + ":/data"},
		"NoCaps":    {"--user", "1000:1000", "--cap-drop", "ALL", "--read-only", "-v", dir + ":/data"},
		"Untrusted": {"--level", "untrusted", "--user", "1000:1000", "-v", dir + ":/data"},
		"Tmpfs":     {"--tmpfs", "/data:mode=1777"},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, "redis", flags...)
			b.answers("PONG", "redis-cli", "ping")
			b.confined()
			b.exec("redis-cli", "set", "key", name)
			b.exec("redis-cli", "save")
			b.stops()
			b.ok("start", b.name)
			want := name
			if name == "Tmpfs" {
				want = "" // which goes with the container's end
			}
			b.answers("PONG", "redis-cli", "ping")
			if got := strings.TrimSpace(b.exec("redis-cli", "get", "key")); got != want {
				t.Errorf("stored %q, found %q", want, got)
			}
			b.stops()
		})
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
	for _, e := range entries { // the ids of the host's directory, not those of a range
		if info, err := e.Info(); err != nil || !owned(info, 1000) {
			t.Errorf("%s belongs to somebody else: %v", e.Name(), err)
		}
	}
}

// TestPostgres: initdb as another user after a chown, shared memory, clients by password over TCP and by a socket in a volume.
func TestPostgres(t *testing.T) {
	const sockets = "workload-sockets"
	b := start(t, "postgres", "-e", "POSTGRES_PASSWORD="+password, "-v", sockets+":/var/run/postgresql")
	query := func(sql string) []string {
		return []string{"psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "postgresql://postgres:" + password + "@127.0.0.1/postgres", "-c", sql}
	}
	b.answers("1", query("SELECT count(*) + 1 FROM visits")...)
	b.confined()
	if users := b.users(); !strings.Contains(users, "postgres ") || strings.Contains(users, "postgres 0\n") {
		t.Errorf("users: %s", users)
	}
	b.exec(query("INSERT INTO visits VALUES ('inside')")...)
	if out, err := b.client("postgres", query("INSERT INTO visits VALUES ('beside') RETURNING who")...); err != nil || out != "beside\n" {
		t.Errorf("from another container over TCP: %q, %v", out, err)
	}
	r, err := server.try("run", "--rm", "--network", "none", "-v", sockets+":/var/run/postgresql", "--entrypoint", "psql", "postgres", "-XAtq", "-U", "postgres", "-c", "INSERT INTO visits VALUES ('by volume') RETURNING who")
	if err != nil || r.out != "by volume\n" {
		t.Errorf("from another container by the socket: %+v, %v", r, err)
	}
	r, err = server.try("exec", "-e", "PGPASSWORD=wrong", b.name, "psql", "-h", "127.0.0.1", "-U", "postgres", "-c", "SELECT 1")
	if err != nil || r.code == 0 || !strings.Contains(r.problems, "password authentication failed") {
		t.Errorf("a wrong password: %+v, %v", r, err)
	}
	parallel := "SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; " +
		"CREATE TABLE big AS SELECT g FROM generate_series(1, 200000) g; ANALYZE big; SELECT sum(g) FROM big"
	if got := b.exec(query(parallel)...); got != "20000100000\n" { // workers share memory in /dev/shm
		t.Errorf("a query in parallel: %q", got)
	}
	b.stops()
	b.logged("database system is shut down")
	b.ok("start", b.name)
	b.answers("3", query("SELECT count(*) FROM visits")...)
	b.stops()
	b.ok("rm", b.name)
}

// TestPostgresStrict: as another user, whose volume has the owner of the image's directory, with a root that is read-only, and at the level for code that nobody vouches for.
func TestPostgresStrict(t *testing.T) {
	for name, flags := range map[string][]string{
		"ReadOnly":  {"--read-only", "--tmpfs", "/tmp", "--tmpfs", "/run/postgresql"},
		"User":      {"--user", "postgres"},
		"NoCaps":    {"--user", "postgres", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only", "--tmpfs", "/tmp", "--tmpfs", "/run/postgresql:mode=1777"},
		"Untrusted": {"--level", "untrusted", "--allow", "sysvipc", "--user", "postgres", "--tmpfs", "/run/postgresql:mode=1777"},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, "postgres", append(flags, "-e", "POSTGRES_PASSWORD="+password)...)
			query := func(sql string) []string {
				return []string{"psql", "-XAtq", "postgresql://postgres:" + password + "@127.0.0.1/postgres", "-c", sql}
			}
			b.answers("1", query("SELECT count(*) + 1 FROM visits")...)
			b.confined()
			b.exec(query("INSERT INTO visits VALUES ('inside')")...)
			b.stops()
			b.ok("start", b.name)
			b.answers("2", query("SELECT count(*) + 1 FROM visits")...)
			b.stops()
		})
	}
}

// TestStepper: root inside owns what it is given of the host, hands it to a user and steps down; the host talks to it through a socket in the volume.
func TestStepper(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b := start(t, "stepper", "-v", dir+":/data")
	ask := func() (string, error) {
		conn, err := net.DialTimeout("unix", filepath.Join(dir, "sock"), time.Second)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		return speak(conn, "")
	}
	b.until("uid 990 starts 1\n", ask)
	b.confined()
	if info, err := os.Stat(filepath.Join(dir, "starts")); err != nil || !owned(info, 990) {
		t.Errorf("the file on the host does not belong to 990: %v", err)
	}
	b.stops()
	b.logged("bye")
	b.ok("start", b.name)
	b.until("uid 990 starts 2\n", ask)
	if r, err := server.try("exec", b.name, "id", "-u"); err != nil || r.out != "0\n" {
		t.Errorf("exec: %+v, %v", r, err)
	}
	b.stops()
	b.ok("rm", b.name)
	if _, err := os.Stat(filepath.Join(dir, "starts")); err != nil {
		t.Errorf("the host's file went with the container: %v", err)
	}
}

func owned(info os.FileInfo, uid uint32) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Uid == uid
}
