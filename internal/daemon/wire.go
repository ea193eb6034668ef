package daemon

import (
	"cmp"
	"log/slog"
	"slices"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/internal/openapi"
	"github.com/webhook-bridge/bridge/internal/source"
	"github.com/webhook-bridge/bridge/sinks/file"
	"github.com/webhook-bridge/bridge/sinks/kafka"
)

// The packages do not know the configuration: each is told in its own terms.

func connectorNeeds(all []*connectors.Connector) config.Connectors {
	needs := make(config.Connectors, len(all))
	for _, c := range all {
		needs[c.Name] = config.Needs{
			Currency: c.NeedsCurrency,
			TimeZone: c.NeedsTimeZone,
			MaxBody:  c.MaxBody,
			Header:   c.Verification.Header,
			HMAC:     configHMAC(c.Verification.HMAC),
			Kept:     keptHeaders(c),
			Window:   cmp.Or(c.Window, connectors.DefaultWindow),
		}
	}
	return needs
}

// keptHeaders are those that the connector is told of.
func keptHeaders(c *connectors.Connector) []string {
	return slices.DeleteFunc([]string{c.EventHeader, c.KeyHeader}, func(h string) bool { return h == "" })
}

func journalConfig(cfg *config.Config, log *slog.Logger) pebble.Config {
	return pebble.Config{
		Dir: cfg.Journal.Dir,
		Retention: pebble.Retention{
			Age:           cfg.Journal.Age,
			Size:          cfg.Journal.Size,
			QuarantineAge: cfg.Journal.QuarantineAge,
		},
		MinFree: uint64(max(cfg.Journal.MinFree, 0)),
		Logger:  log,
	}
}

func ingressSources(cfg *config.Config, all map[string]*connectors.Connector) []source.Source {
	sources := make([]source.Source, 0, len(cfg.Sources))
	for i := range cfg.Sources {
		s := &cfg.Sources[i]
		sources = append(sources, source.Source{
			Name:        s.Name,
			Connector:   all[s.Connector],
			Auth:        sourceAuth(s.Auth),
			Currency:    s.Currency,
			Zone:        s.Zone,
			Reject:      s.Reject,
			GRPC:        s.GRPC,
			KeepHeaders: s.KeepHeaders,
			Window:      s.Window,
			Limits: source.Limits{
				Body:     s.Limits.Body,
				Rate:     s.Limits.Rate,
				InFlight: s.Limits.InFlight,
				Daily:    s.Limits.Daily,
			},
		})
	}
	source.Resolve(sources) // the edge resolves its own, and reports what is wrong
	return sources
}

func sourceAuth(a config.Auth) source.Auth {
	auth := source.Auth{Scheme: source.Scheme(a.Scheme), Header: a.Header, Values: a.Values, PublicURL: a.PublicURL}
	if a.HMAC != nil {
		h := hmacSpec(*a.HMAC)
		auth.HMAC = &h
	}
	return auth
}

func openapiRoutes(cfg *config.Config, all map[string]*connectors.Connector) []openapi.Route {
	routes := make([]openapi.Route, 0, len(cfg.Sources))
	for i := range cfg.Sources {
		s := &cfg.Sources[i]
		routes = append(routes, openapi.Route{
			Source:      s.Name,
			Connector:   s.Connector,
			Scheme:      string(s.Auth.Scheme),
			Header:      s.Auth.Header,
			EventInBody: all[s.Connector].EventField != "" || all[s.Connector].EventHeader != "",
			Signature:   signatureText(s.Auth.HMAC),
		})
	}
	return routes
}

func fileConfig(f *config.File) file.Config {
	c := file.Config{
		Path:       f.Path,
		Format:     file.Format(f.Format),
		RotateSize: f.RotateSize,
		RotateAge:  f.RotateAge,
	}
	if f.Compression == "zstd" {
		c.Compression = file.Zstd
	}
	return c
}

func kafkaConfig(s config.Sink) kafka.Config {
	k := s.Kafka
	c := kafka.Config{
		Brokers:        k.Brokers,
		Topic:          k.Topic,
		Format:         kafka.Format(k.Format),
		Compression:    k.Compression,
		Required:       s.Required,
		Timeout:        k.Timeout,
		BatchBytes:     k.BatchBytes,
		MaxRecordBytes: k.MaxRecordBytes,
		ClientID:       k.ClientID,
	}
	if t := k.TLS; t != nil {
		c.TLS = &kafka.TLS{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, ServerName: t.ServerName}
	}
	if a := k.SASL; a != nil {
		c.SASL = &kafka.SASL{Mechanism: a.Mechanism, Username: a.Username, Password: a.Password.Reveal()}
	}
	if t := k.CreateTopics; t != nil {
		c.CreateTopics = &kafka.CreateTopics{Partitions: t.Partitions, Replication: t.Replication}
	}
	return c
}
