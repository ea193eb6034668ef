package config

import (
	"fmt"
	"time"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
	"github.com/webhook-bridge/bridge/internal/secret"
)

// Sink is the configuration of one sink. Exactly one of Kafka and File is set.
type Sink struct {
	Name  string
	Kafka *Kafka
	File  *File
	// Latest starts a sink with a new name at the journal's end, not at its beginning.
	Latest bool
	// Skip lets retention go past the sink when the disk runs low.
	Skip bool
	// StrictOrder stops the sink at an event that is refused permanently.
	StrictOrder bool
	// Concurrency is at least 1, and 1 for files.
	Concurrency int
	// Required makes it an error that the sink cannot be opened.
	Required bool
	Batch    Batch
	// BackoffMin and BackoffMax are the first and the longest wait after a failure.
	BackoffMin, BackoffMax time.Duration
	// Replica is the only replica that delivers to the sink. Empty: any.
	Replica string
}

// Kind returns the key that has the settings of this kind of sink in the file.
func (s Sink) Kind() string {
	if s.Kafka != nil {
		return "kafka"
	}
	return "file"
}

// Batch limits the events of one delivery.
type Batch struct {
	Count, Bytes int
	Delay        time.Duration
}

// File is a file to append to.
type File struct {
	Path, Format, Compression string
	RotateSize                int64
	RotateAge                 time.Duration
}

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

// sinks resolves the sinks, and lets the checks look at each.
func (r resolver) sinks(files []*configv1.Sink, journal Journal) []Sink {
	sinks := make([]Sink, 0, len(files))
	lines, paths := map[string]int{}, map[string]int{}
	for i, file := range files {
		path := element("sinks", i)
		r.unique("sink", lines, path+".name", file.GetName())
		r.unique("sink", paths, path+".file.path", file.GetFile().GetPath())
		s := r.sink(path, file)
		s.Replica = r.pinned(path, file, journal)
		for _, fault := range r.checks.sink(s) {
			r.addf(path+"."+fault.Key, "%s", fault.Reason)
		}
		sinks = append(sinks, s)
	}
	if len(sinks) == 0 {
		return nil
	}
	return sinks
}

// unique reports a value that another sink or source has already.
func (r resolver) unique(what string, lines map[string]int, path, value string) {
	if line, found := lines[value]; found && value != "" {
		r.addf(path, "is taken by the %s in line %d", what, line)
		return
	}
	lines[value] = r.place(path).line
}

func (r resolver) sink(path string, file *configv1.Sink) Sink {
	s := Sink{
		Name:        file.GetName(),
		Latest:      text(path+".from", file.GetFrom()) == "latest",
		Skip:        text(path+".when_full", file.GetWhenFull()) == "skip",
		StrictOrder: file.GetStrictOrder(),
		Concurrency: number(path+".concurrency", file.GetConcurrency()),
		Required:    file.GetRequired(),
		Batch:       r.batch(path+".batch", file.GetBatch()),
		BackoffMin:  r.duration(path+".backoff.min", file.GetBackoff().GetMin()),
		BackoffMax:  r.duration(path+".backoff.max", file.GetBackoff().GetMax()),
	}
	if s.BackoffMax < s.BackoffMin {
		r.addf(path+".backoff.max", "must be at least min, %s", s.BackoffMin)
	}
	switch kind := file.GetKind().(type) {
	case *configv1.Sink_File:
		s.File = r.file(path+".file", kind.File)
		if s.Concurrency > 1 {
			r.addf(path+".concurrency", "must be 1: a file is written by one")
		}
	case *configv1.Sink_Kafka:
		s.Kafka = r.kafka(path+".kafka", kind.Kafka)
	}
	return s
}

func (r resolver) batch(path string, file *configv1.SinkBatch) Batch {
	return Batch{
		Count: number(path+".count", file.GetCount()),
		Bytes: int(r.size(path+".bytes", file.GetBytes(), 0)),
		Delay: r.duration(path+".delay", file.GetDelay()),
	}
}

func (r resolver) file(path string, file *configv1.FileSink) *File {
	return &File{
		Path:        file.GetPath(),
		Format:      text(path+".format", file.GetFormat()),
		Compression: text(path+".compression", file.GetCompression()),
		RotateSize:  r.size(path+".rotate.size", file.GetRotate().GetSize(), 0),
		RotateAge:   r.duration(path+".rotate.age", file.GetRotate().GetAge()),
	}
}

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
