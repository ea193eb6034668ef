package config

import (
	"slices"
	"time"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/secret"
)

// Sink is the configuration of one sink. Exactly one of the kinds is set.
type Sink struct {
	Name     string
	Kafka    *Kafka
	File     *File
	Postgres *PostgresSink
	Webhook  *Webhook
	S3       *S3
	Stdout   bool
	NATS     *NATS
	AMQP     *AMQP
	Redis    *Redis
	// From is where a sink with a new name starts.
	From Start
	// Route chooses the sink's events. Nil chooses all.
	Route *streamv1.Filter
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
	switch {
	case s.Kafka != nil:
		return "kafka"
	case s.Stdout:
		return "stdout"
	case s.Postgres != nil:
		return "postgres"
	case s.Webhook != nil:
		return "webhook"
	case s.S3 != nil:
		return "s3"
	case s.NATS != nil:
		return "nats"
	case s.AMQP != nil:
		return "amqp"
	case s.Redis != nil:
		return "redis"
	}
	return "file"
}

// secrets returns the secrets that the sink has.
func (s Sink) secrets() []secret.Value {
	var all []secret.Value
	switch {
	case s.Kafka != nil:
		all = s.Kafka.secrets()
	case s.Postgres != nil:
		all = []secret.Value{s.Postgres.URL}
	case s.Webhook != nil:
		all = s.Webhook.credentials()
	case s.S3 != nil && s.S3.AccessKeyID != "":
		all = []secret.Value{s.S3.SecretAccessKey}
	case s.NATS != nil:
		all = []secret.Value{s.NATS.Password, s.NATS.Token}
	case s.AMQP != nil:
		all = []secret.Value{s.AMQP.Password}
	case s.Redis != nil:
		all = []secret.Value{s.Redis.Password}
	}
	return slices.DeleteFunc(all, func(v secret.Value) bool { return v == secret.Value{} })
}

// ClientTLS returns the TLS settings of the kinds that share them, or nil.
func (s Sink) ClientTLS() *ClientTLS {
	switch {
	case s.Webhook != nil:
		return s.Webhook.TLS
	case s.S3 != nil:
		return s.S3.TLS
	case s.NATS != nil:
		return s.NATS.TLS
	case s.AMQP != nil:
		return s.AMQP.TLS
	case s.Redis != nil:
		return s.Redis.TLS
	}
	return nil
}

// Batch limits the events of one delivery.
type Batch struct {
	Count, Bytes int
	Delay        time.Duration
}

// sinks resolves the sinks, and lets the checks look at each.
func (r resolver) sinks(files []*configv1.Sink, journal Journal) []Sink {
	sinks := make([]Sink, 0, len(files))
	lines, paths, outputs := map[string]int{}, map[string]int{}, map[string]int{}
	for i, file := range files {
		path := element("sinks", i)
		r.unique("sink", lines, path+".name", file.GetName())
		r.unique("sink", paths, path+".file.path", file.GetFile().GetPath())
		if file.GetStdout() != nil {
			r.unique("sink", outputs, path+".stdout", "stdout")
		}
		s := r.sink(path, file)
		s.Replica = r.pinned(path, file, journal)
		r.besideJournal(path+".postgres", s.Postgres, journal.Postgres)
		for _, fault := range r.checks.sink(s) {
			r.addAtf(r.placeIn(path+"."+fault.Key, fault.Line, fault.Column), path+"."+fault.Key, "%s", fault.Reason)
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
		From:        r.from(path+".from", file.GetFrom()),
		Route:       routeOf(file.GetRoute()),
		Skip:        text(path+".when_full", file.GetWhenFull()) == "skip",
		StrictOrder: file.GetStrictOrder(),
		Concurrency: number(path+".concurrency", file.GetConcurrency()),
		Required:    file.GetRequired(),
		BackoffMin:  r.duration(path+".backoff.min", file.GetBackoff().GetMin()),
		BackoffMax:  r.duration(path+".backoff.max", file.GetBackoff().GetMax()),
	}
	if s.BackoffMax < s.BackoffMin {
		r.addf(path+".backoff.max", "must be at least min, %s", s.BackoffMin)
	}
	switch kind := file.GetKind().(type) {
	case *configv1.Sink_File:
		s.File = r.file(path+".file", kind.File)
	case *configv1.Sink_Stdout:
		s.Stdout = true
	case *configv1.Sink_Kafka:
		s.Kafka = r.kafka(path+".kafka", kind.Kafka)
	case *configv1.Sink_Postgres:
		s.Postgres = r.postgresSink(path+".postgres", kind.Postgres)
	case *configv1.Sink_Webhook:
		s.Webhook = r.webhook(path+".webhook", kind.Webhook)
	case *configv1.Sink_S3:
		s.S3 = r.s3(path+".s3", kind.S3)
	case *configv1.Sink_Nats:
		s.NATS = r.nats(path+".nats", kind.Nats)
	case *configv1.Sink_Amqp:
		s.AMQP = r.amqp(path+".amqp", kind.Amqp)
	case *configv1.Sink_Redis:
		s.Redis = r.redis(path+".redis", kind.Redis)
	}
	s.Batch = r.batch(path+".batch", file.GetBatch(), kindBatch(s))
	return s
}

// kindBatches are the defaults of kinds of sinks that need others than the schema's. The schema says so in words.
var kindBatches = map[string]Batch{
	// Each event is a request. After a crash, at most a batch of requests is repeated.
	"webhook": {Count: 100},
	// Each batch is an object, and objects should be large.
	"s3": {Count: 100_000, Bytes: 64 << 20, Delay: 5 * time.Minute},
	// A batch is a transaction.
	"postgres": {Count: 5000, Bytes: 4 << 20},
	// Smaller ones do not keep the brokers busy.
	"kafka": {Count: 5000, Bytes: 4 << 20},
}

// kindBatch returns the default of a sink's kind.
func kindBatch(s Sink) Batch {
	if s.Kafka != nil && s.Kafka.ExactlyOnce() {
		// A batch is a transaction, and its requests take time.
		return Batch{Count: 10_000, Bytes: 8 << 20}
	}
	return kindBatches[s.Kind()]
}

func (r resolver) batch(path string, file *configv1.SinkBatch, kind Batch) Batch {
	b := Batch{
		Count: number(path+".count", file.GetCount()),
		Bytes: int(r.size(path+".bytes", file.GetBytes(), 0)),
		Delay: r.duration(path+".delay", file.GetDelay()),
	}
	if file.GetCount() == 0 && kind.Count > 0 {
		b.Count = kind.Count
	}
	if file.GetBytes() == "" && kind.Bytes > 0 {
		b.Bytes = kind.Bytes
	}
	if file.GetDelay() == nil && kind.Delay > 0 {
		b.Delay = kind.Delay
	}
	return b
}
