package nats

import (
	"cmp"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/clienttls"
	"github.com/webhook-bridge/bridge/sinks/connections"
	"github.com/webhook-bridge/bridge/sinks/content"
	"github.com/webhook-bridge/bridge/sinks/endpoint"
	"github.com/webhook-bridge/bridge/sinks/template"
)

// Config configures a sink. Servers and Subject have no defaults.
type Config struct {
	// Sink is the sink's name. A stream does not take the events of one sink for duplicates of another's.
	Sink string
	// Servers are the host:port addresses to connect to first; the cluster names the others.
	Servers []string
	// Subject is the subject of the messages. {source}, {connector}, {type} and {kind} (the kind of the event's subject, such as
	// "shipment") are replaced by the event's values.
	Subject string
	// Format of the data. "" means protobuf.
	Format content.Format
	// Username and Password log in, or Token does, or CredentialsFile, which has a JWT and a key.
	Username string
	// Password and Token, if set, return the secret for a new connection, which may have changed since.
	Password, Token func() string
	CredentialsFile string
	// TLS encrypts connections, unless it is nil.
	TLS *clienttls.Files
	// CreateStream, when it is not nil, makes the sink create a missing stream. Otherwise a missing stream is an error.
	CreateStream *CreateStream
	// Timeout limits the wait for an answer. 0 means 30 seconds.
	Timeout time.Duration
	// Required makes Open fail unless a server answers.
	Required bool
}

// CreateStream configures a new stream. It has the sink's subjects.
type CreateStream struct {
	Name string
	// Replicas is how many servers have the stream. 0 means 1.
	Replicas int
	// MaxAge is how long messages are kept. 0 keeps them.
	MaxAge time.Duration
	// Duplicates is the duplicate window. 0 means the server's default, two minutes.
	Duplicates time.Duration
}

// Check returns all problems of the configuration, each a [*sinks.KeyError]. It reads the files that the configuration names, and connects to
// nothing.
func (c Config) Check() []error {
	_, problems := c.resolve()
	return problems
}

// resolved is a Config, converted for the packages that use it.
type resolved struct {
	subject     template.Template
	options     natsgo.Options
	newStream   jetstream.StreamConfig
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
	out := resolved{timeout: cmp.Or(c.Timeout, 30*time.Second)}
	out.connections = connections.New(&net.Dialer{Timeout: min(out.timeout, 10*time.Second)})
	var err error
	if out.subject, err = template.Parse(c.Subject, "source", "connector", "type", "kind"); err == nil {
		err = checkSubject(out.subject.With("x"))
	}
	r.add("subject", err)
	r.add("format", c.Format.Check())
	if c.Timeout < 0 {
		r.add("timeout", errors.New("is negative"))
	}
	out.options = r.options(c, out.timeout)
	if n := c.CreateStream; n != nil {
		out.newStream = r.stream(n, out.subject)
	}
	return out, r.problems
}

// options has the client make one connection and never repeat by itself: the dispatcher does.
func (r *resolver) options(c Config, timeout time.Duration) natsgo.Options {
	o := natsgo.GetDefaultOptions()
	o.Name, o.AllowReconnect, o.Timeout = "bridge", false, min(timeout, 10*time.Second)
	scheme := "nats://"
	if c.TLS != nil {
		scheme = "tls://"
		o.Secure, o.TLSConfig = true, r.tls(c.TLS)
	}
	r.problems = append(r.problems, endpoint.Addresses("servers", c.Servers)...)
	for _, server := range c.Servers {
		o.Servers = append(o.Servers, scheme+server)
	}
	r.login(c, &o)
	return o
}

func (r *resolver) login(c Config, o *natsgo.Options) {
	ways := 0
	if c.Username != "" || c.Password != nil {
		ways++
		r.problems = append(r.problems, endpoint.Login(c.Username, c.Password)...)
		o.UserInfo = func() (string, string) { return c.Username, c.Password() }
	}
	if c.Token != nil {
		ways++
		o.TokenHandler = c.Token
	}
	if c.CredentialsFile != "" {
		ways++
		_, err := os.Stat(c.CredentialsFile)
		r.add("credentials_file", err)
		r.add("credentials_file", natsgo.UserCredentials(c.CredentialsFile)(o))
	}
	if ways > 1 {
		r.add("username", errors.New("is one of three ways to log in: use username and password, or token, or credentials_file"))
	}
}

func (r *resolver) tls(files *clienttls.Files) *tls.Config {
	settings, problems := files.Config("tls")
	r.problems = append(r.problems, problems...)
	return settings
}

// stream is the new stream: with all subjects of the template.
func (r *resolver) stream(n *CreateStream, subject template.Template) jetstream.StreamConfig {
	if n.Name == "" || strings.ContainsAny(n.Name, ". \t\r\n*>/\\") {
		r.add("create_stream.name", errors.New("must be a name without spaces, dots, slashes and wildcards"))
	}
	if n.Replicas < 0 || n.Replicas > 5 {
		r.add("create_stream.replicas", errors.New("is not between 1 and 5"))
	}
	if subjects(subject) == ">" {
		r.add("create_stream", errors.New("a stream must not have all subjects: let the subject begin with a fixed part"))
	}
	if n.MaxAge < 0 || n.Duplicates < 0 {
		r.add("create_stream", errors.New("has a negative time"))
	}
	return jetstream.StreamConfig{
		Name: n.Name, Subjects: []string{subjects(subject)}, Replicas: cmp.Or(n.Replicas, 1), MaxAge: n.MaxAge, Duplicates: n.Duplicates,
		Storage: jetstream.FileStorage, AllowDirect: true,
	}
}

// subjects returns the pattern of the subjects: its fixed beginning, and a wildcard for the rest, since a type has dots.
func subjects(t template.Template) string {
	if fixed := t.Fixed(); fixed != "" {
		return fixed
	}
	const mark = "\x00"
	begin, _, _ := strings.Cut(t.With(mark), mark)
	return begin[:strings.LastIndex(begin, ".")+1] + ">"
}
