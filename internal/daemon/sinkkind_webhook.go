package daemon

import (
	"context"
	"net/url"
	"time"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/clienttls"
	"github.com/webhook-bridge/bridge/sinks/webhook"
)

// WebhookSink is the kind of sink that sends events as HTTP requests.
func WebhookSink() SinkKind {
	return SinkKind{
		Name:     "webhook",
		Describe: func(s config.Sink) string { return "requests to " + hostOf(s.Webhook.URL.Reveal()) },
		Check:    func(s config.Sink) []config.Fault { return faults("webhook", webhookConfig(s.Webhook).Check()) },
		Open: func(ctx context.Context, s config.Sink, _ sinks.Origin) (sinks.Sink, error) {
			return webhook.Open(ctx, webhookConfig(s.Webhook))
		},
	}
}

// hostOf returns the part of a URL that is no secret.
func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return "an address that is not valid"
	}
	return u.Scheme + "://" + u.Host
}

func webhookConfig(w *config.Webhook) webhook.Config {
	return webhook.Config{
		Credentials: webhookCredentials(w),
		Current: func() webhook.Credentials {
			now := time.Now()
			w.URL.Use(now)
			w.Proxy.Use(now)
			for _, v := range w.Secrets {
				v.Use(now)
			}
			for _, h := range w.Headers {
				h.Value.Use(now)
			}
			return webhookCredentials(w)
		},
		Format:         webhook.Format(w.Format),
		Timeout:        w.Timeout,
		ConnectTimeout: w.ConnectTimeout,
		Allow:          w.Allow,
		AllowHTTP:      w.AllowHTTP,
		TLS:            clientTLSFiles(w.TLS),
	}
}

func webhookCredentials(w *config.Webhook) webhook.Credentials {
	c := webhook.Credentials{URL: w.URL.Reveal(), Proxy: w.Proxy.Reveal()}
	for _, v := range w.Secrets {
		c.Secrets = append(c.Secrets, v.Reveal())
	}
	for _, h := range w.Headers {
		c.Headers = append(c.Headers, webhook.Header{Name: h.Name, Value: h.Value.Reveal()})
	}
	return c
}

// clientTLSFiles returns nil for nil: the sink's own default.
func clientTLSFiles(t *config.ClientTLS) *clienttls.Files {
	if t == nil {
		return nil
	}
	return &clienttls.Files{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, ServerName: t.ServerName}
}
