// Package refused has what gen cannot do.
package refused

type (
	Array   struct{ F [2]int }
	Bytes   struct{ F []byte }
	Raw     struct{ F []uint8 }
	IntKeys struct{ F map[int]string }
	Anon    struct{ F struct{ A int } }
	Chan    struct{ F chan int }
	Func    struct{ F func() }
	Float32 struct{ F float32 }
	Uintptr struct{ F uintptr }
	Complex struct{ F complex128 }
	Iface   struct{ F interface{ M() } }
	Option  struct {
		F int `json:"f,string"`
	}
	Zero struct {
		F int `json:"f,omitzero"`
	}
	Escape struct {
		F int `json:"a\u0000"`
	}
	Twice struct {
		A int `json:"x"`
		B int `json:"X"`
	}
	Number int
	Embed  struct{ Number }
	EmbedP struct{ *Array }
	Custom struct{ F Marshals }
	Whole  struct{ F int }
	Deep   struct{ F []map[string]*Array }
)

type Marshals string

func (Marshals) MarshalText() ([]byte, error) { return nil, nil }

func (*Whole) UnmarshalJSON([]byte) error { return nil }
