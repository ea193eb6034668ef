package daemon

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/webhook-bridge/bridge/internal/config"
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
	if t := k.TLS; t != nil {
		c.TLS = &kafka.TLS{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, ServerName: t.ServerName}
	}
	if a := k.SASL; a != nil {
		c.SASL = &kafka.SASL{Mechanism: a.Mechanism, Username: a.Username, Password: a.Password.Reveal(), Current: func() string {
			a.Password.Use(time.Now())
			return a.Password.Reveal()
		}}
	}
	if t := k.CreateTopics; t != nil {
		c.CreateTopics = &kafka.CreateTopics{Partitions: t.Partitions, Replication: t.Replication}
	}
	return c
}
