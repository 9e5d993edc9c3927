package firewall

import (
	"errors"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// Each probe is something that a kernel with everything takes, so that none is said to be missing that is not.
func TestProbes(t *testing.T) {
	s := newSpace(t)
	s.Do(func() {
		for _, p := range probes() {
			if err := p.try(); err != nil {
				t.Errorf("%s: %v", p.option, err)
			}
		}
		no := errors.New("no")
		if err := explain(no); err != no {
			t.Errorf("a failure that is no missing option: %v", err)
		}
		// What the kernel has not is told by its name.
		missing := probe{"CONFIG_NFT_NOTHING", "nothing", nftables.TableFamilyINet, "forward", false, []expr.Any{&expr.Lookup{SourceRegister: register, SetName: "nothing"}}}
		if err := missing.try(); err == nil {
			t.Error("a rule that the kernel cannot have was taken")
		}
		err := explainBy(no, append(probes(), missing))
		if !errdef.Is(err, errdef.Unsupported) || !strings.Contains(errdef.Hint(err), "CONFIG_NFT_NOTHING") {
			t.Errorf("%v, %s", err, errdef.Hint(err))
		}
	})
	if got := strings.TrimSpace(s.Run("nft", "list", "ruleset")); got != "" {
		t.Errorf("left: %s", got)
	}
}
