package sinks_test

import (
	"testing"

	"github.com/webhook-bridge/bridge/sinks"
)

// charged counts what an owner is charged with.
type charged struct{ bytes int }

func (c *charged) Charge(_ sinks.Position, bytes int) { c.bytes += bytes }

// A memo computes once for each key, and remembers nothing more when it was forgotten: then its owner does not count it.
func TestMemo(t *testing.T) {
	var owner charged
	var memo sinks.Memo
	memo.Begin(&owner, 1)
	r := sinks.Record{Position: 1, Memo: &memo}
	computed := 0
	derive := func(key string) int {
		n, err := sinks.Derive(&r, key, func() (int, int, error) {
			computed++
			return computed, 100, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i, c := range []struct {
		key         string
		value, made int
	}{{"a", 1, 1}, {"b", 2, 2}, {"a", 1, 2}} {
		if got := derive(c.key); got != c.value || computed != c.made || owner.bytes != 100*c.made {
			t.Errorf("%d: %s is %d after %d were computed, %d bytes", i, c.key, got, computed, owner.bytes)
		}
	}
	memo.Forget()
	for want := 3; want <= 4; want++ {
		if got := derive("a"); got != want || owner.bytes != 200 {
			t.Errorf("after it was forgotten, it is %d of %d bytes, want %d", got, owner.bytes, want)
		}
	}
}
