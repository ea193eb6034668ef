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

// rule checks one sentence of the contract.
type rule struct {
	name, contract string
	check          func(*kit) error
}

var rules = []rule{
	{"facts", "A connector has a name of one lower-case word, a translation, and a gateway that registers.", checkFacts},
	{"answer", "The answer is JSON, and of the type that the RPCs return.", checkAnswer},
	{"verification", "A signature compiles, and the header with the secret is not one that Bridge stores.", checkVerification},
	{"window", "The window is longer than the vendor's longest wait before a retry, and not much longer.", checkWindow},
	{"samples", "Samples are the connector's testdata, embedded by `//go:embed testdata/*.txtar`.", checkSamples},
	{"coverage", "Every event of the service has a webhook in testdata that becomes canonical events.", checkCoverage},
	{"pings", "A declared ping has a name, signs that no event has, a JSON answer, and a webhook in testdata. A handshake has a method, one place of the challenge, and one place of the answer.", checkPings},
	{"normalized", "Normalize makes JSON of some webhook, returns JSON as it is, keeps the length, does not write to its argument, and never panics.", checkNormalized},
	{"complete", "Each event keeps to the rules of proto/bridge/event/v1, and leaves empty the fields that Bridge sets.", checkComplete},
	{"bounded", "A number of any size becomes a fault, or a value within the bounds of its schema.", checkBounded},
	{"pure", "Translate does not change its arguments. Its result depends on them alone: not on the time, and not on other calls.", checkPure},
	{"source", "Currency and time zone are the webhook's, or else the source's; a connector that needs the source's says so.", checkSource},
	{"errors", "A message that cannot be translated gets a connectors.Error with the path of the field.", checkErrors},
	{"identity", "Two webhooks of one event have the same natural key only if they are about the same version of the same subject, or if the key is the vendor's own id of the occurrence. The keys of two changes of one subject differ. This holds for Key and for each key in Also.", checkIdentity},
	{"unmapped", "An event that is not in the schema is passed on and is no error; its natural key depends on its content.", checkUnmapped},
	{"added", "A field that the vendor adds, anywhere and with any value, changes no event.", checkAdded},
	{"missing", "A field that is missing, or null, or of an unexpected type causes no panic and no event that breaks the rules.", checkMissing},
	{"mutated", "Wrong bytes anywhere cause no panic and no event that breaks the rules.", checkMutated},
	{"exact", "Money keeps every digit and its sign, and a text keeps every letter, or the webhook is quarantined.", checkExact},
	{"understood", "A text that Translate does not understand becomes a fault, or is reported in Drift with its path.", checkUnderstood},
}

var word = regexp.MustCompile(`^[a-z][a-z0-9]*$`)

// unconnected is a connection that is never used.
type unconnected struct{ grpc.ClientConnInterface }

func checkFacts(k *kit) error {
	c := k.connector
	switch {
	case !word.MatchString(c.Name):
		return fmt.Errorf("name %q", c.Name)
	case c.Translate == nil || c.Register == nil:
		return errors.New("no Translate or no Register")
	}
	return c.Register(context.Background(), runtime.NewServeMux(), unconnected{})
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
		// With -update the embedded files are those from before.
		if !*update && !bytes.Equal(have[file], want[file]) {
			errs = append(errs, fmt.Errorf("%s differs in Samples, or is not there", file))
		}
		delete(have, file)
	}
	for _, file := range slices.Sorted(maps.Keys(have)) {
		errs = append(errs, fmt.Errorf("%s is in Samples and not in testdata", file))
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
		// Other rules check a broken connector.
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
	return k.each(func(d document) error { return checkResult(k.run(d)) })
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

func checkMissing(k *kit) error {
	return k.each(func(d document) error { return k.variants(d, checkResult) })
}
