package connectortest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/sample"
	"github.com/webhook-bridge/bridge/internal/intake"
)

// rule is a part of the contract, with the sentence that it enforces.
type rule struct {
	name, contract string
	check          func(*kit) error
}

var rules = []rule{
	{"facts", "A connector has a name of one lower-case word, a translation, and a gateway that registers.", checkFacts},
	{"answer", "The answer is JSON, and of the type that the RPCs return.", checkAnswer},
	{"samples", "Samples are the connector's testdata, embedded by `//go:embed testdata/*.txtar`.", checkSamples},
	{"coverage", "Every event of the service has a webhook in testdata that becomes canonical events.", checkCoverage},
	{"mended", "Normalize repairs some webhook, leaves JSON as it is, keeps the length, changes nothing that it is given, and never panics.", checkMended},
	{"complete", "Each event keeps to the rules of proto/bridge/event/v1, and leaves to Bridge what Bridge fills in.", checkComplete},
	{"pure", "Translate does not change its arguments, and gives the same each time, whatever the time and whatever else is translated.", checkPure},
	{"source", "Currency and time zone come from the webhook or else from the source; a connector that needs the source's says so.", checkSource},
	{"errors", "A message that cannot be translated gets a connectors.Error with the path of the field at fault.", checkErrors},
	{"identity", "Two webhooks of one event have the same natural key only if they are about the same version of the same subject, or it is the vendor's own id of the occurrence; that of a change tells it from the next.", checkIdentity},
	{"unmapped", "An event that nobody modelled is data, not an error, and its natural key depends on what it says.", checkUnmapped},
	{"truncated", "A body cut anywhere is refused, without panic.", checkTruncated},
	{"missing", "A field that is missing, or null, or of an unexpected type costs at most its webhook: no panic, and no event that breaks its rules.", checkMissing},
	{"mutated", "A body that is wrong anywhere is refused, or is the message that a strict decoder makes of it.", checkMutated},
	{"unknown", "A field that nobody declared, in any object, changes no event and is reported.", checkUnknown},
	{"exact", "Money keeps every digit and its sign, and texts every letter, or the webhook is quarantined.", checkExact},
	{"received", "Bridge makes of each webhook what its file says, makes it durable, and gives exactly the connector's answer with status 200.", checkReceived},
	{"redelivered", "A webhook that the vendor sends again makes nothing new and gets the same answer; with a natural key its events have the same ids for ever.", checkRedelivered},
	{"repeated", "A body that is its own key is a duplicate to the end of the window, and then a new occurrence with ids of its own; the window is no longer than needed.", checkRepeated},
	{"revised", "Another body under the same natural key is published, once, under ids of its own.", checkRevised},
	{"secrets", "Whoever does not know the secret is answered 401 and nothing is stored; two secrets are good while they are changed.", checkSecrets},
}

var word = regexp.MustCompile(`^[a-z][a-z0-9]*$`)

// nowhere is a connection that is never used.
type nowhere struct{ grpc.ClientConnInterface }

func checkFacts(k *kit) error {
	return k.blame(itself, func() error {
		c := k.connector
		switch {
		case !word.MatchString(c.Name):
			return fmt.Errorf("name %q", c.Name)
		case c.Translate == nil || c.Register == nil:
			return errors.New("no Translate or no Register")
		}
		return c.Register(context.Background(), runtime.NewServeMux(), nowhere{})
	})
}

func checkAnswer(k *kit) error {
	if !json.Valid([]byte(k.connector.Answer)) {
		return fmt.Errorf("answer %q", k.connector.Answer)
	}
	for _, name := range slices.Sorted(maps.Keys(k.events)) {
		t, err := protoregistry.GlobalTypes.FindMessageByName(k.events[name].Method.Output().FullName())
		if err != nil {
			return err
		}
		if err := protojson.Unmarshal([]byte(k.connector.Answer), t.New().Interface()); err != nil {
			return fmt.Errorf("%s: answer %q: %w", name, k.connector.Answer, err)
		}
	}
	return nil
}

func checkSamples(k *kit) error {
	if k.connector.Samples == nil {
		return errors.New("nothing is embedded")
	}
	have, err := read(k.connector.Samples)
	if err != nil {
		return err
	}
	want, err := read(k.folder)
	if err != nil {
		return err
	}
	var errs []error
	for _, file := range slices.Sorted(maps.Keys(want)) {
		// What was just rewritten is not what was compiled in.
		if !*update && !bytes.Equal(have[file], want[file]) {
			errs = append(errs, fmt.Errorf("%s is not in Samples as it is", file))
		}
		delete(have, file)
	}
	for _, file := range slices.Sorted(maps.Keys(have)) {
		errs = append(errs, fmt.Errorf("%s is in Samples and nowhere else", file))
	}
	return errors.Join(errs...)
}

func read(fsys fs.FS) (map[string][]byte, error) {
	files, err := fs.Glob(fsys, sample.Pattern)
	if err != nil {
		return nil, err
	}
	all := make(map[string][]byte, len(files))
	for _, file := range files {
		if all[file], err = fs.ReadFile(fsys, file); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func checkCoverage(k *kit) error {
	missing := maps.Clone(k.events)
	for _, d := range k.documents {
		// A connector that is broken is another rule's business.
		if r := k.run(d); r.fault == nil && !r.unmapped() || r.broken() {
			delete(missing, r.event)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("no webhook of %s", strings.Join(slices.Sorted(maps.Keys(missing)), ", "))
	}
	return nil
}

func checkComplete(k *kit) error {
	return k.each(func(d document) error { return sound(k.run(d)) })
}

func checkErrors(k *kit) error {
	return k.each(func(d document) error {
		return k.variants(d, func(r result) error {
			if r.fault == nil || r.fault.Reason != intake.Untranslatable {
				return nil
			}
			_, err := k.connector.Translate(connectors.Input{Source: k.source, Event: r.event, Message: r.message})
			e, ok := errors.AsType[*connectors.Error](err)
			if !ok {
				return fmt.Errorf("error %T (%w) is no *connectors.Error", err, err)
			}
			if !strings.HasPrefix(e.Path, "$") || e.Problem == "" {
				return fmt.Errorf("path %q, problem %q", e.Path, e.Problem)
			}
			return nil
		})
	})
}

func checkTruncated(k *kit) error {
	return k.each(func(d document) error {
		if k.run(d).refused() {
			return nil
		}
		whole := bytes.TrimRight(d.body, " \t\r\n")
		for n := range whole {
			switch r := k.run(d.of(whole[:n:n])); {
			case r.fault == nil:
				return fmt.Errorf("cut at byte %d: accepted", n)
			case r.broken():
				return fmt.Errorf("cut at byte %d: %w", n, r.fault)
			}
		}
		return nil
	})
}

func checkMissing(k *kit) error {
	return k.each(func(d document) error { return k.variants(d, sound) })
}
