package lsm

import (
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// AnnotationPrefix is that of our own annotations: what the runtime specification has no field for. An annotation with it that is none of ours is a
// mistake that would leave a container weaker than its author thinks.
const AnnotationPrefix = "io.bulkhead."

// annotations are all of ours that a configuration may have.
var annotations = []string{AppArmorAnnotation, LandlockAnnotation}

// CheckAnnotation returns an error of kind Invalid for an annotation with our prefix that is unknown or whose value is none.
func CheckAnnotation(key, value string) error {
	if !strings.HasPrefix(key, AnnotationPrefix) {
		return nil
	}
	if !slices.Contains(annotations, key) {
		err := errdef.Errorf(errdef.Invalid, "annotations[%.128q]: there is no such one", key)
		return errdef.WithHint(err, "this version knows "+strings.Join(annotations, ", "))
	}
	var err error
	switch key {
	case AppArmorAnnotation:
		_, err = ParseAppArmor(value)
	case LandlockAnnotation:
		_, err = ParseLandlock(value)
	}
	return err
}
