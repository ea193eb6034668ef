package postgres

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// refusal is an error about one of the events of a transaction, which are refused together. It holds no value of an event.
type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

func refusef(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// refusals say what is wrong with an event, by SQLSTATE.
var refusals = map[string]string{
	"22003": "a number is out of the column's range",
	"22001": "a text is too long for the column",
	"22P05": "a text has a character that the database's encoding does not have",
	"23514": "the table has a constraint that the event violates",
	"54000": "a value is too large, for an index perhaps",
}

// Errors of tables that users have altered. Every event would be refused.
const (
	alteredType  = "22P02"
	missingValue = "23502"
)

// errEncode replaces the client's errors about a value, which hold the value.
var errEncode = errors.New("a value does not fit the type of its column: a table of the sink was altered")

// classify returns a [*refusal] if the database refuses an event for what it holds, and otherwise the database's condition. Of an error
// about an event, the text is left out: it may hold a value.
func classify(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		if err != nil && strings.Contains(err.Error(), "unable to encode") {
			return errEncode
		}
		return err
	}
	class := pg.Code[:min(2, len(pg.Code))]
	if class != "22" && class != "23" && pg.Code != "54000" || pg.Code == alteredType || pg.Code == missingValue {
		return describe(pg)
	}
	reason := "the database refuses the event"
	if about := refusals[pg.Code]; about != "" {
		reason += ": " + about
	}
	place := []string{"SQLSTATE " + pg.Code}
	for _, part := range [][2]string{{"table", pg.TableName}, {"column", pg.ColumnName}, {"constraint", pg.ConstraintName}} {
		if part[1] != "" {
			place = append(place, part[0]+" "+part[1])
		}
	}
	return &refusal{reason + " (" + strings.Join(place, ", ") + ")"}
}

// databaseError is a condition of the database, with a hint for operators.
type databaseError struct {
	pg   *pgconn.PgError
	text string
}

func (e *databaseError) Error() string { return e.text }
func (e *databaseError) Unwrap() error { return e.pg }

func describe(pg *pgconn.PgError) error {
	message := strings.ReplaceAll(pg.Message, "\n", " ")
	switch {
	case pg.Code == alteredType, strings.HasPrefix(message, "COPY from stdin failed"): // The server quotes the client.
		message = errEncode.Error()
	case pg.Code == missingValue:
		message = "column " + pg.ColumnName + " of table " + pg.TableName + " has no value and must have one: a table of the sink was altered"
	case !slices.Contains(quotable, pg.Code[:min(2, len(pg.Code))]), strings.HasPrefix(pg.Routine, "exec_stmt_"):
		message = "a trigger or a function of the database reports an error, whose text may hold a value"
	}
	text := "database: " + message + " (SQLSTATE " + pg.Code + ")"
	if hint := hints[pg.Code]; hint != "" {
		text += ": " + hint
	}
	return &databaseError{pg, text}
}

// quotable are the classes of PostgreSQL's own errors about its condition. Their texts hold no value of a row. Others have texts of the
// functions that users write.
var quotable = []string{"08", "0A", "25", "26", "28", "3D", "3F", "40", "42", "53", "54", "55", "57", "58", "XX"}

// hints say what an operator can do, by SQLSTATE.
var hints = map[string]string{
	"28P01": "check the password of the sink's url",
	"28000": "check the user of the sink's url, and pg_hba.conf",
	"3D000": "make the database first",
	"42501": "the user must own the schema, and the tables and the sequence in it; to make a schema that is missing, it needs CREATE in the database",
	"42703": "a table of the sink has lost a column; a restart adds it",
	"42P01": "a table of the sink is missing; a restart makes it",
	"25006": "the server is a standby, or read-only",
	"53100": "the server's disk is full",
	"53300": "raise max_connections",
	"55P03": "another session holds a lock on a table of the sink",
	"57P01": "the server shuts down, an administrator ended the session, or another opening of the sink did",
	"57P03": "the server starts or shuts down",
}

// code returns the SQLSTATE of an error, or nothing.
func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}
