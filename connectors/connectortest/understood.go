package connectortest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// extremes are numbers that a consumer cannot expand, or that no schema has room for.
var extremes = []string{
	"1e1000000000", "-1E+1000000000", "1e-1000000000", "1e30", "-1e-50", "1e999", "1e99999999999999999999",
	strings.Repeat("9", 5000), "0." + strings.Repeat("0", 5000) + "1",
}

// checkBounded replaces each number with extreme ones.
func checkBounded(k *kit) error {
	return k.each(func(d document) error {
		root, err := k.parse(d)
		if err != nil {
			return nil //nolint:nilerr // other rules check the result
		}
		return places(root, func(p place) error {
			write := numberWriter(p.value)
			if write == nil {
				return nil
			}
			for _, text := range extremes {
				p.set(write(text))
				if err := k.checkRoot(d, root, checkResult); err != nil {
					return fmt.Errorf("%.40s: %w", text, err)
				}
			}
			return nil
		})
	})
}

// checkUnderstood replaces each text with one that has no meaning.
func checkUnderstood(k *kit) error {
	return k.each(func(d document) error {
		root, err := k.parse(d)
		before := k.run(d)
		if err != nil || before.fault != nil || before.unmapped() {
			return nil //nolint:nilerr // other rules check the result
		}
		return places(root, func(p place) error {
			if _, text := p.value.(string); !text {
				return nil
			}
			p.set(letters)
			after, err := k.rendered(d, root)
			switch {
			case err != nil || after.fault != nil || after.unmapped() || sameEvents(before.translation, after.translation):
				return err
			case copies(after.translation, letters) || reports(before, after):
				return nil
			}
			return errors.New("a text without a meaning changes the events and is not reported")
		})
	})
}

// copies reports whether a text is in a value of the events, or in a key.
func copies(t connectors.Translation, text string) bool {
	contains := func(v string) bool { return strings.Contains(v, text) }
	return slices.ContainsFunc(values(t), contains) || slices.ContainsFunc(naturalKeys(t), func(k connectors.Key) bool {
		natural, _ := k.Natural()
		return contains(natural)
	})
}

// reports reports whether after has drift that before does not have.
func reports(before, after result) bool {
	return slices.ContainsFunc(after.drift, func(found vendorjson.Drift) bool {
		return !slices.ContainsFunc(before.drift, func(known vendorjson.Drift) bool {
			return known.Kind == found.Kind && known.Path == found.Path && string(known.Sample) == string(found.Sample)
		})
	})
}

// checkDrift checks the values that a connector did not understand.
func checkDrift(t connectors.Translation) error {
	for _, d := range t.Drift {
		if !strings.HasPrefix(d.Path, "$.") || d.Value == "" {
			return fmt.Errorf("drift with the path %q and the value %q", d.Path, d.Value)
		}
	}
	return nil
}
