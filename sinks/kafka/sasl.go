package kafka

import (
	"context"
	"errors"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// errSCRAM takes the place of an error whose text may quote the password.
var errSCRAM = errors.New("username or password has characters that SCRAM does not allow")

// mechanism returns the client's side of a known mechanism.
func (s *SASL) mechanism(password string) (sasl.Mechanism, error) {
	algorithm := scram.SHA256
	switch s.Mechanism {
	case "PLAIN":
		return plain.Mechanism{Username: s.Username, Password: password}, nil
	case "SCRAM-SHA-512":
		algorithm = scram.SHA512
	}
	m, err := scram.Mechanism(algorithm, s.Username, password)
	if err != nil {
		return nil, errSCRAM
	}
	return m, nil
}

// renewedSASL authenticates each connection with the password of that moment.
type renewedSASL struct {
	sasl.Mechanism

	credentials SASL
}

// Start implements [sasl.Mechanism].
func (r renewedSASL) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	m, err := r.credentials.mechanism(r.credentials.Current())
	if err != nil {
		return nil, nil, err
	}
	return m.Start(ctx)
}
