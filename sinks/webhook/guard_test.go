package webhook

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// Each address that an attacker may try, by the reason why it is refused.
func TestGuard(t *testing.T) {
	for _, c := range []struct {
		why   string
		addrs []string
	}{
		{"loopback", []string{"127.0.0.1", "127.255.255.254", "::1"}},
		{"unspecified", []string{"0.0.0.0", "0.1.2.3", "::"}},
		{"private", []string{"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "fc00::1", "fdff::1"}},
		{"link-local", []string{"169.254.0.1", "fe80::1", "fe80::1%eth0", "febf::1"}},
		{"site-local", []string{"fec0::1"}},
		{"carrier-grade NAT", []string{"100.64.0.1", "100.127.255.255"}},
		{"multicast", []string{"224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"}},
		{"broadcast, reserved", []string{"255.255.255.255", "240.0.0.1"}},
		{"protocol assignments, documentation, benchmarks", []string{
			"192.0.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "2001:db8::1", "3fff::1", "2001:2::1", "100::1", "5f00::1",
		}},
		{"metadata", []string{"169.254.169.254", "169.254.170.2", "fd00:ec2::254", "168.63.129.16", "64:ff9b::168.63.129.16", "100.100.100.200", "192.0.0.192"}},
		{"IPv4-mapped", []string{"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"}},
		{"IPv4-compatible", []string{"::127.0.0.1", "::8.8.8.8"}},
		{"NAT64", []string{"64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::8.8.8.8"}},
		{"6to4", []string{"2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::"}},
		{"6to4 relay, Teredo, ORCHID", []string{"192.88.99.1", "2001::1", "2001:20::1"}},
	} {
		for _, text := range c.addrs {
			if (guard{}).check(netip.MustParseAddr(text)) == nil {
				t.Errorf("%s is %s, and passes", text, c.why)
			}
		}
	}
	for _, text := range []string{
		"8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.167.0.1", "192.169.0.1", "223.255.255.255",
		"2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "2620:4f:8000::1",
	} {
		if err := (guard{}).check(netip.MustParseAddr(text)); err != nil {
			t.Error(err)
		}
	}
}

func TestGuardAllows(t *testing.T) {
	for _, c := range []struct {
		allowed, addr string
		ok            bool
	}{
		{"10.1.0.0/16", "10.1.2.3", true},
		{"10.1.2.3/16", "10.1.9.9", true},
		{"10.1.0.0/16", "10.2.0.1", false},
		{"10.1.2.3", "10.1.2.3", true},
		{"10.1.2.3", "10.1.2.4", false},
		{"10.0.0.0/8", "::ffff:10.1.2.3", true},
		{"10.0.0.0/8", "64:ff9b::10.1.2.3", true},
		{"::ffff:10.1.2.3", "10.1.2.3", true},
		{"fd00::/8", "fd12::1", true},
		{"::1", "::1", true},
		{"::1", "127.0.0.1", false},
		{"0.0.0.0/0", "192.168.1.1", true},
		{"0.0.0.0/0", "::1", false},
		// A whole network does not include the credentials of the machine.
		{"0.0.0.0/0", "169.254.169.254", false},
		{"169.254.0.0/16", "169.254.169.254", false},
		{"100.64.0.0/10", "100.100.100.200", false},
		{"fd00::/8", "fd00:ec2::254", false},
		{"::/0", "64:ff9b::169.254.169.254", false},
		{"::/0", "2002:a9fe:a9fe::", false},
		{"::/0", "64:ff9b::10.1.2.3", true},
		{"169.254.0.0/16", "169.254.170.23", false},
		{"0.0.0.0/0", "168.63.129.16", false},
		{"169.254.169.254", "169.254.169.254", true},
	} {
		p, err := parseNetwork(c.allowed)
		if err != nil {
			t.Fatal(err)
		}
		if err := (guard{[]netip.Prefix{p}}).check(netip.MustParseAddr(c.addr)); (err == nil) != c.ok {
			t.Errorf("%s with %s allowed: %v", c.addr, c.allowed, err)
		}
	}
	for _, text := range []string{"", "10.0.0.0/33", "example.com", "::ffff:10.0.0.0/104", "fe80::1%eth0", "10.0.0.1:80", "10.0.0"} {
		if p, err := parseNetwork(text); err == nil {
			t.Errorf("%q is taken for %s", text, p)
		}
	}
}

// FuzzGuard: no form of an IPv6 address leads to an IPv4 address that is refused by itself.
func FuzzGuard(f *testing.F) {
	for _, text := range []string{"127.0.0.1", "10.0.0.1", "169.254.169.254", "8.8.8.8", "100.64.0.1", "224.0.0.1"} {
		raw := netip.MustParseAddr(text).As4()
		f.Add(binary.BigEndian.Uint32(raw[:]), uint64(0), uint64(1))
	}
	f.Fuzz(func(t *testing.T, v4 uint32, high, low uint64) {
		var four [4]byte
		binary.BigEndian.PutUint32(four[:], v4)
		plain := netip.AddrFrom4(four)
		refused := (guard{}).check(plain) != nil
		if !refused && (plain.IsPrivate() || plain.IsLoopback() || plain.IsLinkLocalUnicast() || plain.IsMulticast() || plain.IsUnspecified()) {
			t.Errorf("%s passes", plain)
		}
		for _, prefix := range [][]byte{{10: 0xff, 11: 0xff}, {0, 0x64, 0xff, 0x9b, 11: 0}} {
			var six [16]byte
			copy(six[:], prefix)
			copy(six[12:], four[:])
			if (guard{}).check(netip.AddrFrom16(six)) == nil && refused {
				t.Errorf("%s passes, %s does not", netip.AddrFrom16(six), plain)
			}
		}
		var six [16]byte
		binary.BigEndian.PutUint64(six[:8], high)
		binary.BigEndian.PutUint64(six[8:], low)
		addr := netip.AddrFrom16(six)
		if (guard{}).check(addr) == nil && !addr.Is4In6() && six[0]>>5 != 1 && !nat64.Contains(addr) {
			t.Errorf("%s passes", addr)
		}
	})
}
