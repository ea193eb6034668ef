// Package clienttls makes the TLS configuration of a client from PEM files. Sinks share it.
package clienttls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"

	"github.com/webhook-bridge/bridge/sinks"
)

// Files are the settings of TLS connections to a server. The zero value trusts the system's authorities and presents no
// certificate. Files are PEM.
type Files struct {
	// CAFile has the authorities to trust instead of the system's. It is read once.
	CAFile string
	// CertFile and KeyFile, both or neither, are the client's certificate and key. They are read for each connection, so they
	// can be renewed.
	CertFile, KeyFile string
	// ServerName is the name to expect in the server's certificate instead of the host of its address.
	ServerName string
}

// Config returns the configuration, with TLS 1.2 as the lowest version, and all problems, each a [*sinks.KeyError] below the given key:
// "tls.ca_file". It reads all files.
func (f Files) Config(key string) (*tls.Config, []error) {
	var problems []error
	problem := func(setting string, err error) {
		problems = append(problems, &sinks.KeyError{Key: key + "." + setting, Err: err})
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.ServerName}
	if f.CAFile != "" {
		c.RootCAs = x509.NewCertPool()
		text, err := os.ReadFile(f.CAFile)
		if err != nil {
			problem("ca_file", err)
		} else if !c.RootCAs.AppendCertsFromPEM(text) {
			problem("ca_file", errors.New("has no certificate in PEM"))
		}
	}
	switch {
	case f.CertFile == "" && f.KeyFile == "":
	case f.CertFile == "":
		problem("cert_file", errors.New("is missing, with key_file given"))
	case f.KeyFile == "":
		problem("key_file", errors.New("is missing, with cert_file given"))
	default:
		if _, err := f.pair(nil); err != nil {
			problem("cert_file", err)
		}
		c.GetClientCertificate = f.pair
	}
	return c, problems
}

// pair reads the client's certificate and key.
func (f Files) pair(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(f.CertFile, f.KeyFile)
	return &pair, err
}
