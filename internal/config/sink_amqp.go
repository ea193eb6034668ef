package config

import (
	"time"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
	"github.com/webhook-bridge/bridge/internal/secret"
)

// AMQP is an exchange of RabbitMQ.
type AMQP struct {
	Brokers               []string
	VirtualHost, Username string
	Password              secret.Value
	TLS                   *ClientTLS
	Exchange, Declare     string
	RoutingKey            string
	Unroutable, Format    string
	Timeout               time.Duration
}

func (r resolver) amqp(path string, file *configv1.AmqpSink) *AMQP {
	return &AMQP{
		Brokers:     file.GetBrokers(),
		VirtualHost: text(path+".virtual_host", file.GetVirtualHost()),
		Username:    file.GetUsername(),
		Password:    r.optionalSecret(path+".password", file.GetPassword()),
		TLS:         clientTLS(file.GetTls()),
		Exchange:    file.GetExchange(),
		Declare:     file.GetDeclare(),
		RoutingKey:  file.GetRoutingKey(),
		Unroutable:  text(path+".unroutable", file.GetUnroutable()),
		Format:      text(path+".format", file.GetFormat()),
		Timeout:     r.duration(path+".timeout", file.GetTimeout()),
	}
}
