package amqp

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	rabbit "github.com/rabbitmq/amqp091-go"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/clienttls"
	"github.com/webhook-bridge/bridge/sinks/connections"
	"github.com/webhook-bridge/bridge/sinks/content"
	"github.com/webhook-bridge/bridge/sinks/endpoint"
	"github.com/webhook-bridge/bridge/sinks/template"
)

// Config configures a sink. Brokers and RoutingKey have no defaults.
type Config struct {
	// Brokers are host:port, tried in this order.
	Brokers []string
	// VirtualHost is the broker's name space. "" means "/".
	VirtualHost string
	// Username and Password log in.
	Username string
	// Password returns the password for a new connection, which may have changed since.
	Password func() string
	// TLS encrypts connections, unless it is nil.
	TLS *clienttls.Files
	// Exchange is the exchange's name. "" is the default exchange, whose routing keys are the queues' names.
	Exchange string
	// Declare is the type of the exchange, such as "topic", and makes the sink declare it, durable. "" leaves that to the operator.
	Declare string
	// RoutingKey is the messages' routing key. {source}, {connector}, {type} and {kind} (the kind of the subject, such as "shipment") are
	// replaced by the event's values.
	RoutingKey string
	// Unroutable says what becomes of an event that no queue takes. "" means Wait.
	Unroutable Unroutable
	// Format of the bodies. "" means protobuf.
	Format content.Format
	// Timeout limits the wait for a confirm. 0 means 30 seconds.
	Timeout time.Duration
	// Required makes Open fail unless a broker answers.
	Required bool
}

// Unroutable says what becomes of an event that no queue takes.
type Unroutable string

const (
	// Wait tries the event again, until a queue takes it.
	Wait Unroutable = "wait"
	// Drop counts the event as delivered.
	Drop Unroutable = "drop"
)

// Check returns all problems of the configuration, each a [*sinks.KeyError]. It reads the files that the configuration names, and
// connects to nothing.
func (c Config) Check() []error {
	_, problems := c.resolve()
	return problems
}

// resolved is a Config, converted for the packages that use it.
type resolved struct {
	key         template.Template
	scheme      string
	tls         *tls.Config
	connections *connections.Set
	timeout     time.Duration
}

// resolver collects problems.
type resolver struct{ problems []error }

func (r *resolver) add(key string, err error) {
	if err != nil {
		r.problems = append(r.problems, &sinks.KeyError{Key: key, Err: err})
	}
}

func (c Config) resolve() (resolved, []error) {
	r := &resolver{}
	out := resolved{scheme: "amqp://", timeout: cmp.Or(c.Timeout, 30*time.Second)}
	r.problems = append(r.problems, endpoint.Addresses("brokers", c.Brokers)...)
	r.problems = append(r.problems, endpoint.Login(c.Username, c.Password)...)
	r.exchange(c)
	var err error
	out.key, err = template.Parse(c.RoutingKey, "source", "connector", "type", "kind")
	r.add("routing_key", err)
	r.add("format", c.Format.Check())
	if c.Timeout < 0 {
		r.add("timeout", errors.New("is negative"))
	}
	if c.TLS != nil {
		var faults []error
		out.tls, faults = c.TLS.Config("tls")
		out.scheme = "amqps://"
		r.problems = append(r.problems, faults...)
	}
	out.connections = connections.New(&net.Dialer{Timeout: min(out.timeout, connectWithin)})
	return out, r.problems
}

func (r *resolver) exchange(c Config) {
	if types := []string{"", "direct", "fanout", "topic", "headers"}; !slices.Contains(types, c.Declare) {
		r.add("declare", fmt.Errorf("%q is none of direct, fanout, topic, headers", c.Declare))
	}
	if c.Declare != "" && c.Exchange == "" {
		r.add("exchange", errors.New("is missing: the default exchange cannot be declared"))
	}
	if !slices.Contains([]Unroutable{"", Wait, Drop}, c.Unroutable) {
		r.add("unroutable", fmt.Errorf("%q is neither wait nor drop", string(c.Unroutable)))
	}
}

const (
	// connectWithin limits the time of connecting to one broker, with its handshake.
	connectWithin = 10 * time.Second
	heartbeat     = 10 * time.Second
)

// dialing is how the client connects to one broker. The client writes the broker's name into the settings of TLS.
func (p resolved) dialing(ctx context.Context, c Config) rabbit.Config {
	d := rabbit.Config{
		Vhost:           cmp.Or(c.VirtualHost, "/"),
		Heartbeat:       heartbeat,
		TLSClientConfig: p.tls.Clone(),
		Properties:      rabbit.Table{"connection_name": "bridge", "product": "bridge"},
		SASL:            []rabbit.Authentication{&rabbit.PlainAuth{Username: "guest", Password: "guest"}},
		Dial: func(network, address string) (net.Conn, error) {
			conn, err := p.connections.Dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			// The client ends the limit after the handshake.
			return conn, conn.SetDeadline(time.Now().Add(connectWithin))
		},
	}
	if c.Password != nil {
		d.SASL = []rabbit.Authentication{&rabbit.PlainAuth{Username: c.Username, Password: c.Password()}}
	}
	return d
}
