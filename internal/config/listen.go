package config

import (
	"crypto/tls"
	"net"
	"net/netip"
	"strconv"
	"strings"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
	"github.com/webhook-bridge/bridge/internal/source"
)

func (r resolver) listen(file *configv1.Listen, access *configv1.Access) Listen {
	certs, limits := file.GetTls(), file.GetConnections()
	l := Listen{
		Webhooks: r.listener("webhooks", file.GetWebhooks(), certs.GetWebhooks(), limits.GetWebhooks()),
		Ops:      r.listener("ops", file.GetOps(), certs.GetOps(), limits.GetOps()),
		GRPC:     r.listener("grpc", file.GetGrpc(), certs.GetGrpc(), limits.GetGrpc()),
		Admin:    r.listener("admin", file.GetAdmin(), certs.GetAdmin(), limits.GetAdmin()),
	}
	l.WithoutConsole = file.GetWithoutConsole()
	l.Pprof = file.GetPprof()
	l.PublicURL = strings.TrimRight(file.GetPublicUrl(), "/")
	if !source.IsBase(l.PublicURL) {
		r.addf("listen.public_url", "%s", source.BadBase)
		l.PublicURL = ""
	}
	r.checkCollisions(l)
	r.checkExposure("grpc", l.GRPC, access)
	r.checkExposure("admin", l.Admin, access)
	return l
}

func (r resolver) listener(name, addr string, cert *configv1.TLS, connections uint32) Listener {
	l := Listener{Addr: text("listen."+name, addr), Connections: int(connections)}
	if _, _, ok := splitAddr(l.Addr); !ok {
		r.addf("listen."+name, `must be host:port, such as ":8080" or "127.0.0.1:9090"`)
	}
	if cert != nil {
		l.TLS = &TLS{CertFile: cert.GetCertFile(), KeyFile: cert.GetKeyFile()}
		r.checkPair("listen.tls."+name, l.TLS)
	}
	return l
}

// checkPair reports a certificate that cannot be served. The server reads the files again later; this check finds problems
// before the start.
func (r resolver) checkPair(path string, files *TLS) {
	if files.CertFile == "" || files.KeyFile == "" {
		return // Validation has reported it.
	}
	cert, err := r.readFile(files.CertFile)
	if err != nil {
		r.addf(path+".cert_file", "the file %s", fileReason(err))
	}
	key, keyErr := r.readFile(files.KeyFile)
	if keyErr != nil {
		r.addf(path+".key_file", "the file %s", fileReason(keyErr))
	}
	if err != nil || keyErr != nil {
		return
	}
	// The error's text may come from the files, and the key is a secret. So the problem gives only the error's meaning.
	switch _, err := tls.X509KeyPair(cert, key); {
	case err == nil:
	case strings.Contains(err.Error(), "does not match"):
		r.addf(path, "the private key does not belong to the certificate")
	default:
		r.addf(path, "the files are not a certificate and a private key in PEM")
	}
}

// checkCollisions reports addresses that cannot be listened on at the same time. Port 0 is a free port each time.
func (r resolver) checkCollisions(l Listen) {
	all := []struct{ name, addr string }{
		{"webhooks", l.Webhooks.Addr}, {"ops", l.Ops.Addr}, {"grpc", l.GRPC.Addr}, {"admin", l.Admin.Addr},
	}
	for i, b := range all {
		for _, a := range all[:i] {
			if collide(a.addr, b.addr) {
				r.addf("listen."+b.name, "is the same address as listen.%s", a.name)
			}
		}
	}
}

func collide(a, b string) bool {
	hostA, portA, okA := splitAddr(a)
	hostB, portB, okB := splitAddr(b)
	if !okA || !okB || portA != portB || portA == 0 {
		return false
	}
	return hostA == hostB || isEvery(hostA) || isEvery(hostB) || isLoopback(hostA) && isLoopback(hostB) && sameLoopback(hostA, hostB)
}

// sameLoopback reports whether two different texts, a name and an address of the loopback, may be the same interface. Two
// different addresses never are.
func sameLoopback(a, b string) bool { return a == "localhost" || b == "localhost" }

// checkExposure reports a listener that gives data to other machines without TLS or without authentication.
func (r resolver) checkExposure(name string, l Listener, access *configv1.Access) {
	host, _, ok := splitAddr(l.Addr)
	if !ok || isLoopback(host) || access.GetInsecure() {
		return
	}
	path, how := "listen."+name, "or listen on 127.0.0.1, or set access.insecure"
	noToken, tokens := len(access.GetTokens()) == 0, "access.tokens"
	principals := len(access.GetPrincipals()) > 0
	switch name {
	case "grpc":
		noToken = noToken && !principals
	case "admin":
		noToken = noToken && len(access.GetAdminTokens()) == 0
		if principals { // beside them there are no access.tokens
			tokens = "access.admin_tokens"
		}
	}
	switch noTLS := l.TLS == nil; {
	case noTLS && noToken:
		r.addf(path, "other machines can reach this address: give listen.tls.%s and %s, %s", name, tokens, how)
	case noTLS:
		r.addf(path, "other machines can reach this address: give listen.tls.%s, %s", name, how)
	case noToken:
		r.addf(path, "other machines can reach this address: give %s, %s", tokens, how)
	}
}

// splitAddr returns the parts of host:port, and whether a server can listen on them.
func splitAddr(addr string) (host string, port uint16, ok bool) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, false
	}
	n, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return "", 0, false
	}
	return host, uint16(n), validHost(host)
}

func validHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return true
	}
	for _, c := range []byte(host) {
		if c != '-' && c != '.' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

func isEvery(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// IsLoopback reports whether an address, with a port or without, is one of this machine's loopback interface.
func IsLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.Trim(address, "[]")
	}
	return isLoopback(host)
}
