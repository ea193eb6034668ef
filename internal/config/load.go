package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"buf.build/go/protovalidate"
	"go.yaml.in/yaml/v3"

	"github.com/webhook-bridge/bridge/connectors"
	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
	"github.com/webhook-bridge/bridge/internal/schema"
)

// maxFile bounds the configuration file, in bytes.
const maxFile = 1 << 20

// Load reads the configuration file at path. See [Parse].
func Load(path string, env func(string) (string, bool), all map[string]*connectors.Connector, checks ...Checks) (*Config, error) {
	return load(path, expander{env: env, readFile: readBounded}, all, checks...)
}

func load(path string, x expander, all map[string]*connectors.Connector, checks ...Checks) (*Config, error) {
	data, err := readConfig(path)
	if err != nil {
		return nil, err
	}
	cfg, err := parse(path, data, x, all, checks...)
	if err != nil {
		return nil, err
	}
	cfg.origin.isFile = true
	return cfg, nil
}

// readConfig returns the contents of a configuration file, or a little more than may be in one.
func readConfig(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return data, nil
}

// Parse reads a configuration from data. Errors name the file by name. env looks up environment variables, as [os.LookupEnv]
// does. Parse reads the files that the configuration refers to. At most one Checks may be given; it checks the settings that
// this package does not understand. Parse returns all problems of the configuration at once, as [*Error].
func Parse(name string, data []byte, env func(string) (string, bool), all map[string]*connectors.Connector, checks ...Checks) (*Config, error) {
	return parse(name, data, expander{env: env, readFile: readBounded}, all, checks...)
}

func parse(name string, data []byte, x expander, all map[string]*connectors.Connector, checks ...Checks) (*Config, error) {
	from := &origin{name: name, data: data, expander: x, connectors: all}
	for _, c := range checks {
		from.checks = c
	}
	cfg, r, err := from.read()
	if err == nil {
		err = r.err()
	}
	if err != nil {
		return nil, err
	}
	cfg.origin = from
	return cfg, nil
}

// origin has everything that a configuration is made from, except the contents of files.
type origin struct {
	name string
	// isFile says that name is the path of a file, and not only a name.
	isFile bool
	data   []byte
	expander
	connectors map[string]*connectors.Connector
	checks     Checks
	// report of the last read.
	report *report
	// file is what the last read found in data, with the texts of references. It has secrets: never print it.
	file *configv1.Config
}

// read makes the configuration. It may be incomplete, or nil, if there are problems in the report.
func (o *origin) read() (*Config, *report, error) {
	r := newReport(o.name)
	o.report, r.source = r, o.data
	root, ok := parseYAML(o.data, r)
	if !ok {
		return nil, r, nil
	}
	file := new(configv1.Config)
	o.file = file
	x := o.expander
	x.readFile = func(path string) ([]byte, error) {
		data, err := o.readFile(path)
		r.contents[path] = digestOf(data, err)
		return data, err
	}
	if !(reader{report: r, expander: x}).root(root, file.ProtoReflect()) {
		return nil, r, nil
	}
	if err := validate(file, r); err != nil {
		return nil, r, err
	}
	rs := resolver{report: r, connectors: o.connectors, readFile: x.readFile, checks: o.checks}
	return rs.config(file), r, nil
}

// parseYAML returns the one document of data. Its Kind is 0 when it is empty. parseYAML reports false after a problem that
// makes further checks impossible.
func parseYAML(data []byte, r *report) (*yaml.Node, bool) {
	if len(data) > maxFile {
		r.addAtf(place{}, "", "is larger than %s", schema.FormatSize(maxFile))
		return nil, false
	}
	// The parser gives no place for these problems.
	if at, bad := firstBad(data); bad {
		r.addAtf(at, "", "is not text in UTF-8 without control characters")
		return nil, false
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	if err := decoder.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		addSyntax(r, err)
		return nil, false
	}
	switch err := decoder.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		addSyntax(r, err)
		return nil, false
	default:
		r.addAtf(place{second.Line, second.Column}, "", "holds more than one document; only the first would be read")
		return nil, false
	}
	if len(document.Content) == 0 {
		return &yaml.Node{}, true
	}
	return document.Content[0], true
}

// firstBad returns the place of the first invalid byte or control character, if there is one.
func firstBad(data []byte) (place, bool) {
	at := place{1, 1}
	for len(data) > 0 {
		c, size := utf8.DecodeRune(data)
		switch {
		case c == '\n':
			at = place{at.line + 1, 0}
		case c == utf8.RuneError && size == 1, c != '\t' && c != '\r' && unicode.IsControl(c):
			return at, true
		}
		at.column++
		data = data[size:]
	}
	return place{}, false
}

// The parser's own messages are constants, with one exception: the name of an anchor, which may be a secret that begins with
// an asterisk and has no quotes.
var (
	syntaxError   = regexp.MustCompile(`^yaml: (?:line (\d+): )?([a-zA-Z0-9 ,':\[\]{}<>!%&*?"-]+)$`)
	unknownAnchor = regexp.MustCompile(`^yaml: unknown anchor `)
	// grammarError matches the messages for which the parser counts lines from 0. They give the line where the unfinished list
	// or mapping begins.
	grammarError = regexp.MustCompile(`^did not find expected (<|node content|'|key)`)
)

func addSyntax(r *report, err error) {
	text := err.Error()
	if unknownAnchor.MatchString(text) {
		r.addAtf(place{}, "", "a value begins with an asterisk, which YAML takes for an alias of something not defined; quote it")
		return
	}
	m := syntaxError.FindStringSubmatch(text)
	if m == nil {
		r.addAtf(place{}, "", "is not YAML")
		return
	}
	line, _ := strconv.Atoi(m[1]) // Empty or digits; 0 means "not known".
	if line > 0 && grammarError.MatchString(m[2]) {
		line++
	}
	r.addAtf(place{line: line}, "", "is not YAML: %s", m[2])
}

// validate applies the schema's rules, and reports each violation. The error is about the schema, never about the file.
func validate(file *configv1.Config, r *report) error {
	err := protovalidate.Validate(file)
	var violations *protovalidate.ValidationError
	switch {
	case err == nil:
	case errors.As(err, &violations):
		for _, v := range violations.Violations {
			addViolation(r, v)
		}
	default:
		return fmt.Errorf("config: validate: %w", err)
	}
	return nil
}

// patterns describes the schema's patterns in words, by path without indexes.
var (
	patterns = map[string]string{
		"journal.postgres.schema":  "must be lower case letters, digits and underscores, and begin with no digit",
		"journal.postgres.replica": "must be 1 to 253 letters, digits and inner dots, dashes and underscores",
		"sinks.replica":            "must be 1 to 253 letters, digits and inner dots, dashes and underscores",
		"sinks.postgres.schema":    "must be lower case letters, digits and underscores, and begin with no digit",
		"sinks.name":               "must be 1 to 64 lower case letters, digits and inner dashes",
		"access.principals.name":   "must be 1 to 64 lower case letters, digits and inner dashes",
		"sources.name":             "must be 1 to 64 lower case letters, digits and inner dashes",
		"access.origins":           "must be * or an origin such as https://app.example: a scheme and a host in lower case, perhaps a port, no path",
		"telemetry.traces.ratio":   `must be a number from 0 to 1, such as "0.01"`,
		"telemetry.headers.name":   "is not a header name",
		"sources.currency":         `must be three capital letters, such as "EUR"`,
		"sources.keep_headers":     "is not a header name",
		"sources.auth.header.name": "is not a header name",
		"sources.auth.hmac.header": "is not a header name",
	}
	indexes = regexp.MustCompile(`\[\d+\]`)
)

// addViolation reports a violation in words for people. The validator's own messages have no values either, but are too
// technical.
func addViolation(r *report, v *protovalidate.Violation) {
	path, reason := protovalidate.FieldPathString(v.Proto.GetField()), v.Proto.GetMessage()
	switch id := v.Proto.GetRuleId(); {
	case id == "required" && v.FieldDescriptor == nil:
		// A oneof, whose name is not a key.
		path, reason = path[:max(0, strings.LastIndexByte(path, '.'))], "must have exactly one of header, path_token, hmac and none"
		if strings.HasPrefix(path, "sinks") {
			reason = "must have exactly one kind: " + sinkKinds()
		}
	case id == "required", id == "string.min_len", id == "repeated.min_items":
		reason = "is missing"
	case id == "string.in":
		reason = "must be one of " + strings.Trim(strings.TrimPrefix(reason, "must be in list"), " [],")
	case id == "string.pattern":
		if words, ok := patterns[indexes.ReplaceAllString(path, "")]; ok {
			reason = words
		}
	}
	r.addf(path, "%s", reason)
}
