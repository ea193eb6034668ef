package config

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/webhook-bridge/bridge/internal/secret"
)

// TestSecretsAreComplete fills every field of a configuration that can hold a secret, in any kind of sink, and expects each among Secrets: what is
// missing there would not follow its file, and could be shown.
func TestSecretsAreComplete(t *testing.T) {
	t.Parallel()
	var places []string
	var fill func(v reflect.Value, path string)
	fill = func(v reflect.Value, path string) {
		switch {
		case v.Type() == reflect.TypeFor[secret.Value]():
			places = append(places, path)
			v.Set(reflect.ValueOf(secret.At(path, "text of "+path, true)))
		case v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct:
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), path)
		case v.Kind() == reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fill(v.Index(0), path+"[0]")
		case v.Kind() == reflect.String:
			v.SetString("x")
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				if f := v.Type().Field(i); f.IsExported() {
					fill(v.Field(i), path+"."+f.Name)
				}
			}
		}
	}
	var c Config
	fill(reflect.ValueOf(&c).Elem(), "config")
	// A sink has one kind.
	c.Sinks = nil
	places = slices.DeleteFunc(places, func(p string) bool { return len(p) > len("config.Sinks") && p[:len("config.Sinks")] == "config.Sinks" })
	for i := range reflect.TypeFor[Sink]().NumField() {
		f := reflect.TypeFor[Sink]().Field(i)
		if !f.IsExported() || f.Type.Kind() != reflect.Pointer {
			continue
		}
		var s Sink
		fill(reflect.ValueOf(&s).Elem().Field(i), fmt.Sprint("config.Sinks.", f.Name))
		c.Sinks = append(c.Sinks, s)
	}
	known := make(map[string]bool)
	for _, s := range c.Secrets() {
		known[s.Value.Reveal()] = true
	}
	// The journal's address cannot change while the server runs.
	exempt := []string{"config.Journal.Postgres.URL"}
	for _, p := range places {
		if !known["text of "+p] && !slices.Contains(exempt, p) {
			t.Errorf("%s is not among Secrets", p)
		}
	}
	if len(places) < 15 || len(known) < len(places)-len(exempt) {
		t.Errorf("%d places, %d secrets", len(places), len(known))
	}
}
