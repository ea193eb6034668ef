package asyncapi

import "github.com/webhook-bridge/bridge/internal/jsonschema"

// Names of the servers, which are also those of their protocols.
const (
	serverGRPC  = "grpc"
	serverKafka = "kafka"
)

const (
	// traitName is the name of the trait of all messages.
	traitName = "record"
	// bindingVersion is the version of the bindings for Kafka.
	bindingVersion = "0.5.0"
)

// messageBindings describe the key of a record.
func messageBindings() MessageBindings {
	return MessageBindings{Kafka: KafkaMessage{
		Key: &jsonschema.Schema{
			Type: "string", Pattern: "^[a-z0-9-]+/.",
			Description: "`<source>/<subject>`, unless the sink has another `key`: the events of one subject are in one partition, in order.",
		},
		Version: bindingVersion,
	}}
}

// header is a header of a record in Kafka.
type header struct {
	name, text string
}

// recordHeaders are the headers, `ce_` and the attributes of docs/sinks/cloudevents.md.
var recordHeaders = []header{
	{"content-type", "`application/json` with the format `json`."},
	{"ce_specversion", "The version of CloudEvents, `1.0`."},
	{"ce_id", "`id` of the event."},
	{"ce_type", "`type` of the event."},
	{"ce_source", "`source` of the event."},
	{"ce_subject", "`subject` of the event."},
	{"ce_time", "`occurredAt` of the event, else `receivedAt`; RFC 3339."},
	{"ce_connector", "`connector` of the event."},
	{"ce_vendorevent", "`vendorEvent` of the event."},
	{"ce_subjectversion", "`subjectVersion` of the event."},
	{"ce_stale", "`true` if the event is stale."},
	{"ce_webhookid", "`webhookId` of the event."},
	{"ce_receivedtime", "`receivedAt` of the event; RFC 3339."},
	{"ce_supersedes", "`supersedes` of the event."},
	{"ce_replay", "Id of the replay that delivers the event once more."},
}

// headers describes the headers of a record. None is required, since responses of gRPC have none.
func headers() *jsonschema.Schema {
	s := &jsonschema.Schema{
		Type:        "object",
		Description: "Headers of a record in Kafka: the attributes of CloudEvents 1.0. A response of gRPC has none.",
	}
	for _, h := range recordHeaders {
		s.Properties = append(s.Properties, jsonschema.Property{
			Name: h.name, Schema: &jsonschema.Schema{Type: "string", Description: h.text},
		})
	}
	return s
}
