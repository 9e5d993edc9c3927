package resolver

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// HostConf is where the host's configuration is.
const HostConf = "/etc/resolv.conf"

// Config is what a resolver is to do. The zero value knows no names, and asks nobody.
type Config struct {
	Names   Names            // nil: none, and nobody outside is asked
	Policy  Policy           // nil: every name may be asked for outside
	Servers []netip.AddrPort // nil: those of the host's configuration
	Options []string         // of resolv.conf(5): timeout:N, attempts:N, rotate, use-vc; over those of the host's configuration
	Conf    string           // the host's configuration; "": HostConf. It is read again when it has changed
	// Changed, if it is there, is called with the host's configuration when that was read, for the first time and after changes. It must not block.
	Changed func(Conf)
}

// A Server is the resolver of one container.
type Server struct {
	names   Names
	policy  Policy
	up      upstream
	s       *sockets
	ctx     context.Context
	cancel  context.CancelFunc
	pending chan struct{}
	conns   chan struct{}
	wg      sync.WaitGroup
	pace    pace
}

// pace makes those wait who ask too fast.
type pace struct {
	mu    sync.Mutex
	began time.Time
	count int
}

// take counts a question, and returns how long to wait before it is answered.
func (p *pace) take(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.began) >= queriesTime {
		p.began, p.count = now, 0
	}
	if p.count++; p.count <= maxQueries {
		return 0
	}
	return p.began.Add(queriesTime).Sub(now)
}

// Start makes a resolver in a network namespace, and serves until Close. It does not keep the descriptor.
func Start(netns int, c Config) (*Server, error) {
	s, err := newServer(c)
	if err != nil {
		return nil, err
	}
	if s.s, err = listen(netns); err != nil {
		s.cancel()
		return nil, err
	}
	s.wg.Go(s.packets)
	s.wg.Go(s.streams)
	return s, nil
}

func newServer(c Config) (*Server, error) {
	for _, a := range c.Servers {
		if !a.IsValid() || a.Addr().IsUnspecified() || a.Addr().IsMulticast() || a.Port() == 0 {
			return nil, errdef.Errorf(errdef.Invalid, "DNS server %s: no address of a server", a)
		}
	}
	s := &Server{names: c.Names, policy: c.Policy, pending: make(chan struct{}, maxPending), conns: make(chan struct{}, maxConnections)}
	if s.names == nil {
		s.names = &Table{}
	}
	s.up = upstream{given: c.Servers, options: c.Options, path: c.Conf, changed: c.Changed, free: make(chan struct{}, maxExchanges)}
	if s.up.path == "" {
		s.up.path = HostConf
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Close ends the resolver, and waits until nothing of it runs.
func (s *Server) Close() {
	s.cancel()
	s.s.close()
	s.wg.Wait()
}

// handle answers a message; nil: there is no answer to it. later is what has to wait for others, if something has.
func (s *Server) handle(q *query, code int) (now []byte, later func() []byte) {
	if code != codeOK {
		return q.reply(answer{code: code}), nil
	}
	if a, ok := local(q, s.names); ok {
		return q.reply(a), nil
	}
	if !s.names.Outside() {
		return q.reply(answer{code: codeName, ede: edeNoReach, text: "no network of this container leads outside"}), nil
	}
	if s.limited() {
		if a, ok := before(q, s.policy); ok {
			return q.reply(a), nil
		}
	}
	return nil, func() []byte { return s.forward(q) }
}

// limited reports whether names are held to a policy. One that comes while a query is outside holds for its answer.
func (s *Server) limited() bool { return s.policy != nil && s.policy.Limits() }

// forward asks outside.
func (s *Server) forward(q *query) []byte {
	r := s.up.ask(s.ctx, q)
	if r == nil {
		return q.reply(answer{code: codeServer, ede: edeNoReach, text: "no DNS server has answered"})
	}
	if s.limited() {
		if a, ok := after(q, r, s.policy); ok {
			return q.reply(a)
		}
	}
	return r.forClient(q)
}

// packets serves UDP.
func (s *Server) packets() {
	buf := make([]byte, maxDatagram)
	for {
		n, client, err := s.s.packets.ReadFromUDPAddrPort(buf)
		if err != nil {
			if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			s.rest()
			continue
		}
		s.wait()
		q, code, ok := readQuery(buf[:n])
		if !ok {
			continue
		}
		q.client = client
		send := func(msg []byte) { _, _ = s.s.packets.WriteToUDPAddrPort(msg, client) }
		now, later := s.handle(q, code)
		if now != nil {
			send(now)
			continue
		}
		select {
		case s.pending <- struct{}{}:
			s.wg.Go(func() {
				defer func() { <-s.pending }()
				send(later())
			})
		default: // the client asks again
		}
	}
}

// wait holds up a container that asks too fast. What comes by UDP meanwhile waits in the socket's buffer, or is lost.
func (s *Server) wait() {
	for {
		d := s.pace.take(time.Now())
		if d <= 0 {
			return
		}
		select {
		case <-time.After(d):
		case <-s.ctx.Done():
			return
		}
	}
}

// rest keeps an error that does not go away from using up a processor.
func (s *Server) rest() {
	select {
	case <-time.After(10 * time.Millisecond):
	case <-s.ctx.Done():
	}
}

// streams serves TCP.
func (s *Server) streams() {
	for {
		c, err := s.s.streams.AcceptTCP()
		if err != nil {
			if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			s.rest()
			continue
		}
		select {
		case s.conns <- struct{}{}:
			s.wg.Go(func() {
				defer func() { <-s.conns }()
				s.connection(c)
			})
		default:
			_ = c.Close()
		}
	}
}

// connection serves one client by TCP: RFC 7766. Answers come in the order in which they are ready.
func (s *Server) connection(c *net.TCPConn) {
	var answering sync.WaitGroup
	ctx, cancel := context.WithCancel(s.ctx)
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer func() {
		answering.Wait()
		stop()
		cancel()
		_ = c.Close()
	}()
	client, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	var writing sync.Mutex
	send := func(msg []byte) {
		writing.Lock()
		defer writing.Unlock()
		_ = c.SetWriteDeadline(time.Now().Add(writeTime))
		if _, err := c.Write(framed(msg)); err != nil {
			_ = c.SetLinger(0)
			cancel() // whoever does not take answers gets no more, and the kernel keeps nothing for it
		}
	}
	places := make(chan struct{}, maxPipelined)
	r := bufio.NewReaderSize(io.Reader(c), plainSize)
	for {
		_ = c.SetReadDeadline(time.Now().Add(idleTime))
		msg, err := readFramed(r, maxQuery)
		if err != nil {
			return
		}
		s.wait()
		q, code, ok := readQuery(msg)
		if !ok {
			return
		}
		q.stream, q.client = true, client
		now, later := s.handle(q, code)
		if now != nil {
			send(now)
			continue
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		answering.Go(func() {
			defer func() { <-places }()
			send(later())
		})
	}
}

// Port is the port of the socket by UDP in the container, which only its own programs reach.
func (s *Server) Port() uint16 { return portOf(s.s.packets.LocalAddr()) }
