package groups

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

func FuzzID(f *testing.F) {
	f.Add("g", uint8(3), uint64(7), uint32(2), uint64(99), uint64(0), uint32(5), uint64(12), uint32(4), "x")
	f.Fuzz(func(t *testing.T, group string, share uint8, epoch uint64, attempt uint32, position, round uint64, member uint32, seq uint64, salt uint32, text string) {
		id := deliveryID{share, epoch, attempt, sinks.Position(position), round, member, seq, salt}
		encoded := id.text(group)
		if epoch < 1<<63 && position < 1<<56 && round < 1<<28 && seq < 1<<42 && len(encoded) > 64 {
			t.Fatalf("%d characters", len(encoded))
		}
		if got, err := parseID(group, encoded); err != nil || got != id {
			t.Fatalf("%+v, %v, want %+v", got, err, id)
		}
		if _, err := parseID(group+"x", encoded); err == nil {
			t.Fatal("it is an id of another group too")
		}
		if got, err := parseID(group, text); err == nil && got.text(group) != text {
			t.Fatalf("%q has another form", text)
		}
	})
}

func FuzzState(f *testing.F) {
	s := newState(5)
	s.finish(7, 9)
	s.apply(op{kind: opFail, position: 6, attempt: 1, notBefore: time.UnixMilli(1)})
	encoded, err := s.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encoded)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err != nil {
			return
		}
		checkState(t, s)
		again, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeState(again)
		if err != nil {
			t.Fatal(err)
		}
		third, err := back.encode()
		if err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%v: %x became %x", err, again, third)
		}
	})
}

// checkState checks what must hold of each state.
func checkState(t *testing.T, s *state) {
	t.Helper()
	last := s.position
	for _, r := range s.done {
		if r.from <= last || r.to <= r.from {
			t.Fatalf("the runs %v behind %d touch or are out of order", s.done, s.position)
		}
		last = r.to
	}
	for p := range s.failed {
		if s.isDone(p) {
			t.Fatalf("%d is done and has failed", p)
		}
	}
}

// TestStateAgainstModel compares random operations with sets of positions.
func TestStateAgainstModel(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 0))
		s := newState(1)
		done, attempts, skipped := map[sinks.Position]bool{}, map[sinks.Position]uint32{}, uint64(0)
		for range 200 {
			p := sinks.Position(1 + r.IntN(40))
			o := op{kind: []opKind{opAck, opFail, opPark, opSkip, opMiss}[r.IntN(5)], position: p, attempt: uint32(1 + r.IntN(3))}
			holds := !done[p] && (o.kind == opMiss || o.attempt == attempts[p]+1)
			if got := s.apply(o); got != holds {
				t.Fatalf("seed %d: %+v: %t", seed, o, got)
			}
			again := s.clone()
			if again.apply(o) {
				t.Fatalf("seed %d: %+v holds twice", seed, o)
			}
			switch {
			case !holds:
			case o.kind == opFail:
				attempts[p] = o.attempt
			default:
				done[p] = true
				if o.kind == opSkip {
					skipped++
				}
			}
			if r.IntN(5) == 0 {
				s = recode(t, s)
			}
			checkState(t, s)
			for q := sinks.Position(1); q < 45; q++ {
				if s.isDone(q) != done[q] || !done[q] && s.failed[q].attempts != attempts[q] {
					t.Fatalf("seed %d: position %d: %t, %d", seed, q, s.isDone(q), s.failed[q].attempts)
				}
			}
		}
		if s.skipped != skipped {
			t.Fatalf("seed %d: %d skipped, want %d", seed, s.skipped, skipped)
		}
	}
}

func recode(t *testing.T, s *state) *state {
	t.Helper()
	b, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := decodeState(b)
	if err != nil {
		t.Fatal(err)
	}
	return back
}

func TestAdvance(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 0))
		s := newState(sinks.Position(1 + r.IntN(10)))
		done := map[sinks.Position]bool{}
		for p := range sinks.Position(60) {
			done[p] = s.isDone(p)
			if r.IntN(4) == 0 && s.apply(op{kind: opAck, position: p, attempt: 1}) {
				done[p] = true
			}
		}
		var undone []sinks.Position
		for p := range sinks.Position(60) {
			if r.IntN(5) == 0 {
				undone = append(undone, p)
			}
		}
		scan := sinks.Position(r.IntN(60))
		s.advance(scan, undone)
		checkState(t, s)
		for p := range sinks.Position(60) {
			want := done[p] || p < scan && !slices.Contains(undone, p)
			if s.isDone(p) != want {
				t.Fatalf("seed %d: scan %d, undone %v: position %d: %t", seed, scan, undone, p, s.isDone(p))
			}
		}
	}
}

func TestReplayOperations(t *testing.T) {
	s := newState(10)
	begin := op{kind: opBegin, position: 4, round: 1}
	if !s.apply(begin) || s.apply(begin) {
		t.Fatal("a replay begins once")
	}
	ack := op{kind: opAck, position: 4, round: 1, attempt: 1}
	fail := op{kind: opFail, position: 4, round: 1, attempt: 1, notBefore: time.UnixMilli(5)}
	if !s.apply(fail) || s.apply(ack) {
		t.Fatal("the first attempt has failed")
	}
	s = recode(t, s)
	ack.attempt = 2
	if !s.apply(ack) || s.apply(ack) {
		t.Fatal("the second attempt is acknowledged once")
	}
	if s.apply(op{kind: opAck, position: 4, round: 2, attempt: 1}) {
		t.Fatal("there is no second replay")
	}
}

func TestRanges(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		var set ranges
		want := map[sinks.Position]bool{}
		for range 40 {
			from := sinks.Position(r.IntN(100))
			to := from + sinks.Position(r.IntN(6))
			set = set.add(from, to)
			for p := from; p < to; p++ {
				want[p] = true
			}
		}
		for p := range sinks.Position(110) {
			if set.has(p) != want[p] {
				t.Fatalf("seed %d: position %d", seed, p)
			}
		}
		if set.count() != uint64(len(want)) {
			t.Fatalf("seed %d: %d, want %d", seed, set.count(), len(want))
		}
		back, err := rangesOf(set.pairs())
		if err != nil || !slices.Equal(back, set) {
			t.Fatalf("seed %d: %v, %v", seed, back, err)
		}
		few := slices.Clone(set).atMost(3)
		if len(few) > 3 {
			t.Fatal(few)
		}
		for p := range want {
			if !few.has(p) {
				t.Fatalf("seed %d: %d is gone", seed, p)
			}
		}
	}
}

func members(n int, seed uint64) []string {
	r := rand.New(rand.NewPCG(seed, 0))
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("member-%x", r.Uint64())
	}
	return all
}

// byName returns the shares' members by name.
func byName(members []string) []string {
	names := make([]string, journal.GroupShares)
	for s, m := range assign(members) {
		names[s] = members[m]
	}
	return names
}

func TestAssign(t *testing.T) {
	if got := assign(nil); got != nil {
		t.Fatal(got)
	}
	for _, n := range []int{1, 2, 3, 5, 8, 17, 64, 100, 255, 256, 257, 1000} {
		for seed := range uint64(5) {
			all := members(n, seed)
			before := byName(all)
			count := map[string]int{}
			for _, m := range before {
				count[m]++
			}
			for m, c := range count {
				if c > (journal.GroupShares+n-1)/n+1 {
					t.Fatalf("%d members: %s has %d shares", n, m, c)
				}
			}
			shuffled := slices.Clone(all)
			rand.New(rand.NewPCG(seed, 1)).Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			if !slices.Equal(before, byName(shuffled)) {
				t.Fatalf("%d members: the order makes a difference", n)
			}
			// One leaves: its shares move, and few others.
			moves := 0
			for s, m := range byName(all[1:]) {
				if n > 1 && m != before[s] && before[s] != all[0] {
					moves++
				}
			}
			if n > 1 && moves > 40 {
				t.Errorf("%d members: when one leaves, %d shares of others move", n, moves)
			}
		}
	}
}

// Servers of different versions must agree, so what assign returns never changes.
func TestAssignIsStable(t *testing.T) {
	for _, n := range []int{1, 2, 3, 8, 50, 64, 256, 300, 1000} {
		all := members(n, 7)
		if got, want := assign(all), assignBySorting(all); !slices.Equal(got, want) {
			t.Fatalf("%d members:\ngot  %v\nwant %v", n, got, want)
		}
	}
}

// assignBySorting does what assign does: each share asks the members in their order, the best first.
func assignBySorting(members []string) []int {
	weight := func(s, m int) uint64 {
		sum := fnv.New64a()
		_, _ = sum.Write([]byte(members[m]))
		return mix(mix(sum.Sum64()) ^ mix(uint64(s)+1))
	}
	room := maxShares(len(members))
	wishes := make([][]int, journal.GroupShares)
	for s := range wishes {
		for m := range members {
			wishes[s] = append(wishes[s], m)
		}
		slices.SortFunc(wishes[s], func(a, b int) int { return cmp.Compare(weight(s, b), weight(s, a)) })
	}
	owner := slices.Repeat([]int{-1}, journal.GroupShares)
	for free := true; free; {
		free = false
		for s := range owner {
			if owner[s] >= 0 {
				continue
			}
			free = true
			m := wishes[s][0]
			wishes[s] = wishes[s][1:]
			owner[s] = m
			has, least := 0, s
			for other := range owner {
				if owner[other] == m {
					has++
					if weight(other, m) < weight(least, m) {
						least = other
					}
				}
			}
			if has > room {
				owner[least] = -1
			}
		}
	}
	return owner
}

func TestSharesAreEven(t *testing.T) {
	count := make([]int, journal.GroupShares)
	const n = 100_000
	for i := range n {
		s, ordered := subjectOf(&sinks.Header{Source: []byte("shop"), Subject: fmt.Appendf(nil, "order/%d", i)})
		if !ordered {
			t.Fatal("it has a subject")
		}
		count[s.share()]++
	}
	if least, most := slices.Min(count), slices.Max(count); least < n/256*3/4 || most > n/256*5/4 {
		t.Fatalf("between %d and %d events", least, most)
	}
	// The hash is part of what is stored.
	if s, _ := subjectOf(&sinks.Header{Source: []byte("shop"), Subject: []byte("order/1")}); s != 0x4dbb54d749b5d2ae {
		t.Fatalf("the hash has changed: %#x", uint64(s))
	}
}

func TestPolicy(t *testing.T) {
	p := Policy{}.WithDefaults()
	if p != p.WithDefaults() {
		t.Fatal("the defaults have defaults")
	}
	for attempts, want := range map[uint32]time.Duration{1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 100: 5 * time.Minute} {
		if got := p.pause(attempts); got != want {
			t.Fatalf("after %d: %s", attempts, got)
		}
	}
	none := Policy{MinBackoff: -5}.WithDefaults()
	if got := none.pause(3); got != 0 || none != none.WithDefaults() {
		t.Fatal(got)
	}
	d := definition{filter: []byte("f"), policy: p, createdAt: time.Unix(5, 6).UTC(), skipped: 3, missed: ranges{{1, 2}}, seeks: 4, start: 9}
	b, err := d.encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := decodeDefinition(b)
	if err != nil || fmt.Sprint(back) != fmt.Sprint(d) {
		t.Fatalf("%+v, %v, want %+v", back, err, d)
	}
}
