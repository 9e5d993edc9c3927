package cli

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// filters is the value of --filter. Values of one key are alternatives for reference, and must all be true else.
type filters struct {
	known  []string
	values map[string][]string
	order  []string
}

func (f *filters) String() string { return strings.Join(f.order, ",") }
func (f *filters) Type() string   { return "KEY=VALUE" }

func (f *filters) Set(s string) error {
	key, value, ok := strings.Cut(s, "=")
	if strings.HasSuffix(key, "!") { // label!=x
		key = strings.TrimSuffix(key, "!") + "!"
	}
	key = strings.ToLower(strings.TrimSpace(key))
	hint := strings.Join(f.known, ", ")
	switch {
	case !slices.Contains(f.known, key):
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "there is no filter %q here", key), "filters are "+hint)
	case !ok || value == "":
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "wants KEY=VALUE"), "filters are "+hint)
	}
	f.order = append(f.order, s)
	f.add(key, value)
	return nil
}

func (f *filters) add(key, value string) {
	if f.values == nil {
		f.values = map[string][]string{}
	}
	f.values[key] = append(f.values[key], value)
}

// query adds the filters to the parameters of a request, as Docker's API has them.
func (f *filters) query(q url.Values) url.Values {
	if len(f.values) == 0 {
		return q
	}
	out := map[string]map[string]bool{}
	for key, values := range f.values {
		out[key] = map[string]bool{}
		for _, v := range values {
			out[key][v] = true
		}
	}
	data, _ := json.Marshal(out) // strings
	q.Set("filters", string(data))
	return q
}
