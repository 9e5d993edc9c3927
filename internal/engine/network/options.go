package network

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/netlink"
)

// Options of the driver, Docker's names.
const (
	bridgeName    = "com.docker.network.bridge.name"
	masquerade    = "com.docker.network.bridge.enable_ip_masquerade"
	between       = "com.docker.network.bridge.enable_icc"
	bind4         = "com.docker.network.bridge.host_binding_ipv4"
	mtu           = "com.docker.network.driver.mtu"
	defaultBridge = "com.docker.network.bridge.default_bridge"
	gatewayMode4  = "com.docker.network.bridge.gateway_mode_ipv4"
	gatewayMode6  = "com.docker.network.bridge.gateway_mode_ipv6"
	// InterfacePrefix is what interfaces in containers are called, before their number.
	InterfacePrefix = "com.docker.network.container_iface_prefix"
)

const (
	minMTU = 68 // of IPv4; IPv6 wants more
	maxMTU = 65535
)

// setOptions takes the driver's options into a record. What it does not know it refuses.
func setOptions(r *Record, o map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(o)) {
		value := o[key]
		var err error
		switch key {
		case bridgeName:
			if err = netlink.ValidName(value, false); err == nil {
				r.Bridge = value
			}
		case masquerade:
			var on bool
			on, err = strconv.ParseBool(value)
			r.Masquerade = r.Masquerade && on
		case between:
			r.Between, err = strconv.ParseBool(value)
		case bind4:
			if r.Bind, err = netip.ParseAddr(value); err == nil && !r.Bind.Is4() {
				err = errdef.Errorf(errdef.Invalid, "not an IPv4 address")
			}
		case mtu, "mtu":
			if r.MTU, err = strconv.Atoi(value); err == nil && r.MTU != 0 && (r.MTU < minMTU || r.MTU > maxMTU) {
				err = errdef.Errorf(errdef.Invalid, "not from %d to %d", minMTU, maxMTU)
			}
		case gatewayMode4, gatewayMode6:
			if value != "nat" && value != "" {
				err = errdef.Errorf(errdef.Unsupported, "the gateway translates; with %s=false addresses stay as they are", masquerade)
			}
		case InterfacePrefix:
			err = netlink.ValidName(value+"0", false)
		default:
			err := errdef.Errorf(errdef.Unsupported, "network option %.128q: the driver %s has no such one", key, bridgeDriver)
			return errdef.WithHint(err, "there are "+bridgeName+", "+between+", "+masquerade+", "+bind4+", "+mtu+", "+InterfacePrefix)
		}
		if err != nil {
			kind := errdef.Invalid
			if errdef.Is(err, errdef.Unsupported) {
				kind = errdef.Unsupported
			}
			return errdef.Errorf(kind, "network option %s=%.128s: %w", key, value, err)
		}
	}
	return nil
}

// shown are the options of a network as inspect shows them: of the default one, what Docker shows.
func (r *Record) shown() map[string]string {
	if !r.builtin || r.Driver != bridgeDriver {
		if r.Options == nil {
			return map[string]string{}
		}
		return r.Options
	}
	return map[string]string{
		defaultBridge: "true", between: strconv.FormatBool(r.Between), masquerade: strconv.FormatBool(r.Masquerade), bind4: "127.0.0.1", bridgeName: r.Bridge, mtu: "1500",
	}
}
