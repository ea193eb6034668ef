package kafka

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/endpoint"
)

// Config configures a sink. Brokers and Topic have no defaults.
type Config struct {
	// Brokers are the host:port addresses to connect to first; the cluster names the others.
	Brokers []string
	// Topic is the topic's name. {source}, {connector}, {type} and {kind} (the kind of the subject, such as "shipment") are
	// replaced by the event's values.
	Topic string
	// Format of the values. "" means FormatProtobuf.
	Format Format
	// Key is the key of the records. {source}, {connector}, {type}, {kind} and {subject} are replaced by the event's values. "" means
	// [Key], which is "{source}/{subject}".
	Key string
	// Tombstones makes the value of an event null if its type ends in ".deleted", unless the event is stale. So a compacted topic
	// forgets its subject.
	Tombstones bool
	// SchemaRegistry makes the sink register its schema when it is not nil, and begin each value with the schema's id.
	SchemaRegistry *SchemaRegistry
	// Compression is "", "none", "gzip", "snappy", "lz4" or "zstd".
	Compression string
	// TLS enables TLS when it is not nil.
	TLS *TLS
	// SASL enables authentication when it is not nil. Without TLS, PLAIN sends the password unencrypted.
	SASL *SASL
	// CreateTopics, when it is not nil, makes the sink create missing topics. Otherwise a missing topic is an error.
	CreateTopics *CreateTopics
	// Required makes Open fail unless brokers answer.
	Required bool
	// Timeout is the timeout of a request; brokers get half of it to replicate. 0 means 30 seconds.
	Timeout time.Duration
	// BatchBytes is the largest size of a request, unless it has only one record. 0 means one mebibyte, the brokers' default
	// limit.
	BatchBytes int
	// MaxRecordBytes is the size of the largest record, with key and headers, that is sent to brokers. Larger ones are refused
	// permanently. 0 means 96 MiB: above its socket.request.max.bytes, by default 100 MiB, a broker closes the connection
	// without an answer.
	MaxRecordBytes int
	// TransactionTimeout is the time after which brokers abort a transaction that was not ended; it matters to [OpenTransactional]
	// only. 0 means one minute. Brokers allow 15 minutes by default (transaction.max.timeout.ms).
	TransactionTimeout time.Duration
	// ClientID is the sink's name in the brokers' logs and quotas. "" means "bridge".
	ClientID string
}

// Format is the encoding of an event in a record's value.
type Format string

const (
	// FormatProtobuf is bridge.event.v1.Event in protobuf's wire format; content-type application/protobuf.
	FormatProtobuf Format = "protobuf"
	// FormatJSON is the same message in protobuf's JSON mapping, without white space; content-type application/json.
	FormatJSON Format = "json"
	// FormatCloudEvents is a CloudEvent in structured mode, as package cloudevents makes it; content-type application/cloudevents+json.
	FormatCloudEvents Format = "cloudevents"
)

// TLS configures the encryption of connections. The zero value trusts the system's authorities. Files are PEM.
type TLS struct {
	// CAFile has the authorities to trust instead of the system's.
	CAFile string
	// CertFile and KeyFile, both or neither, are the client's certificate and key. They are read for each connection, so they
	// can be renewed.
	CertFile, KeyFile string
	// ServerName is the name to expect in the brokers' certificates instead of each broker's host.
	ServerName string
}

// CreateTopics configures new topics. Zeros mean the brokers' defaults.
type CreateTopics struct {
	Partitions, Replication int
}

// KeyError is a problem of a configuration, with its place.
type KeyError = sinks.KeyError

// Check returns all problems of the configuration, each a [*KeyError]. It reads the files that the configuration names, but
// does not connect to a broker.
func (c Config) Check() []error {
	_, problems := c.resolve()
	return problems
}

// resolved is a Config, converted for the packages that use it.
type resolved struct {
	brokers        []string
	topic          topicTemplate
	key            keyTemplate
	registry       *framer
	compression    kafkago.Compression
	tls            *tls.Config
	sasl           sasl.Mechanism
	create         *CreateTopics
	timeout        time.Duration
	batchBytes     int
	maxRecordBytes int
	clientID       string

	transactionTimeout time.Duration
}

// resolver collects problems.
type resolver struct{ problems []error }

func (r *resolver) addf(key, format string, args ...any) {
	r.problems = append(r.problems, &KeyError{Key: key, Err: fmt.Errorf(format, args...)})
}

func (c Config) resolve() (resolved, []error) {
	r := &resolver{}
	timeout := cmp.Or(c.Timeout, 30*time.Second)
	out := resolved{
		brokers:        c.Brokers,
		topic:          r.topic(c.Topic),
		key:            r.key(c.Key, c.Tombstones),
		compression:    r.compression(c.Compression),
		tls:            r.tls("tls", c.TLS),
		registry:       r.registry(c.SchemaRegistry, c.Format, timeout),
		sasl:           r.sasl(c.SASL, timeout),
		create:         c.CreateTopics,
		timeout:        timeout,
		batchBytes:     r.size("batch_bytes", c.BatchBytes, 1<<20),
		maxRecordBytes: r.size("max_record_bytes", c.MaxRecordBytes, 96<<20),
		clientID:       c.ClientID,

		transactionTimeout: c.TransactionTimeout,
	}
	r.problems = append(r.problems, endpoint.Addresses("brokers", c.Brokers)...)
	switch c.Format {
	case "", FormatProtobuf, FormatJSON, FormatCloudEvents:
	default:
		r.addf("format", "%q is none of protobuf, json, cloudevents", c.Format)
	}
	if c.Timeout < 0 {
		r.addf("timeout", "is negative")
	}
	if c.TransactionTimeout < 0 {
		r.addf("transaction_timeout", "is negative")
	}
	if out.transactionTimeout == 0 {
		out.transactionTimeout = time.Minute
	}
	if out.clientID == "" {
		out.clientID = "bridge"
	}
	if t := c.CreateTopics; t != nil {
		if t.Partitions < 0 {
			r.addf("create_topics.partitions", "is negative")
		}
		if t.Replication < 0 || t.Replication > 1<<15-1 {
			r.addf("create_topics.replication", "is not between 0 and 32767")
		}
	}
	return out, r.problems
}

func (r *resolver) topic(text string) topicTemplate {
	t, err := parseTopic(text)
	if err != nil {
		r.addf("topic", "%w", err)
	}
	return t
}

func (r *resolver) compression(name string) kafkago.Compression {
	switch name {
	case "", "none":
		return 0
	case "gzip":
		return kafkago.Gzip
	case "snappy":
		return kafkago.Snappy
	case "lz4":
		return kafkago.Lz4
	case "zstd":
		return kafkago.Zstd
	}
	r.addf("compression", "%q is none of none, gzip, snappy, lz4, zstd", name)
	return 0
}

func (r *resolver) size(key string, n, fallback int) int {
	if n < 0 {
		r.addf(key, "is negative")
	}
	if n == 0 {
		return fallback
	}
	return n
}

// tls has its keys below key.
func (r *resolver) tls(key string, t *TLS) *tls.Config {
	if t == nil {
		return nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		out.RootCAs = x509.NewCertPool()
		text, err := os.ReadFile(t.CAFile)
		if err != nil {
			r.addf(key+".ca_file", "%w", err)
		} else if !out.RootCAs.AppendCertsFromPEM(text) {
			r.addf(key+".ca_file", "has no certificate in PEM")
		}
	}
	switch {
	case t.CertFile == "" && t.KeyFile == "":
	case t.CertFile == "":
		r.addf(key+".cert_file", "is missing, with key_file given")
	case t.KeyFile == "":
		r.addf(key+".key_file", "is missing, with cert_file given")
	default:
		files := *t
		show := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
			return &pair, err
		}
		if _, err := show(nil); err != nil {
			r.addf(key+".cert_file", "%w", err)
		}
		out.GetClientCertificate = show
	}
	return out
}
