package runtime

import (
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/launch"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/apparmor"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/lsm"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/plan"
)

// Explain returns the list of system calls that would start the bundle, each with its reason. Nothing is made or run, and no right is
// needed but that to read the bundle. Where the host cannot be asked (cgroups without permission), that part is a warning.
func (r *Runtime) Explain(id, dir string) (*plan.Plan, error) {
	b, err := r.load(dir)
	if err != nil {
		return nil, err
	}
	group, err := r.openGroup(b.Spec, id)
	if err != nil {
		r.warn(err)
	}
	if group != nil {
		defer group.Close()
	}
	spec, process := *b.Spec, *b.Spec.Process
	policy, err := r.appArmor(b)
	if err != nil {
		return nil, err
	}
	if policy != nil {
		process.ApparmorProfile = policy.Name()
	}
	spec.Process = &process
	return launch.Explain(&launch.Options{ID: id, Bundle: b.Dir, Spec: &spec, Group: group})
}

// AppArmorProfile returns the text of the profile that would be generated for a bundle, whatever this host can load. Errors are of kind Invalid for a bundle
// that asks for none.
func (r *Runtime) AppArmorProfile(dir string) (string, error) {
	b, err := r.load(dir)
	if err != nil {
		return "", err
	}
	value, ok := b.Spec.Annotations[lsm.AppArmorAnnotation]
	if !ok {
		err := errdef.Errorf(errdef.Invalid, "config.json: no annotation %s asks for a profile", lsm.AppArmorAnnotation)
		return "", errdef.WithHint(err, `add "annotations": {"`+lsm.AppArmorAnnotation+`": "generated"}`)
	}
	request, err := lsm.ParseAppArmor(value)
	if err != nil {
		return "", err
	}
	p, err := apparmor.New(b.Spec, b.Rootfs, request)
	if err != nil {
		return "", err
	}
	return p.Text(p.Name(), apparmor.Modern), nil
}
