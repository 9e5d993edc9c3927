package command

import (
	"context"
	"flag"

	"github.com/bulkhead-engine/bulkhead/internal/doctor"
)

func doctorCommand() *command {
	var asJSON bool
	return &command{
		name: "doctor", summary: "print what this host lacks for containers, what that costs, and what mends it", min: 0, max: 0, alone: true,
		text: "Nothing of the host is changed. What can be tried is tried, as the calling user.\n" +
			"Exit status: 0 if nothing is missing that containers need, else 1; what is only weak does not count.",
		flags: func(f *flag.FlagSet) {
			f.BoolVar(&asJSON, "json", false, "as JSON: {host, missing, weak, checks: [{id, group, status, title, found, cost, fix}]}")
		},
		run: func(ctx context.Context, inv *invocation) (int, error) {
			root, err := inv.global.stateRoot()
			if err != nil {
				root = "" // which is a finding
			}
			report := doctor.Judge(doctor.Examine(ctx, doctor.Options{StateDir: root}))
			if asJSON {
				err = inv.printJSON(report.JSON(), "    ")
			} else {
				err = inv.print(report.Text())
			}
			if report.Missing() > 0 {
				return exitError, err
			}
			return 0, err
		},
	}
}
