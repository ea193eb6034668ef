package pebble

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal/commit"
)

const (
	// maxDrifts is how many kinds of drift of a connector have a count each. Further kinds, and kinds with names longer than
	// maxDriftName bytes, are counted without event and path.
	maxDrifts    = 500
	maxDriftName = 256
)

// driftCount is a count and where it lies on disk.
type driftCount struct {
	number uint32
	sum    *journalv1.DriftCount
	// last is the webhook that was counted last.
	last  uuid.UUID
	dirty bool
}

// driftCounts are all counts, as of the group that is being built. They are the committer's.
type driftCounts struct {
	counts map[commit.DriftKey]*driftCount
	// kinds is how many kinds have a count of their own, by connector.
	kinds map[string]int
	next  uint32
	dirty []*driftCount
}

// loadDrift reads the counts on disk.
func (s *store) loadDrift() (_ *driftCounts, err error) {
	d := &driftCounts{counts: make(map[commit.DriftKey]*driftCount), kinds: make(map[string]int)}
	lower, upper := span(prefixDrift)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, err
		}
		if len(it.Key()) != driftKeyLen {
			return nil, errCorrupt
		}
		sum := new(journalv1.DriftCount)
		if err := proto.Unmarshal(v, sum); err != nil {
			return nil, err
		}
		d.addKind(commit.DriftKey{
			Connector: sum.GetConnector(), Event: sum.GetVendorEvent(), Kind: sum.GetKind(), Path: sum.GetPath(),
		}, sum)
	}
	return d, it.Error()
}

// addWebhook adds a webhook's drift to the counts.
func (d *driftCounts) addWebhook(p *commit.Pending) {
	id := p.ID.String()
	for i, key := range p.Drift.Keys {
		c := d.countOf(key, p.Drift.Samples[i])
		if c.last == p.ID {
			continue // more than one that is counted by its kind alone
		}
		c.last = p.ID
		if c.sum.GetCount() == 0 {
			c.sum.FirstAt, c.sum.FirstWebhookId = p.Drift.At, id
		}
		c.sum.Count++
		// A released webhook was received long ago.
		if !p.Drift.At.AsTime().Before(c.sum.GetLastAt().AsTime()) {
			c.sum.LastAt, c.sum.LastWebhookId = p.Drift.At, id
		}
		if !c.dirty {
			c.dirty = true
			d.dirty = append(d.dirty, c)
		}
	}
}

// countOf returns the count of one kind of drift. A new one gets the sample.
func (d *driftCounts) countOf(key commit.DriftKey, sample []byte) *driftCount {
	if c := d.counts[key]; c != nil {
		return c
	}
	if d.kinds[key.Connector] >= maxDrifts || key.Path == "" || max(len(key.Event), len(key.Path)) > maxDriftName {
		key.Event, key.Path, sample = "", "", nil
		if c := d.counts[key]; c != nil {
			return c
		}
	}
	return d.addKind(key, &journalv1.DriftCount{
		Connector: key.Connector, VendorEvent: key.Event, Kind: key.Kind, Path: key.Path, Sample: sample,
	})
}

func (d *driftCounts) addKind(key commit.DriftKey, sum *journalv1.DriftCount) *driftCount {
	c := &driftCount{number: d.next, sum: sum}
	d.next++
	d.counts[key] = c
	if key.Path != "" {
		d.kinds[key.Connector]++
	}
	return c
}

// write adds the counts that have changed to the batch that holds the webhooks counted.
func (d *driftCounts) write(b *pebble.Batch) error {
	for _, c := range d.dirty {
		key := binary.BigEndian.AppendUint32([]byte{prefixDrift}, c.number)
		if err := setMessage(b, key, c.sum); err != nil {
			return fmt.Errorf("drift: %w", err)
		}
		c.dirty = false
	}
	d.dirty = d.dirty[:0]
	return nil
}

// Drift implements [journal.Archive].
func (j *Journal) Drift(ctx context.Context) (all []*journalv1.DriftCount, err error) {
	lower, upper := span(prefixDrift)
	err = j.view(ctx, func(st *store) error {
		return st.eachKey(lower, upper, func(_, v []byte) (bool, error) {
			c := new(journalv1.DriftCount)
			all = append(all, c)
			return true, proto.Unmarshal(v, c)
		})
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b *journalv1.DriftCount) int {
		return cmp.Or(
			cmp.Compare(a.GetConnector(), b.GetConnector()),
			cmp.Compare(a.GetVendorEvent(), b.GetVendorEvent()),
			cmp.Compare(a.GetPath(), b.GetPath()),
			cmp.Compare(a.GetKind(), b.GetKind()),
		)
	})
	return all, nil
}
