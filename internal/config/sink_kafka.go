package config

import (
	"fmt"
	"time"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
	"github.com/webhook-bridge/bridge/internal/secret"
)

// Kafka is a cluster and a topic. Zeros of CreateTopics are the brokers' defaults.
type Kafka struct {
	Brokers                    []string
	Topic, Format, Compression string
	TLS                        *KafkaTLS
	SASL                       *KafkaSASL
	CreateTopics               *KafkaCreateTopics
	Timeout                    time.Duration
	BatchBytes, MaxRecordBytes int
	ClientID                   string
	Key                        string
	Tombstones                 bool
	// Delivery is exactly_once or at_least_once.
	Delivery           string
	TransactionTimeout time.Duration
}

// KafkaTLS configures the encryption of connections to brokers.
type KafkaTLS struct {
	CAFile, CertFile, KeyFile, ServerName string
}

// KafkaSASL has the credentials for brokers.
type KafkaSASL struct {
	Mechanism, Username string
	Password            secret.Value
}

// KafkaCreateTopics configures the creation of missing topics.
type KafkaCreateTopics struct {
	Partitions, Replication int
}

// ExactlyOnce reports whether events are delivered in transactions.
func (k *Kafka) ExactlyOnce() bool { return k.Delivery == "exactly_once" }

func (r resolver) kafka(path string, file *configv1.KafkaSink) *Kafka {
	k := &Kafka{
		Brokers:        file.GetBrokers(),
		Topic:          file.GetTopic(),
		Format:         text(path+".format", file.GetFormat()),
		Compression:    text(path+".compression", file.GetCompression()),
		Timeout:        r.duration(path+".timeout", file.GetTimeout()),
		BatchBytes:     int(r.size(path+".batch_bytes", file.GetBatchBytes(), 0)),
		MaxRecordBytes: int(r.size(path+".max_record_bytes", file.GetMaxRecordBytes(), 0)),
		ClientID:       text(path+".client_id", file.GetClientId()),
		Key:            text(path+".key", file.GetKey()),
		Tombstones:     file.GetTombstones(),
		Delivery:       text(path+".delivery", file.GetDelivery()),

		TransactionTimeout: r.duration(path+".transaction_timeout", file.GetTransactionTimeout()),
	}
	for i, broker := range k.Brokers {
		if broker == "" {
			r.addf(fmt.Sprintf("%s.brokers[%d]", path, i), "is empty")
		}
	}
	if t := file.GetTls(); t != nil {
		k.TLS = &KafkaTLS{CAFile: t.GetCaFile(), CertFile: t.GetCertFile(), KeyFile: t.GetKeyFile(), ServerName: t.GetServerName()}
	}
	if s := file.GetSasl(); s != nil {
		k.SASL = &KafkaSASL{
			Mechanism: s.GetMechanism(), Username: s.GetUsername(), Password: r.secret(path+".sasl.password", s.GetPassword()),
		}
	}
	if c := file.GetCreateTopics(); c != nil {
		k.CreateTopics = &KafkaCreateTopics{Partitions: int(c.GetPartitions()), Replication: int(c.GetReplication())}
	}
	return k
}
