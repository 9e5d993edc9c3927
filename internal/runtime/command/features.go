package command

import (
	"context"

	"github.com/bulkhead-engine/bulkhead/internal/ocijson"
	"github.com/bulkhead-engine/bulkhead/internal/runtime"
)

func featuresCommand() *command {
	return &command{
		name: "features", summary: "print what this runtime knows, as JSON", min: 0, max: 0,
		run: func(_ context.Context, inv *invocation) (int, error) {
			return 0, inv.printJSON(ocijson.AppendFeatures(nil, runtime.Features(Version)), "    ")
		},
	}
}
