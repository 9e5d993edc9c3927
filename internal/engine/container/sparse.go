package container

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
)

// sparse is encoding/json's document of a value without the fields that are zero: reading it gives the same value. A record is four fifths such fields, for Docker's types have no omitempty, and to read
// them is what a list of many containers costs.
func sparse(v any) ([]byte, error) { return appendSparse(nil, reflect.ValueOf(v)) }

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// appendSparse writes structs by their fields, what leads to structs by its elements, and all else as encoding/json does.
func appendSparse(dst []byte, v reflect.Value) ([]byte, error) {
	t := v.Type()
	own := t.Implements(jsonMarshaler) || t.Implements(textMarshaler) || reflect.PointerTo(t).Implements(jsonMarshaler) || reflect.PointerTo(t).Implements(textMarshaler)
	switch {
	case own:
	case t.Kind() == reflect.Struct:
		dst, err := appendFields(append(dst, '{'), v)
		return append(dst, '}'), err
	case t.Kind() == reflect.Pointer && !v.IsNil():
		return appendSparse(dst, v.Elem())
	case t.Kind() == reflect.Slice && !v.IsNil() && t.Elem().Kind() == reflect.Struct:
		dst = append(dst, '[')
		for i := range v.Len() {
			if i > 0 {
				dst = append(dst, ',')
			}
			var err error
			if dst, err = appendSparse(dst, v.Index(i)); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	}
	if v.CanAddr() { // methods of the pointer count, as they do for encoding/json
		v = v.Addr()
	}
	b, err := json.Marshal(v.Interface())
	return append(dst, b...), err
}

// appendFields writes the fields of a struct that are not zero. Those of an embedded struct without a name of its own are the outer one's.
func appendFields(dst []byte, v reflect.Value) ([]byte, error) {
	for i := range v.NumField() {
		f, of := v.Field(i), v.Type().Field(i)
		name, options, _ := strings.Cut(of.Tag.Get("json"), ",")
		inline := of.Anonymous && name == "" && f.Kind() == reflect.Struct
		if name == "-" && options == "" || !of.IsExported() && !inline || f.IsZero() {
			continue
		}
		if inline {
			var err error
			if dst, err = appendFields(dst, f); err != nil {
				return nil, err
			}
			continue
		}
		if name == "" {
			name = of.Name
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		if dst, err = appendSparse(append(append(dst, key...), ':'), f); err != nil {
			return nil, err
		}
	}
	return dst, nil
}
