package asyncapi

import "github.com/webhook-bridge/bridge/internal/jsonschema"

// Document is the part of an AsyncAPI document that events need.
type Document struct {
	AsyncAPI    string               `json:"asyncapi"`
	Info        Info                 `json:"info"`
	ContentType string               `json:"defaultContentType"`
	Servers     map[string]Server    `json:"servers"`
	Channels    map[string]Channel   `json:"channels"`
	Operations  map[string]Operation `json:"operations"`
	Components  Components           `json:"components"`
}

// Info says what the document describes.
type Info struct {
	Title       string  `json:"title"`
	Version     string  `json:"version"`
	Description string  `json:"description"`
	License     License `json:"license"`
}

// License is the license of the schemas.
type License struct {
	Name string `json:"name"`
}

// Server is a place to read events from.
type Server struct {
	Host        string `json:"host"`
	Protocol    string `json:"protocol"`
	Description string `json:"description"`
}

// Reference refers to another part of the document.
type Reference struct {
	Ref string `json:"$ref"`
}

// Channel has the events of one type.
type Channel struct {
	Address     string               `json:"address"`
	Title       string               `json:"title"`
	Description string               `json:"description"`
	Servers     []Reference          `json:"servers"`
	Messages    map[string]Reference `json:"messages"`
	Bindings    ChannelBindings      `json:"bindings"`
	// GRPC is an extension: AsyncAPI has no binding for gRPC.
	GRPC GRPC `json:"x-grpc"`
}

// ChannelBindings say where a channel is in each protocol.
type ChannelBindings struct {
	Kafka KafkaChannel `json:"kafka"`
}

// KafkaChannel is a topic.
type KafkaChannel struct {
	Topic   string `json:"topic"`
	Version string `json:"bindingVersion"`
}

// GRPC is the call that a channel's events come from.
type GRPC struct {
	Method  string  `json:"method"`
	Request Request `json:"request"`
}

// Request is the call's request in JSON.
type Request struct {
	Filter Filter `json:"filter"`
}

// Filter chooses events.
type Filter struct {
	Types []string `json:"types"`
}

// Operation says that Bridge sends the events of a channel.
type Operation struct {
	Action   string      `json:"action"`
	Channel  Reference   `json:"channel"`
	Messages []Reference `json:"messages"`
}

// Components has the parts that others refer to.
type Components struct {
	Messages map[string]Message    `json:"messages"`
	Traits   map[string]Trait      `json:"messageTraits"`
	Schemas  jsonschema.Properties `json:"schemas"`
}

// Message is an event.
type Message struct {
	Name        string             `json:"name"`
	Title       string             `json:"title"`
	Summary     string             `json:"summary"`
	ContentType string             `json:"contentType"`
	Traits      []Reference        `json:"traits"`
	Payload     *jsonschema.Schema `json:"payload"`
}

// Trait has what all messages have in common.
type Trait struct {
	Headers  *jsonschema.Schema `json:"headers"`
	Bindings MessageBindings    `json:"bindings"`
}

// MessageBindings say how a message looks in each protocol.
type MessageBindings struct {
	Kafka KafkaMessage `json:"kafka"`
}

// KafkaMessage is a record.
type KafkaMessage struct {
	Key     *jsonschema.Schema `json:"key"`
	Version string             `json:"bindingVersion"`
}
