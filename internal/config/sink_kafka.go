package config

import (
	"fmt"
	"slices"
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
	SchemaRegistry     *KafkaSchemaRegistry
}

// KafkaSchemaRegistry is a registry of schemas. Its secrets have no text if they are not configured.
type KafkaSchemaRegistry struct {
	URL, Username   string
	Password, Token secret.Value
	TLS             *KafkaTLS
	LookUpOnly      bool
}

// KafkaTLS configures the encryption of connections to brokers.
type KafkaTLS struct {
	CAFile, CertFile, KeyFile, ServerName string
}

// KafkaSASL has the credentials for brokers. Its secrets have no text if they are not configured.
type KafkaSASL struct {
	Mechanism, Username string
	Password, Token     secret.Value
	OAuth               *KafkaOAuth
	Extensions          []string
}

// KafkaOAuth gets tokens for brokers.
type KafkaOAuth struct {
	TokenURL, ClientID string
	ClientSecret       secret.Value
	Scopes             []string
	TLS                *KafkaTLS
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
	k.TLS = kafkaTLS(file.GetTls())
	if g := file.GetSchemaRegistry(); g != nil {
		at := path + ".schema_registry"
		k.SchemaRegistry = &KafkaSchemaRegistry{
			URL: g.GetUrl(), Username: g.GetUsername(), TLS: kafkaTLS(g.GetTls()), LookUpOnly: g.GetLookupOnly(),
			Password: r.secret(at+".password", g.GetPassword()), Token: r.secret(at+".token", g.GetToken()),
		}
	}
	k.SASL = r.kafkaSASL(path+".sasl", file.GetSasl())
	if c := file.GetCreateTopics(); c != nil {
		k.CreateTopics = &KafkaCreateTopics{Partitions: int(c.GetPartitions()), Replication: int(c.GetReplication())}
	}
	return k
}

func (r resolver) kafkaSASL(path string, file *configv1.KafkaSASL) *KafkaSASL {
	if file == nil {
		return nil
	}
	s := &KafkaSASL{
		Mechanism: file.GetMechanism(), Username: file.GetUsername(), Extensions: file.GetExtensions(),
		Password: r.secret(path+".password", file.GetPassword()), Token: r.secret(path+".token", file.GetToken()),
	}
	if o := file.GetOauth(); o != nil {
		s.OAuth = &KafkaOAuth{
			TokenURL: o.GetTokenUrl(), ClientID: o.GetClientId(), Scopes: o.GetScopes(), TLS: kafkaTLS(o.GetTls()),
			ClientSecret: r.secret(path+".oauth.client_secret", o.GetClientSecret()),
		}
	}
	return s
}

func kafkaTLS(t *configv1.KafkaTLS) *KafkaTLS {
	if t == nil {
		return nil
	}
	return &KafkaTLS{CAFile: t.GetCaFile(), CertFile: t.GetCertFile(), KeyFile: t.GetKeyFile(), ServerName: t.GetServerName()}
}

// secrets returns the configured secrets of a sink, or of none.
func (k *Kafka) secrets() []secret.Value {
	if k == nil {
		return nil
	}
	var all []secret.Value
	if s := k.SASL; s != nil {
		all = append(all, s.Password, s.Token)
		if s.OAuth != nil {
			all = append(all, s.OAuth.ClientSecret)
		}
	}
	if g := k.SchemaRegistry; g != nil {
		all = append(all, g.Password, g.Token)
	}
	return slices.DeleteFunc(all, func(v secret.Value) bool { return v.Reveal() == "" })
}
