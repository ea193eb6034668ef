// Package asyncapi describes Bridge's events as an AsyncAPI 3.0 document: a channel with one message for each type of event. The same
// event comes over gRPC, as a response of a subscription, and over Kafka, as a record. The description of an event's JSON is package
// jsonschema's; here are the channels, the headers and the keys.
package asyncapi

import (
	"fmt"
	"slices"
	"strings"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/jsonschema"
)

// DefaultTopic is the topic of Kafka that the documentation uses.
const DefaultTopic = "bridge.events"

// Options say what to describe.
type Options struct {
	// Version of the program.
	Version string
	// Types of the events.
	Types []string
	// Topic of the Kafka sink, as it is configured. `{type}` in it is replaced; the other fields depend on the event.
	Topic string
}

// New returns the document.
func New(o Options) (*Document, error) {
	b, err := jsonschema.NewBuilder("#/components/schemas/", true)
	if err != nil {
		return nil, err
	}
	d := &Document{
		AsyncAPI: "3.0.0",
		Info: Info{
			Title: "Bridge", Version: o.Version,
			Description: "Events of Bridge. A field with its default value is left out of the JSON: 0, false, an empty text or list, the first " +
				"name of an enumeration. 64-bit integers are strings. Over gRPC, and over Kafka with the format `protobuf`, the message " +
				"is bridge.event.v1.Event itself; `bridge protos` writes its schema.",
			License: License{Name: "Apache-2.0"},
		},
		ContentType: "application/json",
		Servers: map[string]Server{
			serverGRPC:  {Host: "127.0.0.1:9090", Protocol: serverGRPC, Description: "The subscription service, at the address in `grpc` of the configuration."},
			serverKafka: {Host: "127.0.0.1:9092", Protocol: serverKafka, Description: "The brokers of a Kafka sink of the configuration."},
		},
		Channels:   map[string]Channel{},
		Operations: map[string]Operation{},
	}
	d.Components.Messages = map[string]Message{}
	d.Components.Traits = map[string]Trait{traitName: {Headers: headers(), Bindings: messageBindings()}}
	for _, name := range o.Types {
		if err := d.add(b, name, o.Topic); err != nil {
			return nil, err
		}
	}
	d.Components.Schemas = b.Named()
	return d, nil
}

// add adds the channel of a type, with its message and operation.
func (d *Document) add(b *jsonschema.Builder, name, topic string) error {
	kinds := jsonschema.Kinds()
	i := slices.IndexFunc(kinds, func(k jsonschema.Kind) bool { return k.Has(name) })
	if i < 0 {
		return fmt.Errorf("asyncapi: no kind of data has the type %s", name)
	}
	payload, err := b.Typed(name, kinds[i])
	if err != nil {
		return err
	}
	payload.Title = title(name)
	data := kinds[i].Field.Message().Name()
	d.Components.Messages[name] = Message{
		Name: name, Title: title(name),
		Summary:     fmt.Sprintf("An event of the type `%s`, with a %s as its data.", name, data),
		ContentType: d.ContentType,
		Traits:      []Reference{{"#/components/messageTraits/" + traitName}},
		Payload:     payload,
	}
	d.Channels[name] = Channel{
		Address:     name,
		Title:       title(name),
		Description: "The events of one type. Over gRPC they are chosen by a filter, over Kafka they are in a topic, perhaps beside other types.",
		Servers:     []Reference{{"#/servers/" + serverGRPC}, {"#/servers/" + serverKafka}},
		Messages:    map[string]Reference{name: {"#/components/messages/" + name}},
		Bindings:    ChannelBindings{Kafka: KafkaChannel{Topic: strings.ReplaceAll(topic, "{type}", name), Version: bindingVersion}},
		GRPC: GRPC{
			Method:  strings.TrimPrefix(streamv1.EventStreamService_Tail_FullMethodName, "/"),
			Request: Request{Filter: Filter{Types: []string{name}}},
		},
	}
	d.Operations["send."+name] = Operation{
		Action: "send", Channel: Reference{"#/channels/" + name},
		Messages: []Reference{{"#/channels/" + name + "/messages/" + name}},
	}
	return nil
}

// title makes a name from a type: OrderLineChanged of `order_line.changed`.
func title(name string) string {
	var b strings.Builder
	for word := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '.' || r == '_' }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}
