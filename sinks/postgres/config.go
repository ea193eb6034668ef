package postgres

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/sinks"
)

// Config configures a sink. URL has no default.
type Config struct {
	// URL is the connection string of PostgreSQL's libpq, as a URL or as key=value pairs. It may name several hosts, and says how the
	// connection is encrypted. It may hold a password, so it is never printed.
	URL string
	// Current, if set, returns the URL for a new connection: its password may have changed since.
	Current func() string
	// Schema holds the tables. "" means bridge. It is made if it is missing.
	Schema string
	// WithoutEvents stores no events: only the current state.
	WithoutEvents bool
	// State stores the current state too, if it is not nil.
	State *State
	// Required makes Open fail unless the database answers.
	Required bool
	// Timeout is how long a transaction may take. 0 means one minute.
	Timeout time.Duration
}

// State configures the tables of the current state.
type State struct {
	// Kinds are the kinds of data that have a table, such as "order" or "loyalty_points_change". None means all kinds.
	Kinds []string
}

// String leaves the password out.
func (c Config) String() string { return Place(c.URL, c.schema()) }

// GoString leaves the password out.
func (c Config) GoString() string { return "postgres.Config{" + c.String() + "}" }

// KeyError is a problem of a configuration, with its place.
type KeyError = sinks.KeyError

var (
	// errURL is returned for a URL that cannot be read. What the parser says may hold the password.
	errURL = errors.New("cannot be read: want postgres://USER:PASSWORD@HOST:PORT/DATABASE or HOST=… USER=… pairs; the files that it names must be there")
	// schemaName has no upper case and no quotes, so names need no quoting.
	schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,50}$`)
)

// Check returns all problems of the configuration, each a [*KeyError]. It reads the files that the URL names, but does not connect.
func (c Config) Check() []error {
	var problems []error
	add := func(key string, err error) { problems = append(problems, &KeyError{Key: key, Err: err}) }
	if _, err := pgx.ParseConfig(c.URL); err != nil || c.URL == "" {
		add("url", errURL)
	}
	if !schemaName.MatchString(c.schema()) {
		add("schema", errors.New("must be lower case letters, digits and underscores, and begin with no digit"))
	}
	if c.Timeout < 0 {
		add("timeout", errors.New("is negative"))
	}
	if c.WithoutEvents && c.State == nil {
		add("without_events", errors.New("needs state: without both nothing is stored"))
	}
	if c.State != nil {
		for i, name := range c.State.Kinds {
			key := fmt.Sprintf("state.kinds[%d]", i)
			switch {
			case kinds[name] == nil:
				add(key, fmt.Errorf("%q is no kind; there are %s", name, strings.Join(Kinds(), ", ")))
			case slices.Index(c.State.Kinds, name) < i:
				add(key, fmt.Errorf("%q is there twice", name))
			}
		}
	}
	return problems
}

func (c Config) schema() string {
	if c.Schema == "" {
		return "bridge"
	}
	return c.Schema
}

func (c Config) timeout() time.Duration {
	if c.Timeout == 0 {
		return time.Minute
	}
	return c.Timeout
}

// Place names the database and the schema to people, without the user and the password.
func Place(url, schema string) string {
	parsed, err := pgx.ParseConfig(url)
	if err != nil {
		return "PostgreSQL, schema " + schema
	}
	hosts := []string{net.JoinHostPort(parsed.Host, strconv.Itoa(int(parsed.Port)))}
	for _, f := range parsed.Fallbacks {
		if host := net.JoinHostPort(f.Host, strconv.Itoa(int(f.Port))); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return "postgres://" + strings.Join(hosts, ",") + "/" + parsed.Database + ", schema " + schema
}
