package nflog

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/linux/thread"
	"github.com/bulkhead-engine/bulkhead/internal/network/refusal"
	"golang.org/x/sys/unix"
)

const soon = 30 * time.Second

// What a rule refuses is heard, with its addresses, by the one that it is for, and the process that sent it is found.
func TestHeard(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	thread.Spend(func() {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Errorf("unshare: %v", err)
			return
		}
		a, err := Listen("a")
		if err != nil {
			t.Error(err)
			return
		}
		b, err := Listen("a") // the same again: another group
		if err != nil {
			t.Error(err)
			return
		}
		defer b.Close()
		if a.Group() == b.Group() || a.Group() < firstGroup || b.Group() < firstGroup {
			t.Errorf("groups %d, %d", a.Group(), b.Group())
		}
		for _, args := range []string{
			"ip link set lo up", "ip -6 addr add 2001:db8::1/128 dev lo nodad",
			fmt.Sprintf("nft add table inet x; add chain inet x o { type filter hook output priority 0; }; add rule inet x o udp dport 99 log group %d snaplen 128 drop", a.Group()),
		} {
			words := strings.Fields(args)
			if words[0] == "nft" {
				words = []string{"nft", strings.TrimPrefix(args, "nft ")}
			}
			if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", args, err, out)
				return
			}
		}
		heard := make(chan refusal.Packet, 16)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx, func(p refusal.Packet) { heard <- p }) }()
		for _, dst := range []string{"127.0.0.1:99", "[2001:db8::1]:99"} {
			c, err := net.Dial("udp", dst)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = c.Write([]byte("x"))
			select {
			case p := <-heard:
				local := netip.MustParseAddrPort(c.LocalAddr().String())
				if p.Dst.String() != dst || p.Src != local || refusal.Protocol(p.Protocol) != "udp" {
					t.Errorf("%s: heard %+v", dst, p)
				}
				// The threads of a test are in several namespaces; this one's is where the socket is.
				if pid, name := refusal.Process(unix.Gettid(), p.Protocol, p.Src); pid == 0 || name == "" {
					t.Errorf("%s: no process", dst)
				}
			case <-time.After(soon):
				t.Errorf("%s: not heard", dst)
			}
			c.Close()
		}
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(soon):
			t.Error("goes on when its context is done")
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{8, 0, 1, 0, 0, 0, 1, 0, 24, 0, 9, 0, 0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, b []byte) { parse(b) })
}
