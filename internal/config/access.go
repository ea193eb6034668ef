package config

import (
	"crypto/x509"
	"slices"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
	"github.com/webhook-bridge/bridge/internal/access"
	"github.com/webhook-bridge/bridge/internal/secret"
)

func (r resolver) access(a *configv1.Access, listen Listen) Access {
	resolved := Access{Insecure: a.GetInsecure(), ClientCAFile: a.GetClientCaFile(), Origins: a.GetOrigins()}
	if slices.Contains(a.GetOrigins(), "*") && len(a.GetTokens()) == 0 && len(a.GetPrincipals()) == 0 {
		r.addf("access.origins", "every web page that somebody visits could read the events: name the origins, or give access.tokens")
	}
	if len(a.GetTokens()) > 0 {
		resolved.Tokens = r.tokens("access.tokens", a.GetTokens())
	}
	if len(a.GetAdminTokens()) > 0 {
		resolved.AdminTokens = r.tokens("access.admin_tokens", a.GetAdminTokens())
	}
	names, tokens, certificates := map[string]int{}, map[string]string{}, map[string]string{}
	for i, file := range a.GetPrincipals() {
		path := element("access.principals", i)
		r.unique("principal", names, path+".name", file.GetName())
		p := r.principal(path, file)
		for _, v := range p.Tokens {
			r.once(tokens, v.Reveal(), v.Place(), "token")
		}
		for n, pattern := range p.Certificates {
			r.once(certificates, pattern, element(path+".certificates", n), "pattern")
		}
		if len(p.Certificates) > 0 && a.GetClientCaFile() == "" {
			r.addf(path+".certificates", "needs access.client_ca_file, which says who may sign them")
		}
		resolved.Principals = append(resolved.Principals, p)
	}
	if len(a.GetPrincipals()) > 0 && len(a.GetTokens()) > 0 {
		r.addf("access.tokens", "cannot stand beside access.principals: give each token to a principal, or to access.admin_tokens")
	}
	r.checkAuthorities(resolved, listen)
	return resolved
}

func (r resolver) principal(path string, file *configv1.Principal) access.Rules {
	rules := access.Rules{
		Name: file.GetName(), Certificates: file.GetCertificates(), Sources: file.GetSources(), Types: file.GetTypes(),
		Groups: file.GetGroups(), Raw: file.GetRaw(), Personal: file.GetPersonal(),
	}
	if len(file.GetTokens()) > 0 {
		rules.Tokens = r.tokens(path+".tokens", file.GetTokens())
	}
	if len(file.GetTokens()) == 0 && len(file.GetCertificates()) == 0 {
		r.addf(path, "needs tokens or certificates, by which it is known")
	}
	if file.GetRaw() && !file.GetPersonal() {
		r.addf(path+".raw", "raw webhooks show personal data: it needs personal, too")
	}
	_, faults := access.NewPrincipal(rules)
	for _, f := range faults {
		r.addf(path+"."+f.Key, "%s", f.Reason)
	}
	return rules
}

// once reports a credential that stands in the file twice. places has the ones so far, with their places.
func (r resolver) once(places map[string]string, credential, path, what string) {
	if first, twice := places[credential]; twice && credential != "" {
		r.addf(path, "is the same %s as %s", what, first)
		return
	}
	places[credential] = path
}

// checkAuthorities reports a file of authorities that cannot be used, or that changes nothing.
func (r resolver) checkAuthorities(a Access, listen Listen) {
	const path = "access.client_ca_file"
	if a.ClientCAFile == "" {
		return
	}
	if listen.GRPC.TLS == nil {
		r.addf(path, "needs listen.tls.grpc: without TLS no client shows a certificate")
	}
	if !slices.ContainsFunc(a.Principals, func(p access.Rules) bool { return len(p.Certificates) > 0 }) {
		r.addf(path, "no principal has certificates, so it would change nothing")
	}
	switch data, err := r.readFile(a.ClientCAFile); {
	case err != nil:
		r.addf(path, "the file %s", fileReason(err))
	case !x509.NewCertPool().AppendCertsFromPEM(data):
		r.addf(path, "the file has no certificate in PEM")
	}
}

// tokens leaves out empty values, as a source does with its secrets, and reports when every value is empty.
func (r resolver) tokens(path string, values []string) []secret.Value {
	var secrets []secret.Value
	for _, v := range r.secrets(path, values) {
		text := v.Reveal()
		if text == "" && !v.FromFile() {
			continue
		}
		secrets = append(secrets, v)
		if text == "" {
			continue
		}
		if reason := secret.CheckBearer(text); reason != "" {
			r.addf(v.Place(), "%s", reason)
		}
	}
	if len(secret.Reveal(secrets)) == 0 {
		r.addf(path, "every value is empty; one must be left")
	}
	return secrets
}
