package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"
)

func play(role, root string) int {
	s, err := Open(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx := context.Background()
	switch role {
	case "writer":
		err = write(ctx, s)
	case "busy":
		err = busy(ctx, s)
	case "pull":
		err = newImage("x", 1, 100_000).pull(ctx, s, nothing)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// player starts this program in a role.
func player(t testing.TB, role, root string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "STORE_TEST_ROLE="+role, "STORE_TEST_ROOT="+root)
	cmd.Stderr = os.Stderr
	return cmd
}

// victim is the image that the killed writers want to have.
func victim() image {
	return newImage("docker.io/library/victim:latest", 77, 1_500_000, 3_000, 400_000)
}

// write does all that changes a store, for ever: it is killed.
func write(ctx context.Context, s *Store) error {
	fmt.Println("ready")
	for i := rand.Uint64N(1000); ; i++ {
		im := newImage(fmt.Sprintf("other:%d", i%3), 1000+i%7, 50_000, 2_000)
		if err := im.pull(ctx, s, nothing); err != nil {
			return err
		}
		// Slowly, so that the kill comes in between; the whole takes longer than any of them lives.
		if err := victim().pull(ctx, s, func() { time.Sleep(time.Duration(rand.IntN(600)) * time.Microsecond) }); err != nil {
			return err
		}
		if _, err := s.Untag(ctx, im.name, Event{}); err != nil {
			return err
		}
		if _, err := s.GC(ctx, Roots{Grace: -1}); err != nil {
			return err
		}
		if i%5 == 0 {
			if _, err := s.Untag(ctx, victim().name, Event{}); err != nil {
				return err
			}
			if _, err := s.GC(ctx, Roots{Grace: -1}); err != nil {
				return err
			}
		}
	}
}

// busy pulls, tags, untags and collects beside seven others, for a while.
func busy(ctx context.Context, s *Store) error {
	end := time.Now().Add(3 * time.Second)
	for n := 0; time.Now().Before(end); n++ {
		i := rand.Uint64N(6)
		im := newImage(fmt.Sprintf("image:%d", i), 100*i, 90_000, 1_000, int(i))
		if err := im.pull(ctx, s, nothing); err != nil {
			return fmt.Errorf("pull: %w", err)
		}
		if err := s.Tag(ctx, fmt.Sprintf("own-%d:%d", os.Getpid(), n%4), im.desc, Event{Action: "tag"}); err != nil {
			// Without a lease the image may be gone: another one may just have untagged and collected it. Anything else is an error.
			if _, serr := s.Stat(im.desc.Digest); serr == nil {
				return fmt.Errorf("tag: %w", err)
			}
		}
		if n%3 == 0 {
			_, _ = s.Untag(ctx, im.name, Event{}) // another one may have been first
		}
		if n%5 == 0 {
			if _, err := s.GC(ctx, Roots{Grace: -1, PartialGrace: -1}); err != nil {
				return fmt.Errorf("gc: %w", err)
			}
		}
	}
	return nil
}
