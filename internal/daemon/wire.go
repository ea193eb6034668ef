package daemon

import (
	"time"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/sinks/file"
	"github.com/webhook-bridge/bridge/sinks/kafka"
)

// The sinks do not know the configuration: each has settings of its own.

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
