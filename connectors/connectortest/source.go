package connectortest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/webhook-bridge/bridge/connectors"
)

// otherCurrency is a currency that no source has, and otherZone a zone.
const otherCurrency = "XTS"

var otherZone = time.FixedZone("kit", 13*60*60+45*60)

func checkSource(k *kit) error {
	c := k.connector
	abroad := k.source
	abroad.Currency = otherCurrency
	away := k.source
	away.Zone = otherZone
	bare := k.source
	bare.Currency = ""
	usesCurrency, usesZone := false, false
	err := k.each(func(d document) error {
		r := k.run(d)
		if r.refused() {
			return nil
		}
		// differs says whether the result differs with another source.
		differs := func(src connectors.Source) bool { return !equal(r, k.with(c, src).run(d)) }
		usesCurrency = usesCurrency || differs(abroad)
		usesZone = usesZone || differs(away)
		switch {
		case !c.NeedsCurrency && (differs(abroad) || differs(bare)):
			return errors.New("the result depends on the source's currency, but NeedsCurrency is false")
		case !c.NeedsTimeZone && differs(away):
			return errors.New("the result depends on the source's time zone, but NeedsTimeZone is false")
		}
		return k.checkCurrencies(d, r, c, abroad)
	})
	switch {
	case err != nil || len(k.failed) > 0:
		return err
	case c.NeedsCurrency && !usesCurrency:
		return errors.New("no result depends on the source's currency, but NeedsCurrency is true")
	case c.NeedsTimeZone && !usesZone:
		return errors.New("no result depends on the source's time zone, but NeedsTimeZone is true")
	}
	return nil
}

// checkCurrencies replaces each currency in the webhook and in the source. Then no amount may have it.
func (k *kit) checkCurrencies(d document, r result, c *connectors.Connector, abroad connectors.Source) error {
	codes := make(map[string]bool)
	for _, m := range monies(r.translation) {
		codes[m.GetCurrencyCode()] = true
	}
	for code := range codes {
		root, err := k.parse(d)
		if err != nil {
			return err
		}
		found := strings.EqualFold(code, k.source.Currency)
		var changes []func()
		_ = places(root, func(p place) error {
			if text, ok := p.value.(string); ok && strings.EqualFold(text, code) {
				found = true
				changes = append(changes, func() { p.set(otherCurrency) })
			}
			return nil
		})
		for _, change := range changes {
			change()
		}
		after, err := k.with(c, abroad).rendered(d, root)
		if err != nil {
			return err
		}
		// A currency within a text, or one that is not spelled out, may be anywhere.
		if !found || after.fault != nil || strings.Contains(strings.ToUpper(string(after.text)), strings.ToUpper(code)) {
			continue
		}
		if slices.ContainsFunc(monies(after.translation), func(m amount) bool { return m.GetCurrencyCode() == code }) {
			return fmt.Errorf("an amount is in %s, which is neither in the webhook nor in the source", code)
		}
	}
	return nil
}

// amount is money with its field.
type amount struct {
	*money.Money

	field protoreflect.FieldDescriptor
}

// monies returns all amounts in a translation's events.
func monies(t connectors.Translation) (all []amount) {
	var add func(m protoreflect.Message)
	one := func(fd protoreflect.FieldDescriptor, m protoreflect.Message) {
		if money, ok := m.Interface().(*money.Money); ok {
			all = append(all, amount{money, fd})
			return
		}
		add(m)
	}
	add = func(m protoreflect.Message) {
		m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			switch {
			case fd.Message() == nil:
			case fd.IsList():
				for i := range v.List().Len() {
					one(fd, v.List().Get(i).Message())
				}
			default:
				one(fd, v.Message())
			}
			return true
		})
	}
	for _, e := range t.Events {
		add(e.ProtoReflect())
	}
	return all
}
