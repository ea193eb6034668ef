package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/jsonschema"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/kafka"
)

// KafkaSink is the kind of sink that writes events to topics of Apache Kafka.
func KafkaSink() SinkKind {
	return SinkKind{
		Name: "kafka",
		Describe: func(s config.Sink) string {
			return fmt.Sprintf("topic %s at %s", s.Kafka.Topic, strings.Join(s.Kafka.Brokers, ", "))
		},
		Check:   func(s config.Sink) []config.Fault { return faults("kafka", kafkaConfig(s).Check()) },
		Resumes: func(s config.Sink) bool { return s.Kafka.ExactlyOnce() },
		Open:    openKafka,
	}
}

func openKafka(ctx context.Context, s config.Sink, from sinks.Origin) (sinks.Sink, error) {
	if s.Kafka.ExactlyOnce() {
		return kafka.OpenTransactional(ctx, kafkaConfig(s), from)
	}
	return kafka.Open(ctx, kafkaConfig(s))
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
		Key:            k.Key,
		Tombstones:     k.Tombstones,

		TransactionTimeout: k.TransactionTimeout,
	}
	c.TLS = kafkaTLS(k.TLS)
	c.SASL = kafkaSASL(k.SASL)
	c.SchemaRegistry = kafkaRegistry(k.SchemaRegistry)
	if t := k.CreateTopics; t != nil {
		c.CreateTopics = &kafka.CreateTopics{Partitions: t.Partitions, Replication: t.Replication}
	}
	return c
}

func kafkaTLS(t *config.KafkaTLS) *kafka.TLS {
	if t == nil {
		return nil
	}
	return &kafka.TLS{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, ServerName: t.ServerName}
}

func kafkaSASL(a *config.KafkaSASL) *kafka.SASL {
	if a == nil {
		return nil
	}
	to := &kafka.SASL{
		Mechanism: a.Mechanism, Username: a.Username, Password: a.Password.Reveal(), Token: a.Token.Reveal(), Extensions: a.Extensions,
		Current: currentSecret(a.Password),
	}
	if to.Token != "" {
		to.Current = currentSecret(a.Token)
	}
	if o := a.OAuth; o != nil {
		to.OAuth = &kafka.OAuth{
			TokenURL: o.TokenURL, ClientID: o.ClientID, ClientSecret: o.ClientSecret.Reveal(), Scopes: o.Scopes, TLS: kafkaTLS(o.TLS),
		}
		to.Current = currentSecret(o.ClientSecret)
	}
	return to
}

func kafkaRegistry(g *config.KafkaSchemaRegistry) *kafka.SchemaRegistry {
	if g == nil {
		return nil
	}
	to := &kafka.SchemaRegistry{
		URL: g.URL, Username: g.Username, Password: g.Password.Reveal(), Token: g.Token.Reveal(), TLS: kafkaTLS(g.TLS),
		LookUpOnly: g.LookUpOnly, JSONSchema: eventSchema, Current: currentSecret(g.Password),
	}
	if to.Token != "" {
		to.Current = currentSecret(g.Token)
	}
	return to
}

// eventSchema returns the JSON Schema of all events.
func eventSchema() (string, error) {
	s, err := jsonschema.Event(jsonschema.Selection{})
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(s)
	return string(text), err
}
