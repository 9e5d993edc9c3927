package runflags

import (
	"math/big"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/pflag"
)

// Limits are the flags of `update`, and among those of `run`.
type Limits struct {
	set *pflag.FlagSet

	memory, memoryReservation, memorySwap, cpus, cpusetCpus, cpusetMems, restart     string
	blkioWeightDevice, readBps, readIOps, writeBps, writeIOps                        []string
	blkioWeight                                                                      uint16
	cpuPeriod, cpuQuota, cpuRTPeriod, cpuRTRuntime, cpuShares, swappiness, pidsLimit int64
}

// Register declares the flags.
func (l *Limits) Register(s *pflag.FlagSet) {
	l.set = s
	s.StringVar(&l.restart, "restart", "no", "no, on-failure[:MAX], always, unless-stopped")
	s.StringVarP(&l.memory, "memory", "m", "", "bytes, with b, k, m, g")
	s.StringVar(&l.memoryReservation, "memory-reservation", "", "bytes that are its own when memory runs short")
	s.StringVar(&l.memorySwap, "memory-swap", "", "memory and swap together; -1: no limit of swap")
	s.Int64Var(&l.swappiness, "memory-swappiness", -1, "0 to 100")
	s.StringVar(&l.cpus, "cpus", "", "number of processors, such as 1.5")
	s.Int64VarP(&l.cpuShares, "cpu-shares", "c", 0, "relative weight")
	s.Int64Var(&l.cpuPeriod, "cpu-period", 0, "microseconds")
	s.Int64Var(&l.cpuQuota, "cpu-quota", 0, "microseconds")
	s.Int64Var(&l.cpuRTPeriod, "cpu-rt-period", 0, "microseconds")
	s.Int64Var(&l.cpuRTRuntime, "cpu-rt-runtime", 0, "microseconds")
	s.StringVar(&l.cpusetCpus, "cpuset-cpus", "", "processors: 0-3, 0,1")
	s.StringVar(&l.cpusetMems, "cpuset-mems", "", "memory nodes")
	s.Int64Var(&l.pidsLimit, "pids-limit", 0, "processes; -1: no limit")
	s.Uint16Var(&l.blkioWeight, "blkio-weight", 0, "10 to 1000")
	s.StringArrayVar(&l.blkioWeightDevice, "blkio-weight-device", nil, "DEVICE:WEIGHT")
	s.StringArrayVar(&l.readBps, "device-read-bps", nil, "DEVICE:BYTES per second")
	s.StringArrayVar(&l.readIOps, "device-read-iops", nil, "DEVICE:NUMBER per second")
	s.StringArrayVar(&l.writeBps, "device-write-bps", nil, "DEVICE:BYTES per second")
	s.StringArrayVar(&l.writeIOps, "device-write-iops", nil, "DEVICE:NUMBER per second")
}

// Update is what the flags change, nil if none is there.
func (l *Limits) Update() (*container.UpdateConfig, error) {
	var u container.UpdateConfig
	if l.set.NFlag() == 0 {
		return nil, nil
	}
	if err := l.apply(&u.Resources); err != nil {
		return nil, err
	}
	if !l.set.Changed("restart") {
		return &u, nil
	}
	var err error
	u.RestartPolicy, err = l.restartPolicy()
	return &u, err
}

// restartPolicy reads --restart: NAME[:MAX].
func (l *Limits) restartPolicy() (container.RestartPolicy, error) {
	name, most, limited := strings.Cut(l.restart, ":")
	p := container.RestartPolicy{Name: container.RestartPolicyMode(name)}
	if limited && name == "" {
		return p, bad("restart", l.restart, "invalid restart policy format: no policy provided before colon")
	}
	if most != "" {
		n, err := strconv.Atoi(most)
		if err != nil {
			return p, bad("restart", l.restart, "invalid restart policy format: maximum retry count must be an integer")
		}
		p.MaximumRetryCount = n
	}
	return p, nil
}

// amount reads bytes with a unit.
func amount(flag, text string, to *int64) error {
	if text == "" {
		return nil
	}
	n, err := units.RAMInBytes(text)
	if err != nil {
		return bad(flag, text, "wants a number of bytes, with b, k, m or g")
	}
	*to = n
	return nil
}

func (l *Limits) apply(r *container.Resources) error {
	if err := amount("memory", l.memory, &r.Memory); err != nil {
		return err
	}
	if err := amount("memory-reservation", l.memoryReservation, &r.MemoryReservation); err != nil {
		return err
	}
	if l.memorySwap == "-1" {
		r.MemorySwap = -1
	} else if err := amount("memory-swap", l.memorySwap, &r.MemorySwap); err != nil {
		return err
	}
	if l.set.Changed("memory-swappiness") {
		if l.swappiness < -1 || l.swappiness > 100 {
			return bad("memory-swappiness", strconv.FormatInt(l.swappiness, 10), "valid memory swappiness range is 0-100")
		}
		r.MemorySwappiness = &l.swappiness
	}
	if l.cpus != "" {
		n, ok := new(big.Rat).SetString(l.cpus)
		if !ok || strings.ContainsAny(l.cpus, "/eEpP_xX") {
			return bad("cpus", l.cpus, "wants a number of processors, such as 1.5")
		}
		nano := n.Mul(n, big.NewRat(1e9, 1))
		if !nano.IsInt() || !nano.Num().IsInt64() {
			return bad("cpus", l.cpus, "is too precise")
		}
		r.NanoCPUs = nano.Num().Int64()
	}
	r.CPUShares, r.CPUPeriod, r.CPUQuota, r.CPURealtimePeriod, r.CPURealtimeRuntime = l.cpuShares, l.cpuPeriod, l.cpuQuota, l.cpuRTPeriod, l.cpuRTRuntime
	r.CpusetCpus, r.CpusetMems = l.cpusetCpus, l.cpusetMems
	if l.set.Changed("pids-limit") {
		r.PidsLimit = &l.pidsLimit
	}
	return l.blkio(r)
}

func (l *Limits) blkio(r *container.Resources) error {
	r.BlkioWeight = l.blkioWeight
	for _, text := range l.blkioWeightDevice {
		path, number, ok := strings.Cut(text, ":")
		n, err := strconv.ParseUint(number, 10, 16)
		if !ok || err != nil || n != 0 && (n < 10 || n > 1000) || !strings.HasPrefix(path, "/dev/") {
			return bad("blkio-weight-device", text, "wants /dev/NAME:WEIGHT, 10 to 1000")
		}
		r.BlkioWeightDevice = append(r.BlkioWeightDevice, &blkiodev.WeightDevice{Path: path, Weight: uint16(n)})
	}
	for _, t := range []struct {
		flag  string
		from  []string
		to    *[]*blkiodev.ThrottleDevice
		bytes bool
	}{
		{"device-read-bps", l.readBps, &r.BlkioDeviceReadBps, true},
		{"device-write-bps", l.writeBps, &r.BlkioDeviceWriteBps, true},
		{"device-read-iops", l.readIOps, &r.BlkioDeviceReadIOps, false},
		{"device-write-iops", l.writeIOps, &r.BlkioDeviceWriteIOps, false},
	} {
		for _, text := range t.from {
			path, number, ok := strings.Cut(text, ":")
			n, err := int64(0), error(nil)
			if t.bytes {
				n, err = units.RAMInBytes(number)
			} else {
				n, err = strconv.ParseInt(number, 10, 63)
			}
			if !ok || err != nil || n < 0 || !strings.HasPrefix(path, "/dev/") {
				return bad(t.flag, text, "wants /dev/NAME:NUMBER")
			}
			*t.to = append(*t.to, &blkiodev.ThrottleDevice{Path: path, Rate: uint64(n)})
		}
	}
	return nil
}
