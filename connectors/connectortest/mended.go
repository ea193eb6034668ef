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

// riddles are texts that a careless Normalize takes for what it mends.
const riddles = "it's \u201codd\u201d, \u00a0 'a': [1,], {b:2,} // c /* d */ # e;\tNaN, Infinity, undefined, None, \\\" \\' f=>g"

func checkMended(k *kit) error {
	mend := k.connector.Normalize
	if mend == nil {
		return nil
	}
	needed := false
	var errs []error
	for _, w := range k.webhooks {
		errs = append(errs, k.blame(w.Name, func() error {
			text, fault := k.received(w)
			if fault != nil {
				return nil //nolint:nilerr // there is nothing to mend
			}
			needed = needed || !json.Valid(text) && json.Valid(k.text(document{body: text}))
			return cmp.Or(careful(mend, text), k.harmless(text))
		}))
	}
	err := errors.Join(errs...)
	if err == nil && !needed {
		err = errors.New("no webhook needs it")
	}
	return err
}

// received is the text that Normalize gets of a webhook.
func (k *kit) received(w sample.Webhook) ([]byte, *intake.Fault) {
	c := *k.connector
	c.Normalize = nil
	return intake.Document(&c, k.encoding(w), w.Body)
}

// careful judges Normalize by a text and what is left of it when it is broken.
func careful(mend func([]byte) []byte, text []byte) error {
	for n := range len(text) + 1 {
		if err := mending(mend, text[:n:n]); err != nil {
			return fmt.Errorf("cut at byte %d: %w", n, err)
		}
	}
	random := rand.New(rand.NewPCG(1, uint64(len(text)))) //nolint:gosec // nothing rests on its strength
	for range mutations {
		other := mutate(random, text)
		if err := mending(mend, other); err != nil {
			return fmt.Errorf("%q: %w", other, err)
		}
	}
	return nil
}

// harmless judges Normalize by texts that need none: what it made of one, and the same indented, each value being odd in turn.
func (k *kit) harmless(text []byte) error {
	root, err := k.parse(document{body: text})
	if err != nil {
		return nil //nolint:nilerr // it is another rule's business what becomes of it
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
		return cmp.Or(mending(k.connector.Normalize, compact), mending(k.connector.Normalize, indented.Bytes()))
	}
	if err := try(); err != nil {
		return err
	}
	return places(root, func(p place) error {
		if _, text := p.value.(string); !text {
			return nil
		}
		p.set(riddles)
		return try()
	})
}

// mending judges what Normalize makes of a text.
func mending(mend func([]byte) []byte, text []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic with a %T", p)
		}
	}()
	given := slices.Clone(text)
	mended := mend(given)
	switch {
	case !bytes.Equal(given, text):
		return errors.New("the text is another after Normalize")
	case len(mended) != len(text):
		return fmt.Errorf("%d bytes become %d", len(text), len(mended))
	case json.Valid(text) && !bytes.Equal(mended, text):
		return fmt.Errorf("%q is JSON and becomes %q", text, mended)
	case !bytes.Equal(mend(slices.Clone(text)), mended):
		return errors.New("mending twice gives different results")
	}
	return nil
}
