// Package config reads Bridge's configuration: one YAML file whose schema is bridge.config.v1.
//
// # Reading
//
// The file is parsed as YAML, references such as ${NAME} are expanded on the parsed scalars (never in the text, so that a
// secret cannot change the file's structure), scalars become the fields of the schema, the schema's rules are applied, and
// [Config] is what results, with every default filled in and every unit resolved. docs/configuration.md explains the keys.
//
// # Errors
//
// All problems are reported at once, as [*Error], each with its place. A problem never says what the file or a variable
// holds, since that may be a secret: it names keys, variables, known alternatives and limits only. That is why the file is
// read here, by the schema's descriptors, and not by a YAML library's own mapping: those print values and lines, and take
// the last of two equal keys without a word.
//
// # Not supported
//
// Anchors, aliases, tags and more than one document a file are refused.
package config

import (
	"log/slog"
	"time"
)

// Config is a whole configuration: valid, resolved, nothing left to default. It is not changed after Load.
type Config struct {
	Listen  Listen
	Journal Journal
	// Sources, at least one, in the file's order, with unique names.
	Sources []Source
	// Sinks, in the file's order, with unique names.
	Sinks  []Sink
	Log    Log
	Access Access
	// ShutdownTimeout is how long a shutdown may take before what is left is cut off.
	ShutdownTimeout time.Duration
}

// Listen is where to listen. No two addresses collide.
type Listen struct {
	Webhooks, Ops, GRPC, Admin Listener
}

// Listener is one address to listen on.
type Listener struct {
	// Addr is host:port. The host may be empty, the port 0.
	Addr string
	// TLS is nil for plain text.
	TLS *TLS
}

// TLS names a certificate and its key, which were a good pair when the configuration was read.
type TLS struct {
	CertFile, KeyFile string
}

// Journal is where and how long events are kept.
type Journal struct {
	Dir string
	// Age and Size are what events and webhooks are kept for, whichever is reached first. Size is in bytes.
	Age  time.Duration
	Size int64
	// QuarantineAge is how long quarantined webhooks are kept.
	QuarantineAge time.Duration
	// MinFree is the disk space to leave free, in bytes.
	MinFree int64
}

// Source is one configured instance of a connector.
type Source struct {
	Name, Connector string
	Auth            Auth
	// Currency is an ISO 4217 code, or empty.
	Currency string
	// Zone is never nil: UTC unless configured.
	Zone *time.Location
	// GRPC also takes typed calls for this source.
	GRPC bool
	// Reject refuses what cannot be decoded instead of keeping it in quarantine.
	Reject bool
	Limits Limits
	// KeepHeaders are canonical header names, none of which carries a credential.
	KeepHeaders []string
	// Window is how long the same body is taken for the same webhook. 0 is the connector's. For a sender that signs the time it
	// is at least as long as a signature is good, unless it was set.
	Window time.Duration
	Alarms Alarms
}

// Alarms says when something is wrong with a source although all answers look well. Zeros are no alarm.
type Alarms struct {
	// SilentAfter is how long no webhook may be taken in.
	SilentAfter time.Duration
	// UnauthorizedPercent is the share of requests that may not be refused for their secret.
	UnauthorizedPercent int
	// Quarantined is how many webhooks may not be quarantined in an hour.
	Quarantined int
}

// Scheme is how a sender proves who it is.
type Scheme string

// The schemes.
const (
	// SchemeHeader is a header with a secret value.
	SchemeHeader Scheme = "header"
	// SchemePathToken is a secret segment of the URL.
	SchemePathToken Scheme = "path_token"
	// SchemeHMAC is a signature over the request.
	SchemeHMAC Scheme = "hmac"
	// SchemeNone is no proof at all.
	SchemeNone Scheme = "none"
)

// Auth is a source's scheme and its secrets.
type Auth struct {
	Scheme Scheme
	// Header is the canonical name of the header with the secret or, for SchemeHMAC, with the signature. Empty for others.
	Header string
	// Values are the accepted secrets, at least one, except for SchemeNone, which has none.
	Values []Secret
	// HMAC is how the sender signs, for SchemeHMAC only.
	HMAC *HMAC
	// PublicURL is the base of the URL that the sender calls, without a slash at its end, for SchemeHMAC only. Empty: it is what
	// arrives.
	PublicURL string
}

// Limits bounds what a source may cost.
type Limits struct {
	// Body is the largest body in bytes, also after decompression.
	Body int64
	// Rate is webhooks a second, averaged. 0 is no limit.
	Rate int
	// InFlight is bytes of bodies in flight at once, at least Body.
	InFlight int64
	// Daily is bytes a day. 0 is no limit.
	Daily int64
}

// Log is what is written about the running program.
type Log struct {
	// Format is "text", "json" or, to choose by where it is written to, empty.
	Format string
	Level  slog.Level
}

// Access guards the gRPC and admin listeners.
type Access struct {
	// Tokens are the accepted bearer tokens. None means that no token is asked for.
	Tokens []Secret
	// AdminTokens are the accepted bearer tokens of the operator's interface. None means that Tokens open it.
	AdminTokens []Secret
	// Insecure permits addresses other than loopback without TLS and token.
	Insecure bool
}

// Connectors says, by name, what a configuration must know of each connector.
type Connectors map[string]Needs

// Needs is what a connector demands of a source's configuration.
type Needs struct {
	// Currency and TimeZone must not be left out.
	Currency, TimeZone bool
	// MaxBody is the largest body in bytes that the vendor is known to need, 0 if not known.
	MaxBody int64
	// Header is the header in which the vendor sends a constant secret, empty if it has none of its own.
	Header string
	// HMAC is how the vendor signs, nil if not known.
	HMAC *HMAC
	// Kept are headers that mean something to the connector: they are stored with every webhook, so none can carry a secret.
	Kept []string
	// Window is how long the connector takes the same body for the same webhook.
	Window time.Duration
}
