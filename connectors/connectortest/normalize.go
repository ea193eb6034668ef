package connectortest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/webhook-bridge/bridge/connectors/sample"
	"github.com/webhook-bridge/bridge/internal/intake"
)

// trickyText is text within a JSON string that a careless Normalize would change.
const trickyText = "it's \u201codd\u201d, \u00a0 'a': [1,], {b:2,} // c /* d */ # e;\tNaN, Infinity, undefined, None, \\\" \\' f=>g"

func checkNormalized(k *kit) error {
	normalize := k.connector.Normalize
	if normalize == nil {
		return nil
	}
	needed := false
	var errs []error
	for _, w := range k.webhooks {
		errs = append(errs, k.checkSample(w.Name, func() error {
			text, fault := k.original(w)
			if fault != nil {
				return nil //nolint:nilerr // a form without its field has no text
			}
			needed = needed || !json.Valid(text) && json.Valid(k.text(document{body: text}))
			return cmp.Or(checkBroken(normalize, text), k.checkJSON(text))
		}))
	}
	err := errors.Join(errs...)
	if err == nil && !needed {
		err = errors.New("no webhook needs it")
	}
	return err
}

// original returns the text of a webhook before Normalize.
func (k *kit) original(w sample.Webhook) ([]byte, *intake.Fault) {
	c := *k.connector
	c.Normalize = nil
	return intake.Document(&c, k.encoding(w), w.Body)
}

// checkBroken checks Normalize with a text, cut anywhere and mutated.
func checkBroken(normalize func([]byte) []byte, text []byte) error {
	for n := range len(text) + 1 {
		if err := checkNormalize(normalize, text[:n:n]); err != nil {
			return fmt.Errorf("cut at byte %d: %w", n, err)
		}
	}
	random := rand.New(rand.NewPCG(1, uint64(len(text)))) //nolint:gosec // nothing rests on its strength
	for range mutations {
		other := mutate(random, text)
		if err := checkNormalize(normalize, other); err != nil {
			return fmt.Errorf("%q: %w", other, err)
		}
	}
	return nil
}

// checkJSON checks that Normalize does not change JSON: a normalized text, and variants of it with other white space and with a
// tricky text in the place of each string.
func (k *kit) checkJSON(text []byte) error {
	root, err := k.parse(document{body: text})
	if err != nil {
		return nil //nolint:nilerr // other rules check the result
	}
	try := func() error {
		compact, err := json.Marshal(root)
		if err != nil {
			return err
		}
		var indented bytes.Buffer
		if err := json.Indent(&indented, compact, "\t", " \r\n"); err != nil {
			return err
		}
		return cmp.Or(checkNormalize(k.connector.Normalize, compact), checkNormalize(k.connector.Normalize, indented.Bytes()))
	}
	if err := try(); err != nil {
		return err
	}
	return places(root, func(p place) error {
		if _, text := p.value.(string); !text {
			return nil
		}
		p.set(trickyText)
		return try()
	})
}

// checkNormalize checks Normalize with one text.
func checkNormalize(normalize func([]byte) []byte, text []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic with a %T", p)
		}
	}()
	given := slices.Clone(text)
	normalized := normalize(given)
	switch {
	case !bytes.Equal(given, text):
		return errors.New("the argument is changed by Normalize")
	case len(normalized) != len(text):
		return fmt.Errorf("%d bytes become %d", len(text), len(normalized))
	case json.Valid(text) && !bytes.Equal(normalized, text):
		return fmt.Errorf("%q is JSON and becomes %q", text, normalized)
	case !bytes.Equal(normalize(slices.Clone(text)), normalized):
		return errors.New("normalizing twice gives different results")
	}
	return nil
}
