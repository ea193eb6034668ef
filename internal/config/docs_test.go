package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
	"github.com/webhook-bridge/bridge/internal/source"
)

const docs = "../../docs/configuration.md"

func readDocs(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The reader knows all types that the schema uses. It would read an unknown type as a duration.
func TestSchemaTypes(t *testing.T) {
	var walk func(d protoreflect.MessageDescriptor)
	walk = func(d protoreflect.MessageDescriptor) {
		for i := range d.Fields().Len() {
			field := d.Fields().Get(i)
			switch kind := field.Kind(); {
			case field.IsMap():
				t.Errorf("%s is a map", field.FullName())
			case kind == protoreflect.MessageKind && field.Message().FullName() != durationName:
				walk(field.Message())
			case kind == protoreflect.MessageKind && field.IsList():
				t.Errorf("%s is a list of durations", field.FullName())
			case !slices.Contains([]protoreflect.Kind{
				protoreflect.StringKind, protoreflect.BoolKind, protoreflect.Uint32Kind, protoreflect.MessageKind,
			}, kind):
				t.Errorf("%s is a %v", field.FullName(), kind)
			}
		}
	}
	walk((&configv1.Config{}).ProtoReflect().Descriptor())
}

// Every example in the documentation is a good configuration, given a source, its variables and its files.
func TestDocumentedExamples(t *testing.T) {
	cert, key := makePair(t, t.TempDir())
	x := expander{
		env: func(string) (string, bool) { return "0123456789abcdef", true },
		readFile: func(path string) ([]byte, error) {
			switch filepath.Base(path) {
			case "tls.crt", "ca.crt":
				return os.ReadFile(cert)
			case "tls.key":
				return os.ReadFile(key)
			}
			return []byte("0123456789abcdef\n"), nil
		},
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(readDocs(t), -1)
	if len(examples) < 8 {
		t.Fatalf("%d examples found", len(examples))
	}
	for _, example := range examples {
		text := example[1]
		if !strings.Contains("\n"+text, "\nsources:") {
			text += "sources: [{name: a, connector: retino, auth: {none: {}}}]\n"
		}
		if _, err := parse("example", []byte(text), x, known); err != nil {
			t.Errorf("%s\n%s", err, text)
		}
	}
}

// The errors in the documentation are the errors that Bridge prints.
func TestDocumentedErrors(t *testing.T) {
	_, block, _ := strings.Cut(readDocs(t), "```text\n")
	block, _, _ = strings.Cut(block, "\n```")
	const file = `# The broken file behind the errors of the documentation.

listen:
  grpc: ":9090"

sources:
  - name: returns
    connector: retino
    auth: {header: {name: X-Retino-Secret, values: ["${RETINO_SECRET}"]}}
  - name: erp-jakarta
    connector: dealpos
    auth: {none: {}}
    currency: IDR

outputs: []
`
	unset := func(string) (string, bool) { return "", false }
	_, err := Parse("bridge.yaml", []byte(file), unset, known)
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(block, err.Error()); diff != "" {
		t.Errorf("errors (-documented +printed):\n%s", diff)
	}
}

// The example has a source of each of five vendors. It runs as it stands, and with its variables set.
func TestExample(t *testing.T) {
	unset := func(string) (string, bool) { return "", false }
	cfg, err := Load("../../bridge.example.yaml", unset, known)
	if err != nil {
		t.Fatal(err)
	}
	var connectors []string
	for _, s := range cfg.Sources {
		connectors = append(connectors, s.Connector.Name)
	}
	slices.Sort(connectors)
	if diff := cmp.Diff([]string{"dealpos", "kasafik", "linga", "openloyalty", "retino"}, slices.Compact(connectors)); diff != "" {
		t.Errorf("connectors (-want +got):\n%s", diff)
	}
	set := func(name string) (string, bool) { return "the-value-of-" + name, true }
	cfg, err = Load("../../bridge.example.yaml", set, known)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(cfg.Sources, func(s source.Source) bool { return s.Connector.Name == "retino" })
	if got := cfg.Sources[at].Auth.Values[0].Reveal(); got != "the-value-of-RETINO_SECRET" {
		t.Errorf("the secret is %q", got)
	}
}
