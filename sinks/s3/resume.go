package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/webhook-bridge/bridge/sinks"
)

// Resumer writes objects exactly once. The package comment describes how.
type Resumer struct {
	sink *Sink

	// taken: this opening has been the state's owner. fenced: another one is. ready: nothing failed since the last Resume.
	taken, fenced, ready bool
	// state is what the storage has, etag its version.
	state state
	etag  string
}

// state is the content of the sink's state at the storage.
type state struct {
	// Opening owns the state.
	Opening string `json:"opening"`
	// Reached is the position, or nil.
	Reached *position `json:"reached,omitempty"`
	// Pending is an object that was about to be written. If it exists, and has events, its position counts.
	Pending *pending `json:"pending,omitempty"`
}

type pending struct {
	Key     string   `json:"key"`
	Reached position `json:"reached"`
}

// position is a [sinks.Reached]. Numbers are texts, because tools that read JSON may round them.
type position struct {
	Log      string `json:"log"`
	Position uint64 `json:"position,string"`
	Epoch    uint64 `json:"epoch,string"`
}

// OpenResumer is [Open] for a sink that delivers exactly once. The storage must have conditional writes; Resume finds out.
func OpenResumer(ctx context.Context, from sinks.Origin, c Config) (*Resumer, error) {
	s, err := Open(ctx, from, c)
	if err != nil {
		return nil, err
	}
	return &Resumer{sink: s}, nil
}

// stateKey is the name of the state's object. Query engines ignore names that begin with "_".
func (r *Resumer) stateKey() string { return r.sink.prefix + "_bridge/" + r.sink.origin.Sink + ".json" }

// Resume implements [sinks.Resumer].
func (r *Resumer) Resume(ctx context.Context) (reached sinks.Reached, found bool, err error) {
	err = r.sink.during(ctx, func(ctx context.Context) error {
		if err := r.read(ctx); err != nil {
			return err
		}
		if r.fenced = r.fenced || r.taken && r.state.Opening != r.sink.opening; r.fenced {
			return sinks.ErrFenced
		}
		if !r.taken {
			if err := r.takeOver(ctx); err != nil {
				return err
			}
		}
		if err := r.settle(ctx); err != nil {
			return err
		}
		r.ready = true
		if p := r.state.Reached; p != nil {
			found = true
			reached = sinks.Reached{Log: p.Log, Mark: sinks.Mark{Epoch: sinks.Epoch(p.Epoch), Position: sinks.Position(p.Position)}}
		}
		return nil
	})
	if err != nil {
		return sinks.Reached{}, false, err
	}
	return reached, found, nil
}

// takeOver makes this opening the state's owner, and checks that the storage heeds conditions: it writes the same content on
// conditions that are false.
func (r *Resumer) takeOver(ctx context.Context) error {
	next := r.state
	next.Opening = r.sink.opening
	if err := r.write(ctx, next); err != nil {
		return err
	}
	r.taken = true
	for _, c := range []condition{ifMissing, ifVersion(`"0123456789abcdef0123456789abcdef"`)} {
		content, err := json.Marshal(r.state)
		if err != nil {
			return err
		}
		if _, err := r.sink.store.putVersion(ctx, r.stateKey(), content, c); !errors.Is(err, errCondition) {
			r.taken = false
			if err == nil {
				err = errors.New("the storage ignores the conditions of writes, so it cannot store events exactly once: set delivery to at_least_once")
			}
			return err
		}
	}
	return nil
}

// settle decides what became of the pending object. Nothing can change that later.
func (r *Resumer) settle(ctx context.Context) error {
	p := r.state.Pending
	if p == nil {
		return nil
	}
	given, err := r.sink.store.state(ctx, p.Key)
	if errors.Is(err, errMissing) {
		var empty []byte
		if empty, _, err = r.sink.format.encode(nil); err != nil {
			return err
		}
		if err = r.sink.store.put(ctx, p.Key, empty, givingUp); errors.Is(err, errCondition) {
			given, err = r.sink.store.state(ctx, p.Key)
		} else if err == nil {
			given = true
		}
	}
	if err != nil {
		return err
	}
	if !given {
		r.state.Reached = &p.Reached
	}
	r.state.Pending = nil
	return nil
}

// read reads the state. Without one it is empty.
func (r *Resumer) read(ctx context.Context) error {
	content, etag, err := r.sink.store.get(ctx, r.stateKey())
	r.state, r.etag = state{}, etag
	switch {
	case errors.Is(err, errMissing):
		return nil
	case err != nil:
		return err
	}
	if err := json.Unmarshal(content, &r.state); err != nil {
		return fmt.Errorf("%s is not the state of a sink: %w", r.stateKey(), err)
	}
	return nil
}

// write writes the state over the version that was read or written last. Errors: ErrFenced, and others, after which the state may have
// been written.
func (r *Resumer) write(ctx context.Context, next state) error {
	content, err := json.Marshal(next)
	if err != nil {
		return err
	}
	when := ifMissing
	if r.etag != "" {
		when = ifVersion(r.etag)
	}
	etag, err := r.sink.store.putVersion(ctx, r.stateKey(), content, when)
	if err != nil {
		return r.conflict(ctx, err)
	}
	r.state, r.etag = next, etag
	return nil
}

// conflict returns ErrFenced if a write failed because another opening owns the state, and otherwise the write's error. The next Resume
// settles what became of the write.
func (r *Resumer) conflict(ctx context.Context, err error) error {
	r.ready = false
	if !r.taken || !errors.Is(err, errCondition) && !errors.Is(err, errMissing) {
		return err
	}
	if failed := r.read(ctx); failed != nil {
		return failed
	}
	if r.fenced = r.state.Opening != r.sink.opening; r.fenced {
		return sinks.ErrFenced
	}
	return err
}

var errNotResumed = errors.New("resume was not called")

// check returns an error unless this opening may write.
func (r *Resumer) check() error {
	switch {
	case r.fenced:
		return sinks.ErrFenced
	case !r.ready:
		return errNotResumed
	}
	return nil
}

// Deliver implements [sinks.Sink].
func (r *Resumer) Deliver(ctx context.Context, events []sinks.Record) (int, error) {
	return r.sink.deliver(ctx, events, func(ctx context.Context, o object) error {
		if err := r.check(); err != nil {
			return err
		}
		after := r.after(o.last)
		next := r.state
		next.Pending = &pending{o.key, after}
		if err := r.write(ctx, next); err != nil {
			return err
		}
		if err := r.sink.store.put(ctx, o.key, o.content, ifMissing); err != nil {
			return r.conflict(ctx, err)
		}
		r.state.Reached, r.state.Pending = &after, nil
		return nil
	})
}

// after returns the position after an event, or the position that was reached, if that is later.
func (r *Resumer) after(p sinks.Position) position {
	after := r.position(p + 1)
	if old := r.state.Reached; old != nil && old.Log == after.Log && old.Position > after.Position {
		return *old
	}
	return after
}

func (r *Resumer) position(p sinks.Position) position {
	reached := r.sink.origin.Reached(p)
	return position{reached.Log, uint64(reached.Mark.Position), uint64(reached.Mark.Epoch)}
}

// MoveTo implements [sinks.Resumer].
func (r *Resumer) MoveTo(ctx context.Context, p sinks.Position) error {
	return r.sink.during(ctx, func(ctx context.Context) error {
		if err := r.check(); err != nil {
			return err
		}
		to := r.position(p)
		return r.write(ctx, state{Opening: r.sink.opening, Reached: &to})
	})
}

// Close implements [sinks.Sink].
func (r *Resumer) Close() error { return r.sink.Close() }
