package netlink

import (
	"errors"
	"runtime"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// LoopbackUp brings the device "lo" up in the network namespace behind ns.
func LoopbackUp(ns int) error {
	c, err := dialIn(ns)
	if err != nil {
		return err
	}
	defer c.close()
	lo, err := c.byName("lo")
	if err != nil {
		return err
	}
	if err := c.setUp(lo.index); err != nil {
		return errdef.Errorf(kindOf(err), "bring up network device \"lo\": %w", err)
	}
	return nil
}

// MoveDevice moves the network device name of the calling thread's network namespace into the one behind ns, calls it newName there (""
// keeps the name; one %d lets the kernel choose a number), gives it back its permanent global addresses and its MTU, which the move may
// take, and brings it up (runtime-spec 1.3 config-linux.md, "Network Devices"). It returns the name that the device has now.
//
// If a step fails the device is brought back as it was, as far as the kernel allows; an error of that joins the first. Errors: NotFound
// no such device; Exists the name is taken there; Invalid a bad name or the loopback device; Denied; Unsupported the device is bound to its
// namespace.
func MoveDevice(name string, ns int, newName string) (string, error) {
	if newName == "" {
		newName = name
	}
	if err := errors.Join(ValidName(name, false), ValidName(newName, true)); err != nil {
		return "", errdef.WithKind(errdef.Invalid, err)
	}
	from, err := openHere()
	if err != nil {
		return "", err
	}
	defer from.close()
	to, err := openThere(ns)
	if err != nil {
		return "", err
	}
	defer to.c.close()
	dev, err := from.c.byName(name)
	if err != nil {
		return "", err
	}
	if dev.flags&unix.IFF_LOOPBACK != 0 {
		return "", errdef.Errorf(errdef.Invalid, "network device %q: the loopback device cannot be moved", name)
	}
	return transfer(dev, from, to, newName)
}

// side is a network namespace with a socket in it.
type side struct {
	c  *conn
	ns int
}

// openHere opens the calling thread's namespace.
func openHere() (side, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ns, err := ownNamespace()
	if err != nil {
		return side{}, err
	}
	c, err := dial()
	if err != nil {
		unix.Close(ns)
		return side{}, err
	}
	return side{c, ns}, nil
}

// openThere opens a namespace that the caller holds.
func openThere(ns int) (side, error) {
	c, err := dialIn(ns)
	return side{c, ns}, err
}

func (s side) close() {
	s.c.close()
	unix.Close(s.ns)
}

// transfer moves dev and undoes it if it fails half way.
func transfer(dev link, from, to side, newName string) (string, error) {
	addresses, err := from.c.addresses(dev.index)
	if err != nil {
		return "", err
	}
	before, err := to.c.all()
	if err != nil {
		return "", err
	}
	// The kernel moves first and renames then, and leaves a device whose new name is taken where it does not belong: look beforehand.
	if !strings.Contains(newName, "%") && find(before, func(l link) bool { return l.name == newName }) != nil {
		return "", errdef.Errorf(errdef.Exists, "network device %q: the name %q is taken in the container", dev.name, newName)
	}
	moveErr := from.c.move(dev.index, to.ns, newName)
	now, err := to.c.arrived(dev, before)
	if moveErr != nil {
		moveErr = errdef.Errorf(kindOf(moveErr), "move network device %q as %q: %w", dev.name, newName, moveErr)
		if err != nil {
			return "", moveErr // it never left
		}
		return "", errors.Join(moveErr, giveBack(dev, now, addresses, to, from))
	}
	if err != nil {
		return "", err
	}
	if err := to.c.equip(dev, now, addresses); err != nil {
		err = errdef.Errorf(kindOf(err), "network device %q in the container: %w", dev.name, err)
		return "", errors.Join(err, giveBack(dev, now, addresses, to, from))
	}
	return now.name, nil
}

// move asks the kernel to put a device into another namespace under another name, in one message.
func (c *conn) move(index int32, ns int, name string) error {
	m := newMessage(unix.RTM_NEWLINK, 0, ifinfo(index, 0, 0))
	m.string(unix.IFLA_IFNAME, name)
	m.uint32(unix.IFLA_NET_NS_FD, uint32(ns))
	return c.exec(m)
}

// arrived finds the device after its move. Its index is kept unless it is taken there, so the new one with its hardware address is it.
func (c *conn) arrived(dev link, before []link) (link, error) {
	after, err := c.all()
	if err != nil {
		return link{}, err
	}
	l := find(after, func(l link) bool {
		isOld := find(before, func(b link) bool { return b.index == l.index }) != nil
		return !isOld && l.hardware == dev.hardware
	})
	if l == nil {
		return link{}, errdef.Errorf(errdef.Internal, "network device %q: not found after the move", dev.name)
	}
	return *l, nil
}

// equip gives a moved device what it had.
func (c *conn) equip(was, now link, addresses []address) error {
	if now.mtu != was.mtu {
		if err := c.setMTU(now.index, was.mtu); err != nil {
			return err
		}
	}
	for _, a := range addresses {
		if !a.lasting() {
			continue
		}
		if err := c.addAddress(now.index, a); err != nil {
			return err
		}
	}
	return c.setUp(now.index)
}

// giveBack undoes a move.
func giveBack(was, now link, addresses []address, from, to side) error {
	before, err := to.c.all()
	if err == nil {
		err = from.c.move(now.index, to.ns, was.name)
	}
	if err == nil {
		now, err = to.c.arrived(was, before)
	}
	if err == nil && was.flags&unix.IFF_UP != 0 {
		err = to.c.equip(was, now, addresses)
	}
	if err != nil {
		return errdef.Errorf(errdef.Internal, "give network device %q back to the host: %w", was.name, err)
	}
	return nil
}

func find(links []link, is func(link) bool) *link {
	for i := range links {
		if is(links[i]) {
			return &links[i]
		}
	}
	return nil
}
