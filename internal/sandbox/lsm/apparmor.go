package lsm

import (
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// AppArmorAnnotation asks for an AppArmor profile that the runtime itself takes care of; process.apparmorProfile names one that somebody else has
// loaded. Its value is a list of words, separated by commas, and begins with one of the first two:
//
//	generated     a profile made from the specification, for this container alone, loaded before it starts and removed with it
//	default       the profile docker-default, which is loaded if nobody has loaded one of this name
//	mount         (generated) mount, umount and pivot_root are allowed inside
//	userns        (generated) user namespaces may be made inside; a kernel that does not mediate them allows it anyway
//	best-effort   the container goes without where AppArmor is not in force, and with a warning where nothing can be loaded; without this word both are errors
const AppArmorAnnotation = "io.bulkhead.apparmor"

// DefaultProfile is the name of the profile of Docker, Podman's kin and containerd that images are used to.
const DefaultProfile = "docker-default"

// An AppArmorRequest is what an annotation asks for. The zero value asks for nothing.
type AppArmorRequest struct {
	Generated, Default bool // one of them, in what ParseAppArmor returns
	Mount, UserNS      bool
	BestEffort         bool
}

// ParseAppArmor reads the value of AppArmorAnnotation. Errors are of kind Invalid and name the word.
func ParseAppArmor(value string) (AppArmorRequest, error) {
	var r AppArmorRequest
	bad := func(word, why string) (AppArmorRequest, error) {
		err := errdef.Errorf(errdef.Invalid, "annotations[%q]: %.64q: %s", AppArmorAnnotation, word, why)
		return AppArmorRequest{}, errdef.WithHint(err, "words are generated or default, and then mount, userns, best-effort")
	}
	words := map[string]*bool{
		"generated": &r.Generated, "default": &r.Default, "mount": &r.Mount, "userns": &r.UserNS, "best-effort": &r.BestEffort,
	}
	for _, word := range strings.Split(value, ",") {
		flag := words[word]
		switch {
		case flag == nil:
			return bad(word, "not a word of AppArmor's")
		case *flag:
			return bad(word, "given twice")
		}
		*flag = true
	}
	switch {
	case r.Generated == r.Default:
		return bad(value, "wants one of generated and default")
	case r.Default && (r.Mount || r.UserNS):
		return bad(value, "mount and userns are for a generated profile")
	}
	return r, nil
}
