package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
	"github.com/webhook-bridge/bridge/internal/schema"
)

// setting is one key with the value that is in effect: the file's, or the default.
type setting struct {
	path, value string
	// secret says that the value must not be shown. restart: a running server cannot change the key.
	secret, restart bool
}

// settings returns all settings of a file, in the schema's order. Two files that mean the same have the same settings: it makes no difference
// whether a default is written or left out, nor how a size or a duration is written.
func settings(file *configv1.Config) []setting {
	var w settingsWriter
	w.message("", file.ProtoReflect(), false)
	return w.all
}

type settingsWriter struct{ all []setting }

func (w *settingsWriter) message(path string, m protoreflect.Message, restart bool) {
	for i := range m.Descriptor().Fields().Len() {
		field := m.Descriptor().Fields().Get(i)
		inner, rules := join(path, string(field.Name())), schema.RulesOf(field)
		w.field(inner, m, field, restart || rules.GetRestart())
	}
}

func (w *settingsWriter) field(path string, m protoreflect.Message, field protoreflect.FieldDescriptor, restart bool) {
	switch isMessage := field.Message() != nil && field.Message().FullName() != durationName; {
	case field.IsList():
		list := m.Get(field).List()
		for i := range list.Len() {
			if inner := element(path, i); isMessage {
				w.message(inner, list.Get(i).Message(), restart)
			} else {
				w.add(inner, field, scalarText(list.Get(i), field), restart)
			}
		}
	case isMessage && m.Has(field):
		if countsAsSet(field) {
			w.add(path, field, "set", restart)
		}
		w.message(path, m.Get(field).Message(), restart)
	case isMessage:
		if !countsAsSet(field) { // The same as an empty one: its keys have their defaults.
			w.message(path, m.Get(field).Message(), restart)
		}
	case m.Has(field):
		w.add(path, field, scalarText(m.Get(field), field), restart)
	default:
		w.add(path, field, defaultText(field), restart)
	}
}

// countsAsSet reports whether an empty mapping is something else than no mapping.
func countsAsSet(field protoreflect.FieldDescriptor) bool {
	return field.ContainingOneof() != nil || schema.RulesOf(field).GetOtherwise() != ""
}

func (w *settingsWriter) add(path string, field protoreflect.FieldDescriptor, value string, restart bool) {
	options, _ := field.Options().(*descriptorpb.FieldOptions)
	w.all = append(w.all, setting{path: path, value: value, secret: options.GetDebugRedact(), restart: restart})
}

// scalarText returns a value in its one form.
func scalarText(v protoreflect.Value, field protoreflect.FieldDescriptor) string {
	if field.Message() != nil {
		d, _ := v.Message().Interface().(*durationpb.Duration)
		return d.AsDuration().String()
	}
	return normalText(v.String(), field)
}

// defaultText returns the form of a key that is not set. Defaults that depend on other keys have none of their own: the other keys are settings,
// too.
func defaultText(field protoreflect.FieldDescriptor) string {
	rules := schema.RulesOf(field)
	switch {
	case rules.GetDefaultOpen() != "" || rules.GetDefaultShared() != "" || rules.GetDefault() == "" && rules.GetOtherwise() != "":
		return "default"
	case field.Message() != nil && rules.GetDefault() != "":
		return schema.ParseDuration(rules.GetDefault()).String()
	case rules.GetDefault() != "":
		return normalText(rules.GetDefault(), field)
	case field.Message() != nil:
		return ""
	}
	return field.Default().String()
}

func normalText(text string, field protoreflect.FieldDescriptor) string {
	if schema.RulesOf(field).GetType() == "size" {
		if n, ok := schema.ParseSize(text); ok {
			return strconv.FormatInt(n, 10)
		}
	}
	return text
}

// ownKeys are different at each replica by their nature.
var ownKeys = []string{"journal.postgres.replica"}

// Fingerprint returns a short digest of the settings that are in effect. Servers with the same settings have the same fingerprint, also in
// different processes, so that operators can compare replicas. For that reason nothing that only one process knows is in it. And for that
// reason no secret is in it, not even as a digest: everybody who sees the fingerprint could then try out secrets. Of a secret it has the key.
// Contents of files, such as certificates, are not in it either: they are followed by themselves.
func (c *Config) Fingerprint() string {
	if c.origin == nil {
		return ""
	}
	h := sha256.New()
	for _, s := range settings(c.origin.file) {
		switch {
		case slices.Contains(ownKeys, s.path):
		case s.secret:
			fmt.Fprintf(h, "%q\n", s.path)
		default:
			fmt.Fprintf(h, "%q=%q\n", s.path, s.value)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// lists are the lists whose elements have names.
var lists = []string{"sources", "sinks", "access.principals"}

// owner is an element of a list by its name. The zero owner has the keys that are in no such list.
type owner struct{ list, name string }

// ownerOf returns the owner of a key, and the key below it.
func (c *Config) ownerOf(path string) (owner, string) {
	for _, list := range lists {
		rest, ok := strings.CutPrefix(path, list+"[")
		if !ok {
			continue
		}
		index, key, _ := strings.Cut(rest, "]")
		return owner{list, c.nameAt(list, index)}, strings.TrimPrefix(key, ".")
	}
	return owner{}, path
}

func (c *Config) nameAt(list, index string) string {
	var i int
	if _, err := fmt.Sscanf(index, "%d", &i); err != nil {
		return ""
	}
	switch file := c.origin.file; {
	case list == "sources" && i < len(file.GetSources()):
		return file.GetSources()[i].GetName()
	case list == "sinks" && i < len(file.GetSinks()):
		return file.GetSinks()[i].GetName()
	case list == "access.principals" && i < len(file.GetAccess().GetPrincipals()):
		return file.GetAccess().GetPrincipals()[i].GetName()
	}
	return ""
}
