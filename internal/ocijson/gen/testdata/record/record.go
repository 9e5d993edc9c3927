// Package record has a field of every kind that gen supports; its code is generated and tested.
package record

import (
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/internal/ocijson/gen/testdata/inner"
)

//go:generate go run ../.. -type Record,Small=Tiny

// Mode is a named string.
type Mode string

// Base is embedded.
type Base struct {
	ID   string `json:"id"`
	Skip func() `json:"-"`
	priv int
}

// Leaf is found through Record.
type Leaf struct {
	N int8
}

// Record has everything.
type Record struct {
	Base
	Mode     Mode                   `json:"mode,omitempty"`
	Yes      bool                   `json:"yes,omitempty"`
	I16      int16                  `json:"i16,omitempty"`
	U8       uint8                  `json:"u8"`
	F        float64                `json:"f,omitempty"`
	When     time.Time              `json:"when"`
	Never    time.Time              `json:"never,omitzero"`
	Any      any                    `json:"any,omitempty"`
	Ptr      *int                   `json:"ptr,omitempty"`
	PtrNull  *string                `json:"ptrNull"`
	PtrPtr   **bool                 `json:"ptrPtr,omitempty"`
	Leaf     Leaf                   `json:"leaf,omitempty"`
	Leaves   []Leaf                 `json:"leaves,omitempty"`
	LeafPtrs []*Leaf                `json:"leafPtrs"`
	Modes    []Mode                 `json:"modes"`
	Ints     []int64                `json:"ints,omitempty"`
	Grid     [][]uint32             `json:"grid,omitempty"`
	Tags     map[string]string      `json:"tags,omitempty"`
	ByName   map[string]Leaf        `json:"byName"`
	Lists    map[string][]string    `json:"lists,omitempty"`
	Ptrs     map[string]*inner.Part `json:"ptrs,omitempty"`
	Part     inner.Part             `json:"part"`
	Limits   *specs.LinuxResources  `json:"limits,omitempty"`
	Self     *Record                `json:"self,omitempty"`
	NoTag    string
}

// Small gets functions of another name.
type Small struct {
	A int `json:"a"`
}
