package net

import (
	"slices"
	"testing"
	"time"
)

// An attack is one way.
type attack struct {
	name string
	from string   // who sends
	at   []string // who must not hear of it: any of them
	// frames are sent by from's only device. e is the end that sends; nil is the other host.
	frames func(w *world, e *end, mark []byte) [][]byte
	seen   func(w *world) bool // in place of being heard
	only   bool                // it is a proof that the way works at all, which has to get through in both worlds
}

// try sends until it is seen, or the time is over.
func (a attack) try(w *world, within time.Duration) bool {
	e := w.ends[a.from]
	send := w.sendLAN
	if e != nil {
		send = e.send
	}
	mark := newMark()
	seen := func() bool {
		if a.seen != nil {
			return a.seen(w)
		}
		return slices.ContainsFunc(a.at, func(p string) bool { return w.places[p].heard(mark) })
	}
	for end := time.Now().Add(within); time.Now().Before(end); {
		send(a.frames(w, e, mark)...)
		time.Sleep(gap)
		if seen() {
			return true
		}
	}
	return false
}

func TestAttacks(t *testing.T) {
	all := slices.Concat(linkAttacks(), neighbourAttacks(), routedAttacks(), hostAttacks(), egressAttacks())
	ways := 0
	for _, a := range all {
		if !a.only {
			ways++
		}
	}
	if ways < 30 {
		t.Fatalf("%d ways", ways)
	}
	for _, careless := range []bool{true, false} {
		name := "engine"
		if careless {
			name = "careless"
		}
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, careless)
			for _, a := range all {
				t.Run(a.name, func(t *testing.T) {
					want := careless || a.only
					within := denied
					if want {
						within = patience
					}
					if got := a.try(w, within); got != want {
						t.Errorf("got through: %v; want %v", got, want)
					}
				})
			}
			if t.Failed() {
				t.Log(w.host.Run("nft", "list", "ruleset"))
			}
		})
	}
}
