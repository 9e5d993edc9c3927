package main

import (
	"fmt"
	"go/types"
)

// kind is how a type is read and written.
type kind int

const (
	kindString kind = iota
	kindBool
	kindInt
	kindUint
	kindFloat
	kindTime
	kindAny
	kindStruct
	kindPtr
	kindSlice
	kindStrings
	kindMap
)

// suffixes name the primitives: ReadString, AppendString ...
var suffixes = [...]string{
	kindString: "String", kindBool: "Bool", kindInt: "Int", kindUint: "Uint", kindFloat: "Float", kindTime: "Time", kindAny: "Any",
	kindPtr: "Ptr", kindSlice: "Slice", kindStrings: "Strings", kindMap: "Map",
}

// classify returns the kind of t, and the type of its element if it has one.
func classify(t types.Type) (kind, types.Type, error) {
	if isTime(t) {
		return kindTime, nil, nil
	}
	if n, ok := t.(*types.Named); ok {
		for _, method := range []string{"MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText"} {
			if obj, _, _ := types.LookupFieldOrMethod(types.NewPointer(n), true, n.Obj().Pkg(), method); obj != nil {
				return 0, nil, fmt.Errorf("type %s has a method %s", t, method)
			}
		}
	}
	switch u := t.Underlying().(type) {
	case *types.Basic:
		k, err := classifyBasic(u)
		return k, nil, err
	case *types.Interface:
		if u.Empty() {
			return kindAny, nil, nil
		}
	case *types.Struct:
		if _, ok := t.(*types.Named); ok {
			return kindStruct, nil, nil
		}
	case *types.Pointer:
		return kindPtr, u.Elem(), nil
	case *types.Slice:
		b, ok := u.Elem().Underlying().(*types.Basic)
		if ok && b.Kind() == types.Byte {
			break // encoding/json writes base64
		}
		if ok && b.Kind() == types.String {
			return kindStrings, u.Elem(), nil
		}
		return kindSlice, u.Elem(), nil
	case *types.Map:
		if types.Identical(u.Key(), types.Typ[types.String]) {
			return kindMap, u.Elem(), nil
		}
	}
	return 0, nil, fmt.Errorf("type %s is not supported", t)
}

func classifyBasic(b *types.Basic) (kind, error) {
	switch info := b.Info(); {
	case info&types.IsString != 0:
		return kindString, nil
	case info&types.IsBoolean != 0:
		return kindBool, nil
	case info&types.IsUnsigned != 0 && b.Kind() != types.Uintptr:
		return kindUint, nil
	case info&types.IsInteger != 0 && b.Kind() != types.Uintptr:
		return kindInt, nil
	case b.Kind() == types.Float64:
		return kindFloat, nil
	}
	return 0, fmt.Errorf("type %s is not supported", b)
}

func isTime(t types.Type) bool {
	n, ok := t.(*types.Named)
	return ok && n.Obj().Pkg() != nil && n.Obj().Pkg().Path() == "time" && n.Obj().Name() == "Time"
}

// read returns a call that reads target, a variable of type t; with addr its address must be taken.
func (g *generator) read(t types.Type, target string, addr bool) (string, error) {
	if addr {
		target = "&" + target
	}
	k, elem, err := classify(t)
	if err != nil {
		return "", err
	}
	switch k {
	case kindStruct:
		return fmt.Sprintf("%s(d, %s)", g.fn("decode", t.(*types.Named)), target), nil
	case kindPtr, kindSlice, kindMap:
		f, err := g.reader(elem)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s(d, %s, %s)", g.prim("Read"+suffixes[k]), target, f), nil
	}
	return fmt.Sprintf("%s(d, %s)", g.prim("Read"+suffixes[k]), target), nil
}

// reader returns a function of type func(*Decoder, *t).
func (g *generator) reader(t types.Type) (string, error) {
	k, _, err := classify(t)
	if err != nil {
		return "", err
	}
	switch k {
	case kindStruct:
		return g.fn("decode", t.(*types.Named)), nil
	case kindPtr, kindSlice, kindMap:
		stmt, err := g.read(t, "v", false)
		return fmt.Sprintf("func(d *%s, v *%s) {\n%s\n}", g.prim("Decoder"), g.typ(t), stmt), err
	}
	return g.prim("Read" + suffixes[k]), nil
}

// write returns an expression that appends v, an expression of type t, to dst.
func (g *generator) write(t types.Type, v, dst string) (string, error) {
	k, elem, err := classify(t)
	if err != nil {
		return "", err
	}
	switch k {
	case kindStruct:
		return fmt.Sprintf("%s(%s, &%s)", g.fn("append", t.(*types.Named)), dst, v), nil
	case kindPtr, kindSlice, kindMap:
		f, err := g.writer(elem)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s(%s, %s, %s)", g.prim("Append"+suffixes[k]), dst, v, f), nil
	}
	return fmt.Sprintf("%s(%s, %s)", g.prim("Append"+suffixes[k]), dst, v), nil
}

// writer returns a function of type func([]byte, *t) []byte.
func (g *generator) writer(t types.Type) (string, error) {
	if k, _, err := classify(t); err == nil && k == kindStruct {
		return g.fn("append", t.(*types.Named)), nil
	}
	expr, err := g.write(t, "*v", "dst")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("func(dst []byte, v *%s) []byte { return %s }", g.typ(t), expr), nil
}
