package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/webhook-bridge/bridge/connectors/sample"
	"github.com/webhook-bridge/bridge/internal/asyncapi"
	"github.com/webhook-bridge/bridge/internal/daemon"
	"github.com/webhook-bridge/bridge/internal/jsonschema"
)

// The formats of schemas.
const (
	formatJSONSchema = "jsonschema"
	formatAsyncAPI   = "asyncapi"
)

// schemaFlags are the command line of schema.
type schemaFlags struct {
	format, topic string
	types         []string
}

func schemaCommand(env environment) *cobra.Command {
	var f schemaFlags
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the schema of the events as JSON Schema or AsyncAPI",
		Long: `Print the schema of the canonical events in JSON, as ` + "`bridge tail --json`" + ` and the JSON formats of the sinks print them.

jsonschema is JSON Schema, draft 2020-12: the envelope, and each kind of data. asyncapi is AsyncAPI 3.0: a channel with a message for
each type of event that the program's connectors make, over gRPC and Kafka.`,
		Example: `  bridge schema > events.schema.json
  bridge schema --type 'order.*' --type 'payment.*'
  bridge schema --format asyncapi --topic 'bridge.{type}' > asyncapi.json`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return f.print(env) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.format, "format", formatJSONSchema, "the `format`: "+formatJSONSchema+" or "+formatAsyncAPI)
	fs.StringArrayVar(&f.types, "type", nil, "only events whose type matches this `pattern`: * is one segment, ** any; may be repeated")
	fs.StringVar(&f.topic, "topic", asyncapi.DefaultTopic, "the `topic` of the Kafka sink, as it is configured, for "+formatAsyncAPI)
	return cmd
}

// print prints the schema.
func (f schemaFlags) print(env environment) error {
	selection, err := jsonschema.Select(f.types...)
	if err != nil {
		return &usageError{"--type: " + err.Error()}
	}
	var document any
	switch f.format {
	case formatJSONSchema:
		document, err = jsonschema.Event(selection)
	case formatAsyncAPI:
		document, err = f.asyncAPI(env.plugins, selection)
	default:
		return &usageError{fmt.Sprintf("--format is %q, but must be %s or %s", f.format, formatJSONSchema, formatAsyncAPI)}
	}
	if err != nil {
		return err
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(document); err != nil {
		return err
	}
	_, err = io.Copy(env.stdout, &out)
	return err
}

func (f schemaFlags) asyncAPI(plugins daemon.Plugins, selection jsonschema.Selection) (*asyncapi.Document, error) {
	types, err := typesOf(plugins)
	if err != nil {
		return nil, err
	}
	chosen := slices.DeleteFunc(slices.Clone(types), func(name string) bool { return !selection.Type(name) })
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no type matches %s; the connectors make %s", strings.Join(f.types, ", "), strings.Join(types, ", "))
	}
	version, _, _ := strings.Cut(daemon.Version(), " ") // without that of Go
	return asyncapi.New(asyncapi.Options{Version: version, Types: chosen, Topic: f.topic})
}

// unmapped is the type of the events without a model. Any connector may make it.
const unmapped = "unmapped"

// typesOf returns the types of the events that the connectors make, by their testdata.
func typesOf(plugins daemon.Plugins) ([]string, error) {
	types := map[string]bool{unmapped: true}
	for _, c := range plugins.Connectors {
		webhooks, err := sample.Read(c.Samples)
		if err != nil {
			return nil, fmt.Errorf("connector %s: %w", c.Name, err)
		}
		for _, w := range webhooks {
			events, err := w.CanonicalEvents()
			if err != nil {
				return nil, fmt.Errorf("connector %s: %w", c.Name, err)
			}
			for _, data := range events {
				var event struct{ Type string }
				if err := json.Unmarshal(data, &event); err != nil {
					return nil, fmt.Errorf("connector %s: %s: %w", c.Name, w.Name, err)
				}
				types[event.Type] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(types)), nil
}
