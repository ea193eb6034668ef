package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// otherAddress says how to call another server.
const otherAddress = "--addr ADDRESS calls another address, -c FILE the server of a configuration"

// callRemedies are those of the commands that call a server by gRPC.
var callRemedies = remedies{address: otherAddress, plain: "leave out --tls and --ca, or correct listen.tls.grpc in the configuration"}

// errInterrupted is returned by a command that a signal ended.
var errInterrupted = errors.New("interrupted before the end")

// statusOf returns the gRPC status that err is or wraps, if it does.
func statusOf(err error) (*status.Status, bool) {
	var answer interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &answer) {
		return nil, false
	}
	return answer.GRPCStatus(), true
}

// explain says in words why a call failed, and what to do. Errors that are not of the call stay.
func (s *server) explain(ctx context.Context, err error) error {
	st, ok := statusOf(err)
	if err == nil || !ok {
		return err
	}
	if ctx.Err() != nil {
		return errInterrupted
	}
	text := st.Message()
	if strings.Contains(text, "HTTP status code") || strings.Contains(text, "unexpected content-type") {
		return s.notGRPC() // Each HTTP status has a code of its own.
	}
	switch st.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return s.unreached(ctx, st)
	case codes.Unauthenticated:
		return s.unauthenticated(text)
	case codes.Unimplemented:
		return fmt.Errorf("the server at %s does not know this call: it has another version than this program, or is another server (%s)",
			s.addr, text)
	case codes.PermissionDenied:
		return fmt.Errorf("the server at %s does not permit this: %s", s.addr, text)
	case codes.Internal:
		return fmt.Errorf("the server at %s has an internal error: %s", s.addr, text)
	case codes.DataLoss:
		return fmt.Errorf("the journal of the server at %s is damaged: %s", s.addr, text)
	case codes.ResourceExhausted:
		if strings.Contains(text, "larger than max") {
			return fmt.Errorf("the server at %s sent more than this program accepts: %s", s.addr, text)
		}
	case codes.OutOfRange:
		for _, detail := range st.Details() {
			if expired, ok := detail.(*streamv1.PositionExpired); ok {
				return fmt.Errorf("%s; the earliest event in the journal: --from %s", text, expired.GetEarliestToken())
			}
		}
	}
	if text == "" {
		return fmt.Errorf("the server at %s answered %s without a reason", s.addr, st.Code())
	}
	return errors.New(text)
}

// unauthenticated says which credential the server wants.
func (s *server) unauthenticated(text string) error {
	whose := "one of access.tokens, or of a principal in access.principals"
	if s.operator {
		whose = "one of access.admin_tokens, or of access.tokens if there are none of these"
	}
	switch {
	case s.token != "":
		return fmt.Errorf("the server at %s does not accept the bearer token %s: it must be %s", s.addr, s.token, whose)
	case s.certificate:
		return fmt.Errorf("the server at %s does not accept the client certificate of --cert: %s", s.addr, text)
	case s.operator:
		return fmt.Errorf("the server at %s requires a bearer token: set BRIDGE_TOKEN, or name the server's configuration with -c (%s)", s.addr, whose)
	}
	return fmt.Errorf("the server at %s requires a bearer token: set BRIDGE_TOKEN, or name the server's configuration with -c, "+
		"and --principal if it has several (%s); or show a client certificate with --cert and --key", s.addr, whose)
}

func (s *server) notGRPC() error {
	return fmt.Errorf("%s is an HTTP server, not the gRPC listener of a Bridge: that is listen.grpc, by default port 9090. %s",
		s.addr, sentence(otherAddress))
}

// unreached says why a call got no answer.
func (s *server) unreached(ctx context.Context, st *status.Status) error {
	err, began, connected, spoke := s.witness.seen()
	if s.GetState() == connectivity.Ready {
		if st.Code() == codes.DeadlineExceeded {
			return fmt.Errorf("the server at %s did not answer in time", s.addr)
		}
		return fmt.Errorf("the server at %s cannot do this now: %s", s.addr, st.Message())
	}
	if text := callRemedies.problem(s.addr, err); text != nil {
		return text
	}
	switch {
	case err != nil && s.secure && strings.Contains(err.Error(), "ALPN"), err != nil && strings.Contains(err.Error(), "no application protocol"):
		return s.notGRPC()
	case err != nil:
		return fmt.Errorf("no connection to %s: %w", s.addr, err)
	case spoke || s.secure && connected && !strings.Contains(st.Message(), "preface"):
		return fmt.Errorf("the connection to %s was lost: is `bridge serve` still running?", s.addr)
	case connected && !s.secure && speaksTLS(ctx, s.addr):
		return fmt.Errorf("the server at %s uses TLS: --tls trusts the system's certificates, --ca FILE those in FILE", s.addr)
	case bytes.HasPrefix(began, []byte("HTTP/")):
		return s.notGRPC()
	case connected:
		return fmt.Errorf("%s accepts connections, but does not answer as the gRPC listener of a Bridge does: that is listen.grpc, by default port 9090. %s",
			s.addr, sentence(otherAddress))
	}
	return fmt.Errorf("no connection to %s: %s", s.addr, st.Message())
}
