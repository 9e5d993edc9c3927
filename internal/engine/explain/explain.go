package explain

import (
	"github.com/bulkhead-engine/bulkhead/internal/defaults"
	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/plan"
	"github.com/moby/moby/api/types/container"
)

// An Input is what an explanation is made of.
type Input struct {
	ID, Name, Image string
	Config          container.Config // merged with the image's
	Host            container.HostConfig
	Points          []assemble.Point
	ImageConfig     *manifest.ImageConfig // nil: not known
	Facts           defaults.Host
	Result          *assemble.Result
	Steps           []plan.Step
}

// An Explanation is what confines a container.
type Explanation struct {
	ID       string    `json:"id"`
	Name     string    `json:"name,omitempty"`
	Image    string    `json:"image,omitempty"`
	Level    string    `json:"level"`
	Weaker   []Weaker  `json:"weaker"`   // than the default
	Settings []Setting `json:"settings"` // in the order of their kinds
	Parts    []Part    `json:"parts"`    // in the order of the system calls
}

// A Weaker is something that holds less than the default.
type Weaker struct {
	Flag string `json:"flag"`
	What string `json:"what"`
}

// A Setting is one decision.
type Setting struct {
	Kind   string `json:"kind"`
	What   string `json:"what"`
	Origin string `json:"origin"` // level hardened, --cap-add ..., image, engine, runtime
	Reason string `json:"reason,omitempty"`
}

// A Part are system calls that carry out one setting.
type Part struct {
	What   string `json:"what"`
	Origin string `json:"origin"`
	Reason string `json:"reason,omitempty"`
	Steps  []Step `json:"steps"`
}

// A Step is one system call.
type Step struct {
	Number int    `json:"step,omitempty"` // 0: the parent's
	Call   string `json:"call"`
	Why    string `json:"why"`
	Hint   string `json:"hint,omitempty"`
}

// New makes an explanation.
func New(in *Input) *Explanation {
	o := compare(in)
	out := &Explanation{ID: in.ID, Name: in.Name, Image: in.Image, Level: o.level.String(), Weaker: []Weaker{}, Settings: o.list}
	for _, w := range in.Result.Weaker {
		out.Weaker = append(out.Weaker, Weaker{"--" + w.Flag, w.What})
	}
	out.Parts = o.parts()
	return out
}

// compare finds all settings.
func compare(in *Input) *origins {
	o := &origins{in: in, level: in.Result.Options.Level, spec: in.Result.Spec, base: defaults.Spec(in.Result.Options.Level, in.Facts), reasons: map[string]string{}}
	for _, e := range defaults.Explain(o.level) {
		o.reasons[e.Kind+" "+e.Value] = e.Reason
	}
	o.all()
	return o
}
