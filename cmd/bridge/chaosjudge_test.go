package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/kafka/kafkatest"
)

// order is the journal: which events there are, and the order of each subject's.
type order struct {
	places map[string]place
	length []int
	// subjects are the numbers of the sources' subjects.
	subjects map[string]int
	twice    int
}

// place is an event's: the index-th of its subject.
type place struct{ subject, index int }

func newOrder() *order { return &order{places: map[string]place{}, subjects: map[string]int{}} }

func (o *order) add(id, source, subject string) {
	key := source + "/" + subject
	number, known := o.subjects[key]
	if !known {
		number = len(o.length)
		o.subjects[key] = number
		o.length = append(o.length, 0)
	}
	if _, known := o.places[id]; known {
		o.twice++
		return
	}
	o.places[id] = place{number, o.length[number]}
	o.length[number]++
}

// judgement compares a destination with the journal.
type judgement struct {
	order *order
	// reached has how many events of each subject have come, and seen whether an event has.
	reached []int
	seen    map[string]bool
	events  int
	// twice counts the events that came again, skipped those that came before an earlier one of their subject, and strange those
	// that the journal does not have.
	twice, skipped, strange int
}

func (o *order) judge() *judgement {
	return &judgement{order: o, reached: make([]int, len(o.length)), seen: make(map[string]bool, len(o.places))}
}

func (j *judgement) see(id string) {
	j.events++
	p, known := j.order.places[id]
	switch {
	case !known:
		j.strange++
	case j.seen[id]:
		j.twice++
	case p.index != j.reached[p.subject]:
		j.skipped++
		j.seen[id] = true
	default:
		j.reached[p.subject]++
		j.seen[id] = true
	}
}

func (j *judgement) missing() int { return len(j.order.places) - len(j.seen) }

func (j *judgement) String() string {
	return fmt.Sprintf("%d events for the journal's %d: %d missing, %d twice, %d out of order, %d of unknown origin",
		j.events, len(j.order.places), j.missing(), j.twice, j.skipped, j.strange)
}

// once fails the test unless each event is there once and in order.
func (j *judgement) once(t *testing.T, sink string) {
	t.Helper()
	t.Logf("%-8s %s", sink+":", j)
	if j.missing()+j.twice+j.skipped+j.strange > 0 {
		t.Errorf("%s: not every event is there once and in order", sink)
	}
}

const chaosTopic = "bridge.events"

// judgeTopic reads the topic with franz-go, as a consumer with isolation.level=read_committed.
func judgeTopic(t *testing.T, b *kafkatest.Broker, o *order) *judgement {
	t.Helper()
	j := o.judge()
	err := kafkatest.Each(t.Context(), kgo.ReadCommitted(), b.Brokers(), []string{chaosTopic}, func(r *kgo.Record) {
		if r.Attrs.IsControl() {
			return
		}
		event, err := sinks.NewRecord(1, r.Value)
		if err != nil {
			t.Error(err)
			return
		}
		j.see(string(event.Header.ID))
	})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// transactions are what a consumer with isolation.level=read_uncommitted sees.
type transactions struct{ records, commits, aborts int }

func countTransactions(t *testing.T, b *kafkatest.Broker) (all transactions) {
	t.Helper()
	err := kafkatest.Each(t.Context(), kgo.ReadUncommitted(), b.Brokers(), []string{chaosTopic}, func(r *kgo.Record) {
		switch {
		case !r.Attrs.IsControl():
			all.records++
		case len(r.Key) >= 4 && r.Key[3] == 0: // The marker's type, after its version.
			all.aborts++
		default:
			all.commits++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// judgeFiles reads the rotated files, whose names sort by time, and then the active one.
func judgeFiles(t *testing.T, dir string, o *order) *judgement {
	t.Helper()
	rotated, err := filepath.Glob(filepath.Join(dir, "events-*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	j := o.judge()
	for _, path := range append(rotated, filepath.Join(dir, "events.jsonl")) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var e struct{ ID string }
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			j.see(e.ID)
		}
		if err := lines.Err(); err != nil {
			t.Error(err)
		}
		_ = f.Close()
	}
	return j
}

// judgeTable reads the events in the order in which they arrived.
func judgeTable(t *testing.T, c *pgtest.Cluster, o *order) *judgement {
	t.Helper()
	j := o.judge()
	rows, err := c.Admin(t).Query(t.Context(), "select id::text from "+chaosSchema+".events order by seq")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		j.see(id)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return j
}
