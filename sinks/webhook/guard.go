package webhook

import (
	"fmt"
	"net/netip"
	"syscall"

	"github.com/webhook-bridge/bridge/sinks"
)

// guard decides which addresses the sink may connect to.
type guard struct{ allowed []netip.Prefix }

// newGuard returns the problems of allow, each a [*sinks.KeyError].
func newGuard(allow []string) (g guard, problems []error) {
	for i, text := range allow {
		p, err := parseNetwork(text)
		if err != nil {
			problems = append(problems, &sinks.KeyError{Key: fmt.Sprintf("allow[%d]", i), Err: err})
			continue
		}
		g.allowed = append(g.allowed, p)
	}
	return g, problems
}

// addressError refuses an address.
type addressError struct{ addr netip.Addr }

func (e *addressError) Error() string {
	return fmt.Sprintf("the address %s is not public; webhook.allow can allow it", e.addr)
}

// control is a [net.Dialer]'s Control: it sees the address that is about to be connected to.
func (g guard) control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("no address to connect to: %w", err)
	}
	return g.check(to.Addr())
}

// check returns an error unless the address is public or allowed. An IPv6 address that carries an IPv4 address is as good as that
// one.
func (g guard) check(addr netip.Addr) error {
	addr = addr.Unmap()
	inner, carries := embedded(addr)
	for _, p := range g.allowed {
		// A network that is allowed as a whole does not include the credentials of the machine.
		if p.Contains(addr) && (p.IsSingleIP() || !contains(metadata, addr) && !contains(metadata, inner)) {
			return nil
		}
	}
	if carries {
		return g.check(inner)
	}
	if addr.Zone() != "" || !addr.IsGlobalUnicast() || contains(notPublic, addr) || addr.Is6() && !global6.Contains(addr) {
		return &addressError{addr}
	}
	return nil
}

// embedded returns the IPv4 address that packets to an IPv6 address reach in the end, by NAT64 (RFC 6052) or 6to4 (RFC 3056). Without one,
// the address that it returns is in no network.
func embedded(addr netip.Addr) (netip.Addr, bool) {
	raw := addr.As16()
	switch {
	case !addr.Is6():
		return netip.Addr{}, false
	case nat64.Contains(addr):
		return netip.AddrFrom4([4]byte(raw[12:])), true
	case sixToFour.Contains(addr):
		return netip.AddrFrom4([4]byte(raw[2:6])), true
	}
	return netip.Addr{}, false
}

func contains(all []netip.Prefix, addr netip.Addr) bool {
	for _, p := range all {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

var (
	global6   = netip.MustParsePrefix("2000::/3") // All that is assigned to the public Internet.
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour = netip.MustParsePrefix("2002::/16")

	// notPublic are IANA's special-purpose registries, without the entries that are globally reachable, and Azure's address for its own
	// machines, which looks public.
	notPublic = prefixes(
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"2001::/23", "2001:db8::/32", "3fff::/20", "168.63.129.16/32",
	)
	// metadata are addresses at which clouds give credentials to their machines: AWS, Azure, Google and others; AWS's containers; both over
	// IPv6; Google over IPv6; Alibaba; Oracle; Azure's agent.
	metadata = prefixes("169.254.169.254/32", "169.254.170.2/32", "169.254.170.23/32", "fd00:ec2::254/128", "fd00:ec2::23/128",
		"fd20:ce::254/128", "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32")
)

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

// parseNetwork reads a network or a single address.
func parseNetwork(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return p, fmt.Errorf("%q is not a network, such as 10.1.0.0/16, or an address", text)
	}
	return p.Masked(), nil
}
