package resolver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// upstream asks the servers outside.
type upstream struct {
	given   []netip.AddrPort // nil: those of the file
	options []string         // of the container; nil: those of the file
	path    string
	changed func(Conf)
	free    chan struct{} // a place for each exchange that may be under way

	mu      sync.Mutex
	seen    stamp
	looked  time.Time
	servers []netip.AddrPort
	how     patience
	failed  map[netip.AddrPort]time.Time
	turn    int
}

// look reads the host's configuration again if it has changed. The caller has the mutex; told is what is to be told of.
func (u *upstream) look(now time.Time) (told *Conf) {
	if !u.looked.IsZero() && now.Sub(u.looked) < lookTime {
		return nil
	}
	first := u.looked.IsZero()
	u.looked = now
	seen := stampOf(u.path, time.Now())
	if !first && u.seen.same(seen) {
		return nil
	}
	u.seen = seen
	conf, err := readConf(u.path)
	if err != nil {
		return nil // what was read last holds
	}
	servers, options := u.given, u.options
	if servers == nil {
		for _, a := range conf.Servers {
			servers = append(servers, netip.AddrPortFrom(a, dnsPort))
		}
		if servers == nil { // resolv.conf(5): the server on the local machine
			servers = []netip.AddrPort{netip.AddrPortFrom(loopback4, dnsPort)}
		}
		options = append(slices.Clone(conf.Options), options...)
	}
	u.servers, u.how = servers, parsePatience(options)
	u.failed = map[netip.AddrPort]time.Time{}
	return &conf
}

// order returns the servers in the order in which they are to be asked: those that have failed lately last.
func (u *upstream) order() ([]netip.AddrPort, patience) {
	u.mu.Lock()
	now := time.Now()
	told := u.look(now)
	list := slices.Clone(u.servers)
	if u.how.rotate && len(list) > 1 {
		u.turn++
		n := u.turn % len(list)
		list = append(list[n:len(list):len(list)], list[:n]...)
	}
	slices.SortStableFunc(list, func(a, b netip.AddrPort) int {
		return bad(u.failed[a], now) - bad(u.failed[b], now)
	})
	how := u.how
	u.mu.Unlock()
	if told != nil && u.changed != nil {
		u.changed(*told)
	}
	return list, how
}

func bad(failed, now time.Time) int {
	if !failed.IsZero() && now.Sub(failed) < badTime {
		return 1
	}
	return 0
}

// mark remembers whether a server has answered.
func (u *upstream) mark(server netip.AddrPort, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if ok {
		delete(u.failed, server)
	} else if slices.Contains(u.servers, server) {
		u.failed[server] = time.Now()
	}
}

// ask asks the servers, one after the other, until one has an answer. If none does, but one has said why, that is the answer; nil: nobody has said anything.
func (u *upstream) ask(ctx context.Context, q *query) *response {
	servers, how := u.order()
	ctx, cancel := context.WithTimeout(ctx, longestQuery)
	defer cancel()
	select {
	case u.free <- struct{}{}:
		defer func() { <-u.free }()
	case <-ctx.Done():
		return nil
	}
	var refusal *response
	for range how.attempts {
		for _, server := range servers {
			r := u.try(ctx, q, server, how)
			if ctx.Err() != nil {
				return refusal
			}
			fine := r != nil && (r.code == codeOK || r.code == codeName)
			if fine {
				u.mark(server, true)
				return r
			}
			if r == nil {
				u.mark(server, false)
				continue
			}
			// It lives, and cannot or will not: another one may.
			refusal = r
		}
	}
	return refusal
}

// try asks one server, once by each way that is needed. nil: it has not answered.
func (u *upstream) try(ctx context.Context, q *query, server netip.AddrPort, how patience) *response {
	ctx, cancel := context.WithTimeout(ctx, how.try)
	defer cancel()
	if how.stream {
		return byStream(ctx, q, server)
	}
	r := byPacket(ctx, q, server, true)
	if r != nil && q.edns && (r.code == codeFormat || r.code == codeNotImpl || r.code == codeVersion) { // RFC 6891, section 6.2.2
		r = byPacket(ctx, q, server, false)
	}
	if r != nil && r.cut && q.limit() > maxOutside {
		if long := byStream(ctx, q, server); long != nil {
			return long
		}
	}
	return r
}

func newID() uint16 {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return binary.BigEndian.Uint16(b[:])
}

// buffers are for answers by UDP. One byte more than is asked for, so that a longer one is seen; some servers do not care what was asked for.
var buffers = sync.Pool{New: func() any { return new([maxDatagram + 1]byte) }}

// byPacket asks by UDP, from a socket of its own. What comes and is no answer is passed over: somebody may be guessing.
func byPacket(ctx context.Context, q *query, server netip.AddrPort, edns bool) *response {
	var d net.Dialer
	c, err := d.DialContext(ctx, "udp", server.String())
	if err != nil {
		return nil
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	id := newID()
	if _, err := c.Write(q.outward(id, edns)); err != nil {
		return nil
	}
	buf := buffers.Get().(*[maxDatagram + 1]byte)
	defer buffers.Put(buf)
	for range maxStrangers {
		n, err := c.Read(buf[:])
		if err != nil {
			return nil // the time is up, or nobody listens there
		}
		if n > maxDatagram {
			continue
		}
		if r, ok := q.readResponse(buf[:n], id); ok {
			r.msg = slices.Clone(r.msg)
			return r
		}
	}
	return nil
}

// byStream asks by TCP.
func byStream(ctx context.Context, q *query, server netip.AddrPort) *response {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", server.String())
	if err != nil {
		return nil
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	id := newID()
	if _, err := c.Write(framed(q.outward(id, true))); err != nil {
		return nil
	}
	msg, err := readFramed(c, maxMessage)
	if err != nil {
		return nil
	}
	if r, ok := q.readResponse(msg, id); ok && !r.cut {
		return r
	}
	return nil
}

// framed puts the length before a message: RFC 1035, section 4.2.2. Both are written at once.
func framed(msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(msg)), uint16(len(msg))), msg...)
}

// readFramed reads one message. Memory grows with what comes, not with what was announced.
func readFramed(r io.Reader, most int) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n < headerLen || n > most {
		return nil, errShort
	}
	msg := make([]byte, 0, min(n, plainSize))
	for len(msg) < n {
		msg = slices.Grow(msg, 1)
		k, err := r.Read(msg[len(msg):min(cap(msg), n)])
		msg = msg[:len(msg)+k]
		if err != nil && len(msg) < n {
			return nil, err
		}
	}
	return msg, nil
}
