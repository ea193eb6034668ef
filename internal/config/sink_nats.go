package config

import (
	"time"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
	"github.com/webhook-bridge/bridge/internal/secret"
)

// NATS is a subject, or several, of NATS JetStream.
type NATS struct {
	Servers         []string
	Subject, Format string
	Username        string
	Password, Token secret.Value
	CredentialsFile string
	TLS             *ClientTLS
	// CreateStream is nil if the sink creates no stream.
	CreateStream *NATSStream
	Timeout      time.Duration
}

// NATSStream configures the creation of a missing stream.
type NATSStream struct {
	Name               string
	Replicas           int
	MaxAge, Duplicates time.Duration
}

func (r resolver) nats(path string, file *configv1.NatsSink) *NATS {
	n := &NATS{
		Servers:         file.GetServers(),
		Subject:         file.GetSubject(),
		Format:          text(path+".format", file.GetFormat()),
		Username:        file.GetUsername(),
		Password:        r.optionalSecret(path+".password", file.GetPassword()),
		Token:           r.optionalSecret(path+".token", file.GetToken()),
		CredentialsFile: file.GetCredentialsFile(),
		TLS:             clientTLS(file.GetTls()),
		Timeout:         r.duration(path+".timeout", file.GetTimeout()),
	}
	if s := file.GetCreateStream(); s != nil {
		n.CreateStream = &NATSStream{
			Name:       s.GetName(),
			Replicas:   number(path+".create_stream.replicas", s.GetReplicas()),
			MaxAge:     r.duration(path+".create_stream.max_age", s.GetMaxAge()),
			Duplicates: r.duration(path+".create_stream.duplicates", s.GetDuplicates()),
		}
	}
	return n
}
