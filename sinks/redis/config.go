package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/clienttls"
	"github.com/webhook-bridge/bridge/sinks/connections"
	"github.com/webhook-bridge/bridge/sinks/content"
	"github.com/webhook-bridge/bridge/sinks/endpoint"
	"github.com/webhook-bridge/bridge/sinks/template"
)

// Config configures a sink. Addresses and Stream have no defaults.
type Config struct {
	// Addresses are host:port. One is a server. With Master they are sentinels. Otherwise several are nodes of a cluster.
	Addresses []string
	// Master is the name by which sentinels know the primary.
	Master string
	// Username and Password log in. An empty username is the server's default user.
	Username string
	// Password, if set, returns the password for a new connection, which may have changed since.
	Password func() string
	// Database is the number of the database.
	Database int
	// TLS encrypts connections, unless it is nil.
	TLS *clienttls.Files
	// Stream is the stream's key. {source}, {connector}, {type} and {kind} (the kind of the subject, such as "shipment") are replaced by
	// the event's values. In a cluster it is the same for all events.
	Stream string
	// Format of the values. "" means protobuf.
	Format content.Format
	// MaxLength is how many entries a stream keeps, about: older ones are removed. 0 keeps all.
	MaxLength int64
	// Replicas is how many replicas must have an event before it counts as delivered.
	Replicas int
	// Timeout limits a call. 0 means 30 seconds.
	Timeout time.Duration
	// Required makes Open fail unless the server answers.
	Required bool
}

// Check returns all problems of the configuration, each a [*sinks.KeyError]. It reads the files that the configuration names, and connects to
// nothing.
func (c Config) Check() []error {
	_, problems := c.resolve()
	return problems
}

// resolved is a Config, converted for the packages that use it.
type resolved struct {
	stream      template.Template
	format      content.Format
	options     *goredis.UniversalOptions
	connections *connections.Set
	timeout     time.Duration
}

func (c Config) resolve() (resolved, []error) {
	var problems []error
	add := func(key string, err error) { problems = append(problems, &sinks.KeyError{Key: key, Err: err}) }
	problems = append(problems, endpoint.Addresses("addresses", c.Addresses)...)
	if c.Username != "" { // A password alone is the default user's.
		problems = append(problems, endpoint.Login(c.Username, c.Password)...)
	}
	cluster := len(c.Addresses) > 1 && c.Master == ""
	stream, err := template.Parse(c.Stream, "source", "connector", "type", "kind")
	switch {
	case err != nil:
		add("stream", err)
	case cluster && stream.Fixed() == "":
		add("stream", errors.New("has fields, but a cluster keeps streams with different names on different nodes; several addresses without a master are a cluster"))
	}
	if cluster && c.Replicas > 0 {
		add("replicas", errors.New("is not for a cluster; use min-replicas-to-write of its nodes"))
	}
	if cluster && c.Database != 0 {
		add("database", errors.New("is not for a cluster, which has one"))
	}
	if err := c.Format.Check(); err != nil {
		add("format", err)
	}
	for _, n := range []struct {
		key   string
		value int64
	}{{"max_length", c.MaxLength}, {"replicas", int64(c.Replicas)}, {"database", int64(c.Database)}, {"timeout", int64(c.Timeout)}} {
		if n.value < 0 {
			add(n.key, errors.New("is negative"))
		}
	}
	timeout := cmp.Or(c.Timeout, 30*time.Second)
	var encryption *tls.Config
	if c.TLS != nil {
		settings, faults := c.TLS.Config("tls")
		encryption = settings
		problems = append(problems, faults...)
	}
	set := connections.New(&net.Dialer{Timeout: min(timeout, 10*time.Second)})
	return resolved{stream: stream, format: c.Format, options: c.options(set, timeout, encryption), connections: set, timeout: timeout}, problems
}

// options has the client make one attempt over one connection: the dispatcher repeats, and WAIT is about the connection's own writes.
func (c Config) options(set *connections.Set, timeout time.Duration, encryption *tls.Config) *goredis.UniversalOptions {
	o := &goredis.UniversalOptions{
		Addrs:      c.Addresses,
		MasterName: c.Master,
		ClientName: "bridge",
		DB:         c.Database,
		Protocol:   2,
		PoolSize:   1,
		MaxRetries: -1,
		// The context of each call limits it.
		ContextTimeoutEnabled: true,
		ReadTimeout:           timeout,
		WriteTimeout:          timeout,
		DialerRetries:         1,
	}
	o.Dialer = set.Dial
	if encryption != nil {
		o.Dialer = dialTLS(set, encryption)
	}
	if c.Password != nil {
		o.CredentialsProvider = func() (string, string) { return c.Username, c.Password() }
	}
	return o
}

// dialTLS opens connections of the set, and encrypts them.
func dialTLS(set *connections.Set, settings *tls.Config) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		plain, err := set.Dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		named := settings.Clone()
		if named.ServerName == "" {
			named.ServerName, _, _ = net.SplitHostPort(address)
		}
		encrypted := tls.Client(plain, named)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, plain.Close())
		}
		return encrypted, nil
	}
}
