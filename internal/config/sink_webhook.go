package config

import (
	"slices"
	"time"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
	"github.com/webhook-bridge/bridge/internal/secret"
)

// Webhook is a destination of HTTP requests.
type Webhook struct {
	URL, Proxy              secret.Value
	Secrets                 []secret.Value
	Headers                 []WebhookHeader
	Format                  string
	Timeout, ConnectTimeout time.Duration
	Allow                   []string
	AllowHTTP               bool
	TLS                     *ClientTLS
}

// WebhookHeader is a header of requests.
type WebhookHeader struct {
	Name  string
	Value secret.Value
}

func (r resolver) webhook(path string, file *configv1.WebhookSink) *Webhook {
	w := &Webhook{
		URL:            r.secret(path+".url", file.GetUrl()),
		Proxy:          r.optionalSecret(path+".proxy", file.GetProxy()),
		Secrets:        r.secrets(path+".secrets", file.GetSecrets()),
		Format:         text(path+".format", file.GetFormat()),
		Timeout:        r.duration(path+".timeout", file.GetTimeout()),
		ConnectTimeout: r.duration(path+".connect_timeout", file.GetConnectTimeout()),
		Allow:          file.GetAllow(),
		AllowHTTP:      file.GetAllowHttp(),
		TLS:            clientTLS(file.GetTls()),
	}
	for i, h := range file.GetHeaders() {
		w.Headers = append(w.Headers, WebhookHeader{h.GetName(), r.secret(element(path+".headers", i)+".value", h.GetValue())})
	}
	return w
}

// credentials returns the secrets that may change while the program runs.
func (w *Webhook) credentials() []secret.Value {
	all := slices.Concat([]secret.Value{w.URL, w.Proxy}, w.Secrets)
	for _, h := range w.Headers {
		all = append(all, h.Value)
	}
	return all
}
