package firewall

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	watchGroup = 7                      // NFNLGRP_NFTABLES: all that is changed
	settleTime = 200 * time.Millisecond // at most, between a change of somebody else's and the look at it: not all monitors at once
)

// Watch calls f each time that somebody has deleted something of the tables, or that it was not seen what somebody did: f looks (Repair). It returns when ctx is done, or when the kernel
// cannot be listened to. Elements that come and go with containers are not among it.
func Watch(ctx context.Context, f func()) error {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{Groups: 1 << (watchGroup - 1)})
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "nftables: listen to changes: %w", err)
	}
	if err := c.SetBPF(quiet()); err != nil {
		_ = c.Close()
		return errdef.Errorf(errdef.Unavailable, "nftables: listen to changes: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	defer c.Close()
	for {
		messages, err := c.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			// Too much at once: something may have been ours.
		case err != nil:
			return errdef.Errorf(errdef.Unavailable, "nftables: listen to changes: %w", err)
		case !concerns(messages):
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rand.N(settleTime)):
		}
		f()
	}
}

// quiet is a filter in the kernel for messages: those that begin with an element that comes or goes, or a new generation, wake nobody. So the starts and ends of containers do not wake the
// monitors of all others; a batch of ours begins with elements for that reason. A set that somebody empties by hand is therefore not seen at once, but at the next look.
func quiet() []bpf.RawInstruction {
	const kindLow, kindHigh = 4, 5 // bytes of a message's header, its type in the byte order of the machine
	low, high := uint32(kindLow), uint32(kindHigh)
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		low, high = high, low
	}
	program, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: high, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.NFNL_SUBSYS_NFTABLES, SkipTrue: 4},
		bpf.LoadAbsolute{Off: low, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.NFT_MSG_NEWSETELEM, SkipTrue: 3},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.NFT_MSG_DELSETELEM, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.NFT_MSG_NEWGEN, SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 30},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		panic(err) // the program is always the same
	}
	return program
}

// concerns reports whether messages tell of a deletion in a table of ours.
func concerns(messages []netlink.Message) bool {
	for _, m := range messages {
		kind := int(m.Header.Type)
		if kind>>8 != unix.NFNL_SUBSYS_NFTABLES || len(m.Data) < 4 {
			continue
		}
		switch kind & 0xff {
		case unix.NFT_MSG_DELTABLE, unix.NFT_MSG_DELCHAIN, unix.NFT_MSG_DELRULE, unix.NFT_MSG_DELSET, unix.NFT_MSG_DELSETELEM:
		default:
			continue
		}
		var names [3]string // table; chain of a rule, or set of elements, or chain's own
		attributes(m.Data[4:], func(k uint16, v []byte) {
			if k >= 1 && k <= 2 {
				names[k] = strings.TrimRight(string(v), "\x00")
			}
		})
		if names[1] != tableName || strings.HasPrefix(names[2], "end-") {
			continue
		}
		if kind&0xff == unix.NFT_MSG_DELSETELEM && names[2] != "bridges" {
			continue
		}
		return true
	}
	return false
}

// Repair restores the tables if they are not as all the ends of all networks want them. The caller has the lock of the networks.
func Repair(all []network.Attached) (repaired bool, err error) {
	whole, err := intact(all)
	if whole || err != nil {
		return false, err
	}
	return true, Restore(all)
}

// intact reports whether every table is there with all its rules and elements.
func intact(all []network.Attached) (bool, error) {
	want, err := compile(all)
	if err != nil {
		return false, err
	}
	have, err := present()
	if err != nil {
		return false, err
	}
	c, err := open()
	if err != nil {
		return false, err
	}
	for _, t := range want.list() {
		if len(all) == 0 || !want.needs(t) {
			continue
		}
		if !have[t.family] || !t.same(c) {
			return false, nil
		}
	}
	return true, nil
}

// same counts rules and elements. A table that is in the middle of being removed is not the same.
func (t *table) same(c *nftables.Conn) bool {
	k := t.kernel()
	for _, ch := range t.chains {
		rules, err := c.GetRules(k, &nftables.Chain{Name: ch.name, Table: k})
		if err != nil || len(rules) != len(ch.rules) {
			return false
		}
	}
	for _, s := range t.sets {
		if s.timeout || s.constant() {
			continue
		}
		list, err := c.GetSetElements(s.kernel(k))
		if err != nil || len(list) != len(s.elements) {
			return false
		}
	}
	return true
}
