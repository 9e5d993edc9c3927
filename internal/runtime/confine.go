package runtime

import (
	"context"
	"path/filepath"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/bundle"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/apparmor"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/lsm"
)

// appArmor returns the policy that a bundle asks for by lsm.AppArmorAnnotation, nil if it asks for none, or for none that this host can have and says
// that it does without; of that it warns.
func (r *Runtime) appArmor(b *bundle.Bundle) (*apparmor.Policy, error) {
	value, ok := b.Spec.Annotations[lsm.AppArmorAnnotation]
	if !ok {
		return nil, nil
	}
	request, err := lsm.ParseAppArmor(value)
	if err != nil {
		return nil, err
	}
	if own := b.Spec.Process.ApparmorProfile; own != "" {
		err := errdef.Errorf(errdef.Invalid, "annotations[%q]: process.apparmorProfile names %q already", lsm.AppArmorAnnotation, own)
		return nil, errdef.WithHint(err, "a process has one profile: leave one of them away")
	}
	if !lsm.Host().AppArmor && request.BestEffort {
		r.debug("AppArmor is not in force on this host: the container has no profile") // the host's choice, of which doctor speaks
		return nil, nil
	}
	if err := apparmor.Ready(); err != nil {
		if request.BestEffort {
			r.warn(err)
			return nil, nil
		}
		return nil, err
	}
	return apparmor.New(b.Spec, b.Rootfs, request)
}

// confine claims an AppArmor profile for the container. It is loaded when it is on record.
func (n *creation) confine(ctx context.Context, r *Runtime, id string) error {
	policy, err := r.appArmor(n.bundle)
	if policy == nil || err != nil {
		return err
	}
	n.profile, err = apparmor.Claim(ctx, policy, filepath.Join(r.Root, id))
	if errdef.Is(err, errdef.Unsupported) && policy.BestEffort() {
		r.warn(err)
		return nil
	}
	return err
}

// profileName is "" for a container without a profile of the runtime's.
func (n *creation) profileName() string {
	if n.profile == nil {
		return ""
	}
	return n.profile.Name
}
