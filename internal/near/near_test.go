package near

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNames(t *testing.T) {
	t.Parallel()
	events := []string{"shipping.ordered", "ticket.created", "ticket.updated", "tracking.changed", "a"}
	for word, want := range map[string][]string{
		"shiping.ordered":  {"shipping.ordered"},
		"Shipping.Ordered": {"shipping.ordered"},
		"shipping.orderde": {"shipping.ordered"},
		"ticket":           {"ticket.created", "ticket.updated"},
		"changed":          {"tracking.changed"},
		"order":            {"shipping.ordered"},
		"x":                nil,
		"":                 nil,
		"payment.created":  nil,
	} {
		if diff := cmp.Diff(want, Names(word, events)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", word, diff)
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	for want, names := range map[string][]string{
		"; none is configured":                      nil,
		"; there are erp, till; did you mean till?": {"till", "erp"},
		"; there are erp, shop":                     {"shop", "erp"},
	} {
		if got := List("tlil", names); got != want {
			t.Errorf("%v: %q, want %q", names, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for words, want := range map[[2]string]int{
		{"", ""}: 0, {"", "abc"}: 3, {"abc", "abc"}: 0, {"abc", "acb"}: 1, {"abc", "abd"}: 1, {"abc", "ab"}: 1, {"žluť", "zlut"}: 2,
	} {
		if got := distance(words[0], words[1]); got != want {
			t.Errorf("%v: %d, want %d", words, got, want)
		}
	}
}
