package daemon

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"

	"github.com/webhook-bridge/bridge/internal/access"
	"github.com/webhook-bridge/bridge/internal/jsonschema"
)

// principals looks at what principals may see, and at who vouches for their certificates.
func (f *preflight) principals() {
	if file := f.cfg.Access.ClientCAFile; file != "" {
		f.authorities("access.client_ca_file", file)
	}
	for i, p := range f.cfg.Access.Principals {
		key := fmt.Sprintf("access.principals[%d]", i)
		if (len(p.Sources) == 0) != (len(p.Types) == 0) {
			f.addf(Warning, key, "may see no event: it needs both sources and types")
		}
		for n, text := range p.Sources {
			if !f.isSource(text) {
				f.addf(Warning, fmt.Sprintf("%s.sources[%d]", key, n), "matches no source of this configuration")
			}
		}
		for n, text := range p.Types {
			if missing := jsonschema.Missing(text); missing != "" {
				f.addf(Warning, fmt.Sprintf("%s.types[%d]", key, n), "%s", missing)
			}
		}
	}
}

// isSource reports whether a principal's pattern matches a source.
func (f *preflight) isSource(pattern string) bool {
	p, faults := access.NewPrincipal(access.Rules{Sources: []string{pattern}})
	if len(faults) > 0 {
		return true // The configuration's own check has reported it.
	}
	for i := range f.cfg.Sources {
		if p.MaySeeSource(f.cfg.Sources[i].Name) {
			return true
		}
	}
	return false
}

// authorities looks at when the certificates of authorities are valid. One that is valid is enough for some clients.
func (f *preflight) authorities(key, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		f.addf(Refusal, key, "the file %s", causeOf(err))
		return
	}
	var last time.Time
	valid := false
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			continue
		}
		if c.NotAfter.After(last) {
			last = c.NotAfter
		}
		valid = valid || !f.now.Before(c.NotBefore) && !f.now.After(c.NotAfter)
	}
	const day = "2006-01-02"
	switch {
	case last.IsZero():
		f.addf(Refusal, key, "the file has no certificate in PEM")
	case !valid:
		f.addf(Fault, key, "no certificate in the file is valid now, so no client certificate is accepted")
	case last.Sub(f.now) < renewalTime:
		f.addf(Warning, key, "the last certificate in the file expires on %s", last.Format(day))
	}
}
