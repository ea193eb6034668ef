// Package config reads Bridge's configuration: one YAML file whose schema is bridge.config.v1.
//
// # Reading
//
// The file is parsed as YAML. References such as ${NAME} are expanded in the parsed scalars, and never in the text, so that a
// secret cannot change the file's structure. Scalars become the fields of the schema, and the schema's rules are applied. The
// result is [Config]: every field has a value, every unit is resolved. docs/configuration.md explains the keys.
//
// # Errors
//
// All problems are reported at once, as [*Error], each with its place. A problem never shows a value of the file or of a
// variable, since that may be a secret. It shows only keys, variables, known alternatives and limits. For this reason the file
// is read here, by the schema's descriptors, and not by a YAML library's own mapping: such a mapping prints values and lines,
// and silently uses the last of two equal keys.
//
// # Not supported
//
// Anchors, aliases, tags and more than one document a file are refused.
package config

import (
	"log/slog"
	"time"

	"github.com/webhook-bridge/bridge/internal/access"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/source"
)

// Config is a complete configuration: it is valid, and all defaults are set. It is not changed after Load.
type Config struct {
	Listen  Listen
	Journal Journal
	// Sources, at least one, in the file's order, with unique names. They are resolved, by [source.Resolve].
	Sources []source.Source
	// Sinks, in the file's order, with unique names.
	Sinks   []Sink
	Log     Log
	Access  Access
	Streams Streams
	// Telemetry is what the program sends to a collector.
	Telemetry Telemetry
	// ShutdownTimeout is the longest time for a shutdown. Then the open connections are cut off.
	ShutdownTimeout time.Duration
	// ShutdownDelay is how long a shutdown goes on serving before it begins, while the program is not ready.
	ShutdownDelay time.Duration

	origin *origin
}

// Listen has the addresses to listen on. No two of them collide.
type Listen struct {
	Webhooks, Ops, GRPC, Admin Listener
	// PublicURL is the base of the URLs that vendors call, if it is configured.
	PublicURL string
	// WithoutConsole serves no console on Admin.
	WithoutConsole bool
	// Pprof serves Go's profiles on the ops listener.
	Pprof bool
}

// Listener is one address to listen on.
type Listener struct {
	// Addr is host:port. The host may be empty, the port 0.
	Addr string
	// TLS is nil for plain text.
	TLS *TLS
	// Connections is how many may be open at once. 0 lets the program choose by the descriptors that it may open.
	Connections int
}

// TLS names a certificate and its key. They were a valid pair when the configuration was read.
type TLS struct {
	CertFile, KeyFile string
}

// Journal is where and how long events are kept.
type Journal struct {
	// Dir is the folder. It is empty if Postgres is set.
	Dir string
	// Postgres is nil for the folder.
	Postgres *Postgres
	// Age and Size are what events and webhooks are kept for, whichever is reached first. Size is in bytes.
	Age  time.Duration
	Size int64
	// QuarantineAge is how long quarantined webhooks are kept.
	QuarantineAge time.Duration
	// ParkedAge is how long events that a sink refused permanently are kept.
	ParkedAge time.Duration
	// MinFree is the disk space to leave free, in bytes. It is 0 if Postgres is set.
	MinFree int64
	// AcceptLoss starts with a folder whose disk lost data that were confirmed. It is no key of the file: an operator decides
	// so once, for one start.
	AcceptLoss bool
}

// Postgres is a journal in PostgreSQL.
type Postgres struct {
	// URL may hold a password.
	URL secret.Value
	// Schema has the tables. ReplicatedBy is standby, storage or nothing.
	Schema, ReplicatedBy string
	// Replica is the name of this replica.
	Replica string
}

// Streams bounds the subscriptions.
type Streams struct {
	// MaxAge is how long a stream may stay open, before jitter.
	MaxAge time.Duration
	// MaxOpen is how many may be open at once.
	MaxOpen int
	// MaxGroups is how many subscription groups there may be, MaxMembers how many members each may have.
	MaxGroups, MaxMembers int
	// Tail is the memory for the newest events, in bytes.
	Tail int
}

// Log configures the program's own log.
type Log struct {
	// Format is "text" or "json". When it is empty, the program chooses by the kind of its output.
	Format string
	Level  slog.Level
}

// Access guards the gRPC and admin listeners.
type Access struct {
	// Tokens are the accepted bearer tokens. None means that no token is asked for, unless there are Principals.
	Tokens []secret.Value
	// AdminTokens are the accepted bearer tokens of the operator's interface. None means that Tokens open it.
	AdminTokens []secret.Value
	// Principals are the callers that may subscribe, with their rights. None means that each caller who is admitted may see all.
	Principals []access.Rules
	// ClientCAFile has the authorities that vouch for client certificates, or is empty.
	ClientCAFile string
	// Insecure permits addresses other than loopback without TLS and token.
	Insecure bool
	// Origins are the origins of the web pages that may call the gRPC port.
	Origins []string
}
