package category

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("SELINUX_TEST_DRAW"); dir != "" {
		drawForever(dir)
	}
	os.Exit(m.Run())
}

func pool(t *testing.T) (*Pool, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pool")
	p, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, dir
}

func background(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// claims returns who has what in a pool's directory.
func claims(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, d := range []string{dir, filepath.Join(dir, levelsDir)} {
		entries, err := os.ReadDir(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() {
				continue
			}
			data, err := os.ReadFile(filepath.Join(d, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			all[e.Name()] = strings.ReplaceAll(strings.TrimSuffix(string(data), "\n"), "\n", ", ")
		}
	}
	return all
}

func TestPoolDraw(t *testing.T) {
	p, dir := pool(t)
	ctx := background(t)
	var mu sync.Mutex
	seen := map[string]string{}
	var wg sync.WaitGroup
	for n := range 50 {
		wg.Go(func() {
			id := fmt.Sprintf("container%d", n)
			q, err := Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer q.Close()
			for _, from := range []*Pool{p, q} { // one descriptor for all, and one each
				pair, err := from.draw(ctx, id)
				if err != nil || len(pair) != 2 || pair[0] >= pair[1] || pair[0] < 0 || pair[1] >= Count {
					t.Errorf("%v, %v", pair, err)
					return
				}
				mu.Lock()
				if other := seen[categoryName(pair)]; other != "" {
					t.Errorf("%s and %s have %v", id, other, pair)
				}
				seen[categoryName(pair)] = id
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	got := claims(t, dir)
	if len(got) != 100 {
		t.Errorf("%d claims of 100", len(got))
	}
	for name, who := range got {
		if who != "own "+seen[name] {
			t.Errorf("%s has %q, was drawn for %q", name, who, seen[name])
		}
	}
}

// All pairs but the reserved one are handed out, each once, then there is an error; what is released is handed out again.
func TestPoolExhausted(t *testing.T) {
	p, dir := pool(t)
	p.categories = 12
	ctx := background(t)
	for n := range 12 * 11 / 2 {
		if _, err := p.draw(ctx, fmt.Sprint("c", n)); err != nil {
			t.Fatalf("%d: %v", n, err)
		}
	}
	if pair, err := p.draw(ctx, "late"); !errdef.Is(err, errdef.Unavailable) || errdef.Hint(err) == "" {
		t.Errorf("%v, %v", pair, err)
	}
	if got := claims(t, dir); len(got) != 66 {
		t.Errorf("%d claims", len(got))
	}
	if err := p.Release(ctx, "c17", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := p.draw(ctx, "late"); err != nil {
		t.Error(err)
	}
}

// The pair of the files of label=disable is nobody's, also when no other is left.
func TestPoolReserved(t *testing.T) {
	p, _ := pool(t)
	var avoid avoided
	for c := range Count - 2 {
		avoid.single[c] = true
	}
	if pair, err := p.free(&avoid); !errdef.Is(err, errdef.Unavailable) {
		t.Errorf("%v, %v", pair, err)
	}
	avoid.single[0] = false
	if pair, err := p.free(&avoid); err != nil || pair[0] != 0 || pair[1] < Count-2 {
		t.Errorf("%v, %v", pair, err)
	}
}

// A level that somebody asked for is shared by who asks for it, and not drawn for anybody else, nor one that covers it or that it covers.
func TestPoolClaim(t *testing.T) {
	p, dir := pool(t)
	p.categories = 6
	ctx := background(t)
	for _, c := range []struct{ id, level string }{
		{"a", "s0:c0,c1"}, {"b", "s0:c1,c0"}, {"b", "s0:c0.c1"}, {"a", "s0:c5"}, {"a", "s0:c2.c4"}, {"a", "s0"}, {"a", "s0-s0:c0.c1023"}, {"c", "s0-s0:c2,c3,c4"},
	} {
		if err := p.Claim(ctx, c.id, c.level); err != nil {
			t.Errorf("%v: %v", c, err)
		}
	}
	want := "map[c0,c1:share a, share b c2.c4:share a, share c c5:share a]"
	if got := fmt.Sprint(claims(t, dir)); got != want {
		t.Errorf("claims are %s, want %s", got, want)
	}
	drawn := map[string]bool{}
	for n := 0; ; n++ {
		pair, err := p.draw(ctx, fmt.Sprint("d", n))
		if err != nil {
			if !errdef.Is(err, errdef.Unavailable) {
				t.Error(err)
			}
			break
		}
		drawn[categoryName(pair)] = true
	}
	// Of 15 pairs: not c0,c1; none with c5; none of c2, c3 and c4 alone.
	if len(drawn) != 6 || drawn["c0,c1"] || drawn["c0,c5"] || drawn["c2,c3"] || !drawn["c0,c2"] {
		t.Errorf("drawn: %v", drawn)
	}
	// Another may join a pair that was drawn, and it stays until both are gone.
	if err := p.Claim(ctx, "friend", "s0:c0,c2"); err != nil {
		t.Fatal(err)
	}
	owner := strings.TrimPrefix(strings.Split(claims(t, dir)["c0,c2"], ",")[0], "own ")
	for range 2 {
		if err := p.Release(ctx, owner, "s0:c0,c2"); err != nil {
			t.Fatal(err)
		}
		if got := claims(t, dir)["c0,c2"]; got != "share friend" {
			t.Errorf("left: %q", got)
		}
	}
	if err := p.Release(ctx, "friend", "s0:c0,c2"); err != nil || claims(t, dir)["c0,c2"] != "" {
		t.Errorf("%v, left: %v", err, claims(t, dir))
	}
	for _, level := range []string{"s0", "s0:c0.c1023", "s0:c700,c701"} {
		if err := p.Release(ctx, "nobody", level); err != nil {
			t.Errorf("%s: %v", level, err)
		}
	}
}

func TestPoolReclaim(t *testing.T) {
	p, dir := pool(t)
	ctx := background(t)
	for _, id := range []string{"lives", "died", "died-too"} {
		if _, err := p.draw(ctx, id); err != nil {
			t.Fatal(err)
		}
		if err := p.Claim(ctx, id, "s0:c7"); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{".c1,c2.x1y2", "c3,c4", "levels/.c7.abc"} { // of killed processes; an empty one, of a lost disk
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	asked := map[string]int{}
	n, err := p.Reclaim(ctx, func(id string) bool {
		if asked[id]++; len(asked) == 1 { // beside us, a new container is made, which keep is not asked about
			if _, err := p.draw(ctx, "new"); err != nil {
				t.Error(err)
			}
		}
		return id == "lives"
	})
	if err != nil || n != 4 {
		t.Errorf("%d dropped, %v", n, err)
	}
	if fmt.Sprint(asked) != "map[died:1 died-too:1 lives:1]" {
		t.Errorf("asked: %v", asked)
	}
	got := claims(t, dir)
	if len(got) != 3 || got["c7"] != "share lives" {
		t.Errorf("left: %v", got)
	}
}

func TestPoolDirectory(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if p, err := Open(open); !errdef.Is(err, errdef.Denied) {
		t.Errorf("a directory that all may write: %v, %v", p, err)
	}
	if err := os.Symlink("/tmp", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if p, err := Open(filepath.Join(dir, "link")); err == nil {
		t.Errorf("a link: %v", p)
	}
	p, _ := pool(t)
	for _, id := range []string{"", "a b", "a\nown b", "../x", strings.Repeat("x", 129)} {
		if pair, err := p.draw(background(t), id); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%q: %v, %v", id, pair, err)
		}
		if err := p.Claim(background(t), id, "s0:c1"); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// drawForever draws and releases until it is killed, and says what it has.
func drawForever(dir string) {
	p, err := Open(dir)
	for n := 0; err == nil; n++ {
		id := fmt.Sprintf("%d-%d", os.Getpid(), n)
		var pair []int
		if pair, err = p.draw(context.Background(), id); err != nil {
			break
		}
		fmt.Println(id, categoryName(pair))
		if n%3 == 0 {
			fmt.Println(id, "-")
			err = p.Release(context.Background(), id, "s0:"+categoryName(pair))
		}
	}
	fmt.Println("error:", err)
	os.Exit(1)
}

// Processes are killed while they draw and release: nobody else is held up, no pair has two owners, and what they leave names its container.
func TestPoolKilled(t *testing.T) {
	p, dir := pool(t)
	p.categories = 64
	var wg sync.WaitGroup
	var mu sync.Mutex
	has := map[string]string{}
	for n := range 12 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "SELINUX_TEST_DRAW="+dir)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		lines := bufio.NewScanner(out)
		note := func() bool {
			if !lines.Scan() {
				return false
			}
			id, pair, _ := strings.Cut(lines.Text(), " ")
			mu.Lock()
			defer mu.Unlock()
			if has[id] = pair; id == "error:" {
				t.Errorf("a process: %s", lines.Text())
			}
			return true
		}
		wg.Go(func() {
			works := true
			for range 4 { // three pairs, one released
				works = works && note()
			}
			if works { // and some time later it dies in the midst of that
				kill := time.AfterFunc(time.Duration(1+13*n)*time.Millisecond, func() { _ = cmd.Process.Kill() })
				defer kill.Stop()
			}
			for note() {
			}
		})
	}
	wg.Wait()
	left := claims(t, dir)
	mine := map[string]bool{}
	for name, who := range left {
		if strings.HasPrefix(name, ".") {
			continue
		}
		id, ok := strings.CutPrefix(who, "own ")
		if !ok || strings.Contains(id, ",") {
			t.Errorf("%s has %q", name, who)
		}
		mine[id] = true
	}
	held := 0
	for id, pair := range has {
		if pair == "-" {
			continue
		}
		if held++; left[pair] != "own "+id {
			t.Errorf("%s drew %s, which %q has", id, pair, left[pair])
		}
	}
	if held < 12 {
		t.Errorf("only %d pairs were drawn: nothing was tried", held)
	}
	ctx := background(t)
	if _, err := p.draw(ctx, "after"); err != nil {
		t.Errorf("the pool is stuck: %v", err)
	}
	n, err := p.Reclaim(ctx, func(id string) bool { return id == "after" })
	if got := claims(t, dir); err != nil || n != len(mine) || len(got) != 1 {
		t.Errorf("%d of %d reclaimed, %v; left: %v", n, len(mine), err, got)
	}
	t.Logf("%d drawn and held, %d claims left by killed processes", held, len(mine))
}
