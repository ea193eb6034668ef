package schema

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
)

var update = flag.Bool("update", false, "print the tables of keys into the documentation")

const (
	page   = "../../docs/configuration.md"
	source = "../../proto/bridge/config/v1/config.proto"
)

const durationName = "google.protobuf.Duration"

// TestDocumentation compares the tables of keys in docs/configuration.md with the schema. A table stands between two markers, of
// which the first names the keys, and has all keys below it that have no table of their own.
func TestDocumentation(t *testing.T) {
	text := read(t, page)
	block := regexp.MustCompile(`(?s)(<!-- keys: ([\w., ]+) -->\n).*?(<!-- end of keys -->)`)
	var tables []string
	for _, m := range block.FindAllStringSubmatch(text, -1) {
		tables = append(tables, strings.Split(m[2], ", ")...)
	}
	// Keys that are the subject of a section are no rows.
	keys := slices.DeleteFunc(keysOf(t), func(k key) bool {
		return !strings.Contains(k.path, ".") && strings.Contains(k.kind(), "mapping")
	})
	printed := 0
	want := block.ReplaceAllStringFunc(text, func(old string) string {
		m := block.FindStringSubmatch(old)
		rows := []string{"| key | type | default | meaning |", "| --- | --- | --- | --- |"}
		for _, k := range keys {
			if slices.Contains(strings.Split(m[2], ", "), tableOf(k.path, tables)) {
				rows = append(rows, k.row())
				printed++
			}
		}
		return m[1] + strings.Join(rows, "\n") + "\n" + m[3]
	})
	if printed != len(keys) {
		t.Errorf("%d of %d keys are in a table", printed, len(keys))
	}
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != text {
		t.Errorf("%s differs from the schema: run go test ./internal/schema -update", page)
	}
}

// tableOf returns which of the tables has the key: the one of the nearest key above it, or its own if there is none above.
func tableOf(path string, tables []string) (table string) {
	for _, prefix := range tables {
		if strings.HasPrefix(path, prefix+".") && len(prefix) > len(table) {
			table = prefix
		}
	}
	return cmp.Or(table, path)
}

// TestRules: every rule can be read as a value of its key, and the default lies within the bounds.
func TestRules(t *testing.T) {
	for _, key := range keysOf(t) {
		k := At(strings.Replace(key.path, "*", "webhooks", 1))
		for _, k := range []Key{k, k.Of(true), k.Shared(true)} {
			reason := ""
			switch key.kind() {
			case "duration":
				if d := k.Duration(); k.fallback != "" {
					reason = k.CheckDuration(d)
				}
			case "size":
				if n := k.Size(); k.fallback != "" {
					reason = k.CheckSize(n, 0)
				}
			case "number":
				k.Number()
			}
			if reason != "" {
				t.Errorf("the default of %s: %s", key.path, reason)
			}
		}
		if key.comment == "" {
			t.Errorf("%s has no comment", key.path)
		}
	}
}

// key is a key as the documentation has it.
type key struct {
	path    string
	field   protoreflect.FieldDescriptor
	comment string
	// restart says that a running server cannot change the key.
	restart bool
}

// keysOf returns all keys in the schema's order. Keys of messages that stand in several fields of one message are there once,
// with an asterisk for the field.
func keysOf(t *testing.T) (all []key) {
	t.Helper()
	comments := commentsOf(t)
	var walk func(m protoreflect.MessageDescriptor, path string, restart bool)
	walk = func(m protoreflect.MessageDescriptor, path string, restart bool) {
		var inner []protoreflect.FieldDescriptor
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			fixed := restart || RulesOf(f).GetRestart()
			all = append(all, key{path + string(f.Name()), f, comments[string(m.Name())+"."+string(f.Name())], fixed})
			if f.Message() == nil || f.Message().FullName() == durationName {
				continue
			}
			if !shared(m, f) {
				walk(f.Message(), path+string(f.Name())+".", fixed)
			} else if inner == nil {
				inner = append(inner, f)
			}
		}
		for _, f := range inner {
			walk(f.Message(), path+"*.", restart || RulesOf(f).GetRestart())
		}
	}
	walk((&configv1.Config{}).ProtoReflect().Descriptor(), "", false)
	return all
}

func shared(m protoreflect.MessageDescriptor, f protoreflect.FieldDescriptor) bool {
	n := 0
	for i := range m.Fields().Len() {
		if other := m.Fields().Get(i).Message(); other != nil && other.FullName() == f.Message().FullName() {
			n++
		}
	}
	return n > 1
}

// commentsOf returns the comments before the schema's fields, by message and field. The generated code does not have them.
func commentsOf(t *testing.T) map[string]string {
	t.Helper()
	comments, message, comment := map[string]string{}, "", []string(nil)
	for line := range strings.Lines(read(t, source)) {
		line = strings.TrimSpace(line)
		if m := regexp.MustCompile(`^message (\w+) \{`).FindStringSubmatch(line); m != nil {
			message = m[1]
		}
		if m := regexp.MustCompile(`^(?:(?:repeated|optional) )?[\w.]+ (\w+) = \d+`).FindStringSubmatch(line); m != nil {
			comments[message+"."+m[1]] = strings.Join(comment, " ")
		}
		if text, ok := strings.CutPrefix(line, "// "); ok {
			comment = append(comment, text)
		} else {
			comment = nil
		}
	}
	return comments
}

// row is the key's row of a table.
func (k key) row() string {
	path := strings.TrimPrefix(k.path, "sources.")
	return fmt.Sprintf("| `%s` | %s | %s | %s |", path, k.kind(), k.standard(), strings.Join(strings.Fields(k.comment+" "+k.bounds()+" "+k.change()), " "))
}

// change says what a change of the key needs.
func (k key) change() string {
	if k.restart {
		return "Needs a restart."
	}
	return ""
}

// kind is the key's type in words.
func (k key) kind() string {
	rules := RulesOf(k.field)
	kind := "text"
	switch {
	case k.field.Message() != nil && k.field.Message().FullName() == durationName:
		return "duration"
	case k.field.Message() != nil && k.field.Message().Fields().Len() == 0:
		return "empty mapping"
	case k.field.Message() != nil && k.field.IsList():
		return "list of mappings"
	case k.field.Message() != nil:
		return "mapping"
	case k.field.Kind() == protoreflect.BoolKind:
		return "yes or no"
	case k.field.Kind() == protoreflect.Uint32Kind:
		return "number"
	case rules.GetType() != "":
		kind = rules.GetType()
	}
	if k.field.IsList() {
		return strings.TrimSuffix("list of "+kind+"s", " of texts")
	}
	return kind
}

// standard is the key's default in words.
func (k key) standard() string {
	rules := RulesOf(k.field)
	var parts []string
	if rules.GetDefault() != "" {
		parts = append(parts, quoted(rules.GetDefault()))
	}
	if rules.GetOtherwise() != "" {
		parts = append(parts, rules.GetOtherwise())
	}
	text := strings.Join(parts, ", ")
	if k.field.Kind() == protoreflect.BoolKind {
		text = "`false`"
	}
	if text == "" && required(k.field) {
		text = "required"
	}
	if rules.GetDefaultOpen() != "" {
		text += "; with `auth: {none: {}}`, " + quoted(rules.GetDefaultOpen())
	}
	if rules.GetDefaultShared() != "" {
		text += "; with `journal.postgres`, " + quoted(rules.GetDefaultShared())
	}
	return text
}

// required reports whether the schema refuses the key's mapping without the key.
func required(f protoreflect.FieldDescriptor) bool {
	var refused *protovalidate.ValidationError
	if !errors.As(protovalidate.Validate(dynamicpb.NewMessage(f.ContainingMessage())), &refused) {
		return false
	}
	return slices.ContainsFunc(refused.Violations, func(v *protovalidate.Violation) bool {
		at := v.Proto.GetField().GetElements()
		return len(at) > 0 && at[0].GetFieldName() == string(f.Name())
	})
}

// quoted is a value as one writes it in YAML.
func quoted(value string) string {
	if strings.ContainsAny(value, ":{") {
		value = `"` + value + `"`
	}
	return "`" + value + "`"
}

// bounds are the key's least and largest value in words.
func (k key) bounds() string {
	least, most := RulesOf(k.field).GetMin(), RulesOf(k.field).GetMax()
	rules, _ := proto.GetExtension(k.field.Options(), validate.E_Field).(*validate.FieldRules)
	if r := rules.GetUint32(); r != nil {
		if r.HasGte() {
			least = strconv.FormatUint(uint64(r.GetGte()), 10)
		}
		if r.HasLte() {
			most = strconv.FormatUint(uint64(r.GetLte()), 10)
		}
	}
	switch {
	case least != "" && most != "":
		return fmt.Sprintf("`%s` to `%s`.", least, most)
	case least != "":
		return fmt.Sprintf("`%s` or more.", least)
	case most != "":
		return fmt.Sprintf("At most `%s`.", most)
	}
	return ""
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
