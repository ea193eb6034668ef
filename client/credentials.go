package client

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

// bearer presents a token with each call.
type bearer struct {
	token func() string
	// secure says that the connection is encrypted, or stays on this machine.
	secure bool
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token := b.token()
	switch {
	case token == "":
		return nil, nil
	case !b.secure:
		return nil, errors.New("client: a token is sent only by TLS, or to a loopback address")
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. The check is in GetRequestMetadata, because loopback needs no TLS.
func (bearer) RequireTransportSecurity() bool { return false }

// isLoopback reports whether a target is an address of this machine alone.
func isLoopback(target string) bool {
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
