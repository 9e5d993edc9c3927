package container

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
)

// filled is a record in which nothing is zero: every field of every type that it is made of. depth bounds types that contain themselves.
func filled(v reflect.Value, depth int) {
	if depth == 0 || !v.CanSet() {
		return
	}
	switch v.Interface().(type) { // whose documents are their own
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 12, 1, 2, 3, 4, 5, time.UTC)))
		return
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.MustParseAddr("127.0.0.53")))
		return
	case network.Port:
		v.Set(reflect.ValueOf(network.MustParsePort("80/tcp")))
		return
	case network.HardwareAddr:
		v.Set(reflect.ValueOf(network.HardwareAddr{2, 0, 0, 0, 0, 1}))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			filled(v.Field(i), depth-1)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(v.Elem(), depth-1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			filled(v.Index(i), depth-1)
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		filled(key, depth-1)
		filled(value, depth-1)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("x<\x01\">")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(-7)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	}
}

func records() map[string]*Record {
	no, empty := false, ""
	full := &Record{}
	filled(reflect.ValueOf(full).Elem(), 12)
	return map[string]*Record{
		"zero": {},
		"full": full,
		"small": {
			ID: "a", Created: time.Now().UTC(), Points: []assemble.Point{{Type: mount.TypeBind, Source: "/x"}, {}},
			Config: api.Config{Env: []string{}, Cmd: []string{"a<b"}, Labels: map[string]string{}, ExposedPorts: network.PortSet{network.MustParsePort("80/tcp"): {}}},
			Host:   api.HostConfig{Resources: api.Resources{OomKillDisable: &no, Memory: 5}, DNS: []netip.Addr{netip.MustParseAddr("::1")}, RestartPolicy: api.RestartPolicy{Name: api.RestartPolicyAlways}},
		},
		"pointers to nothing": {Host: api.HostConfig{Init: &no, CapAdd: []string{}, Mounts: []mount.Mount{{VolumeOptions: &mount.VolumeOptions{}}}}, Config: api.Config{StopSignal: empty}},
	}
}

// TestSparse: what is read of a sparse document is what is read of encoding/json's, for every field that a record can have.
func TestSparse(t *testing.T) {
	for name, r := range records() {
		whole, err := json.Marshal(r)
		if err != nil {
			t.Fatal(name, err)
		}
		thin, err := sparse(r)
		if err != nil {
			t.Fatal(name, err)
		}
		var a, b Record
		if err := json.Unmarshal(whole, &a); err != nil {
			t.Fatal(name, err)
		}
		if err := json.Unmarshal(thin, &b); err != nil {
			t.Fatalf("%s: %v: %s", name, err, thin)
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s: %+v\nwant %+v\nof %s", name, b, a, thin)
		}
		if name == "small" && len(thin) > len(whole)/3 {
			t.Errorf("%d of %d bytes", len(thin), len(whole))
		}
	}
}

func BenchmarkRead(b *testing.B) {
	r := records()["small"]
	whole, _ := json.Marshal(r)
	thin, _ := sparse(r)
	for name, data := range map[string][]byte{"whole": whole, "sparse": thin} {
		b.Run(name, func(b *testing.B) {
			b.ReportMetric(float64(len(data)), "bytes")
			for b.Loop() {
				var r Record
				if err := json.Unmarshal(data, &r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
