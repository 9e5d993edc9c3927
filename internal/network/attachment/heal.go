package attachment

import (
	"context"
	"errors"
	"os"

	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/bulkhead-engine/bulkhead/internal/network/firewall"
	"github.com/bulkhead-engine/bulkhead/internal/network/link"
)

// Heal removes what killed monitors have left: of one network, or of all, if it is "". What belongs to containers that live stays.
func Heal(ctx context.Context, dir network.Dir, id string) error {
	list := []string{id}
	if id == "" {
		var err error
		if list, err = dir.Networks(); err != nil {
			return err
		}
	}
	if len(list) == 0 {
		return nil
	}
	unlock, err := dir.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for _, id := range list {
		err = errors.Join(err, healOne(dir, id))
	}
	return err
}

func healOne(dir network.Dir, id string) error {
	n, err := dir.Network(id)
	if err != nil {
		n = &network.Network{ID: id} // its ends were not written down yet: nothing is there but claims
	}
	all, err := dir.Endpoints(id)
	if err != nil {
		return err
	}
	for _, e := range all {
		if dir.Alive(e.Container) {
			continue
		}
		err = errors.Join(err, link.Detach(n, e), forgetEnd(dir, network.Attached{Network: n, Endpoint: e}))
	}
	return errors.Join(err, claims(dir, id).Sweep(), removeUnused(dir, n), forgetUnused(dir, id))
}

// forgetEnd forgets an end whose device is gone, and what was there for it: its rules, and with the last of a network, the bridge; with the last of all, the tables. The caller has the lock.
func forgetEnd(dir network.Dir, a network.Attached) error {
	if err := dir.Drop(a.Network.ID, a.Endpoint.Container); err != nil {
		return err
	}
	any, err := dir.Any("")
	if err != nil {
		return err
	}
	return errors.Join(firewall.Remove(a, !any), firewall.Forget(a), removeUnused(dir, a.Network))
}

// removeUnused removes the bridge of a network that has no ends. The caller has the lock.
func removeUnused(dir network.Dir, n *network.Network) error {
	any, err := dir.Any(n.ID)
	if err != nil || any || n.Bridge == "" {
		return err
	}
	return errors.Join(firewall.Close(n), link.Remove(n))
}

// Watch repairs the rules of all containers when somebody else has deleted some of them, and then calls after, until ctx is done. One watcher is enough to repair; the monitors all do, because
// each may be the last.
func Watch(ctx context.Context, dir network.Dir, after func()) error {
	return firewall.Watch(ctx, func() {
		unlock, err := dir.Lock(ctx)
		if err != nil {
			return // the next one who sees it tries
		}
		defer unlock()
		if all, err := attached(dir); err == nil && len(all) > 0 {
			_, _ = firewall.Repair(all) // nobody is there to be told
		}
		after()
	})
}

// attached are the ends of all networks whose containers live.
func attached(dir network.Dir) ([]network.Attached, error) {
	ends, err := dir.Endpoints("")
	if err != nil {
		return nil, err
	}
	nets := map[string]*network.Network{}
	var out []network.Attached
	for _, e := range ends {
		if !dir.Alive(e.Container) {
			continue
		}
		if nets[e.Network] == nil {
			if nets[e.Network], err = dir.Network(e.Network); err != nil {
				return nil, err
			}
		}
		out = append(out, network.Attached{Network: nets[e.Network], Endpoint: e})
	}
	return out, nil
}

// forgetUnused removes the files of a network that has no ends and no claims. The caller has the lock.
func forgetUnused(dir network.Dir, id string) error {
	any, err := dir.Any(id)
	if err != nil || any {
		return err
	}
	if claimed, err := os.ReadDir(claims(dir, id).Dir); err == nil && len(claimed) > 0 {
		return nil
	}
	return dir.Forget(id)
}
