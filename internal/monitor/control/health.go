package control

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// HealthFile is in the container's directory: what its health check found last.
const HealthFile = "health.json"

// A Check says how the health of a program is found out.
type Check struct {
	Args          []string      // what is run in the container: 0 is healthy
	Interval      time.Duration // between two checks
	Timeout       time.Duration // of a check
	StartPeriod   time.Duration // after the start, in which a failure does not count
	StartInterval time.Duration // between two checks in that time
	Retries       int           // failures in a row that make it unhealthy
	OnFailure     string        // what then happens: "", none, kill, restart, stop
}

// Health is what checks found, in the form of Docker's API.
type Health struct {
	Status        string // starting, healthy, unhealthy
	FailingStreak int
	Log           []Result
}

// A Result is one check.
type Result struct {
	Start    time.Time
	End      time.Time
	ExitCode int
	Output   string
}

// ReadHealth returns what checks found last; of kind NotFound if none ever ran.
func ReadHealth(dir string) (*Health, error) {
	data, err := atomicfile.Read(filepath.Join(dir, HealthFile))
	if os.IsNotExist(err) {
		return nil, errdef.Errorf(errdef.NotFound, "health of the container: %w", err)
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "health of the container: %w", err)
	}
	var h Health
	if err := json.Unmarshal(data, &h); err != nil {
		return nil, errdef.Errorf(errdef.Internal, "health of the container: %s: %w", filepath.Join(dir, HealthFile), err)
	}
	return &h, nil
}

// WriteHealth keeps what checks found. It is not worth waiting for the disk.
func WriteHealth(dir string, h *Health) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, HealthFile), data, atomicfile.Options{Volatile: true})
}
