package move

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Options say what a run does.
type Options struct {
	// Final completes the move: no instance uses the source, and none can begin to. Otherwise the run only copies.
	Final bool
	// From and To name the places to people, without secrets.
	From, To string
	// Progress is told how far the run is, after every page. Default is nothing.
	Progress func(Progress)
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Progress says how far a run is.
type Progress struct {
	// Kind is being copied, or compared.
	Kind      Kind
	Comparing bool
	// Done counts the records of the kind in this pass, and Total is how many there are about, 0 if that is not known.
	Done, Total uint64
}

// Result describes a run.
type Result struct {
	// Log is the source's state.
	Log Log
	// Records counts the records that were written, by kind. Compared counts those that were compared.
	Records, Compared map[Kind]uint64
	// Moved reports whether the move is complete.
	Moved bool
}

// Run copies the records that the target lacks, and with [Options.Final] completes the move. Errors: ErrOccupied, ErrDiffers, [journal.ErrMoved],
// ctx's, the places'. After an error the source is as usable as before, and the target is not; another run goes on.
func Run(ctx context.Context, from Origin, to Target, o Options) (Result, error) {
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r := run{from: from, to: to, o: o, result: Result{Records: map[Kind]uint64{}, Compared: map[Kind]uint64{}}}
	err := r.run(ctx)
	r.result.Log = r.log
	return r.result, err
}

type run struct {
	from   Origin
	to     Target
	o      Options
	log    Log
	note   Note
	result Result
}

func (r *run) run(ctx context.Context) (err error) {
	if r.log, err = r.from.Log(ctx); err != nil {
		return err
	}
	marked, err := r.from.Note(ctx)
	if err != nil {
		return err
	}
	begun, err := r.to.Note(ctx)
	if err != nil {
		return err
	}
	if marked != nil {
		return r.resumeMarked(ctx, *marked, begun)
	}
	if err := r.begin(ctx, begun); err != nil {
		return err
	}
	if r.note.Pass != nil {
		if err := r.pass(ctx); err != nil {
			return err
		}
	}
	r.note.Pass = &Pass{Since: r.note.Copied, Until: r.log.Stamp, Kind: Growing[0]}
	if err := r.pass(ctx); err != nil || !r.o.Final {
		return err
	}
	return r.complete(ctx)
}

// resumeMarked opens the target of a move that ended between the mark of the source and the opening of the target.
func (r *run) resumeMarked(ctx context.Context, marked Note, begun *Note) error {
	if begun == nil || begun.State != Compared || begun.Log != r.log.ID || begun.Pair != marked.Pair || marked.State != Moved {
		return marked.Refusal()
	}
	return r.finish(ctx)
}

// begin continues an earlier run's copy, or begins one.
func (r *run) begin(ctx context.Context, begun *Note) error {
	r.note = Note{State: Copying, Log: r.log.ID, Place: r.o.From, At: r.o.Now()}
	if begun != nil {
		if begun.Log != r.log.ID {
			return fmt.Errorf("%w: it holds a part of the log %s, and the source is the log %s", ErrOccupied, begun.Log, r.log.ID)
		}
		if !r.log.continues(begun.Copied) || begun.Pass != nil && !r.log.continues(begun.Pass.Until) {
			return fmt.Errorf("%w: the source lost, or never had, events that were copied: empty the target, and begin again", ErrDiffers)
		}
		r.note.Copied, r.note.Pass = begun.Copied, begun.Pass
	}
	return r.to.Prepare(ctx, r.log, r.note)
}

// pass copies the growing kinds from where the note's pass is, and compares all that the pass copied.
func (r *run) pass(ctx context.Context) error {
	p := r.note.Pass
	begun := false
	for i, k := range Growing {
		begun = begun || k == p.Kind
		if !begun {
			continue
		}
		p.Kind = k
		err := r.copyKind(ctx, k, p.Since, p.From, func(next string) {
			if p.From = next; next == "" && i+1 < len(Growing) {
				p.Kind = Growing[i+1]
			}
		})
		if err != nil {
			return fmt.Errorf("move: copy %s: %w", k, err)
		}
	}
	if err := r.comparePass(ctx, p); err != nil {
		return err
	}
	r.note.Copied, r.note.Pass = p.Until, nil
	return r.to.Prepare(ctx, r.log, r.note)
}

// copyKind copies the records of a kind, a page at a time. The next page is read while one is written. written is told where the
// records go on behind a page, before the note is stored with the page.
func (r *run) copyKind(ctx context.Context, k Kind, since Stamp, from string, written func(next string)) error {
	ctx, cancel := context.WithCancel(ctx)
	pages := r.readAhead(ctx, k, since, from)
	defer func() {
		cancel()
		for range pages { // until nothing reads: the source may be closed next
		}
	}()
	total := r.total(k, since)
	var done uint64
	for p := range pages {
		if p.err != nil {
			return p.err
		}
		written(p.Next)
		if len(p.Records) > 0 {
			if err := r.to.Write(ctx, k, p.Records, r.note); err != nil {
				return err
			}
		}
		done += uint64(len(p.Records))
		r.result.Records[k] += uint64(len(p.Records))
		r.o.Progress(Progress{Kind: k, Done: done, Total: total})
	}
	return ctx.Err()
}

// total is how many records of a kind there are about since a stamp, 0 if that is not known.
func (r *run) total(k Kind, since Stamp) uint64 {
	if k != Events {
		return 0
	}
	return uint64(r.log.Stamp.Next - max(min(since.Next, r.log.Stamp.Next), r.log.Bounds.Earliest))
}

type readPage struct {
	Page

	err error
}

// readAhead reads pages until ctx is done. The last one has an error or no next.
func (r *run) readAhead(ctx context.Context, k Kind, since Stamp, from string) <-chan readPage {
	pages := make(chan readPage, 1)
	go func() {
		defer close(pages)
		for {
			p, err := r.from.Read(ctx, k, since, from)
			select {
			case pages <- readPage{p, err}:
			case <-ctx.Done():
				return
			}
			if from = p.Next; err != nil || from == "" {
				return
			}
		}
	}()
	return pages
}

// complete copies the changing kinds, compares them, marks the source and opens the target.
func (r *run) complete(ctx context.Context) error {
	for _, k := range Changing {
		if err := r.to.Clear(ctx, k); err != nil {
			return fmt.Errorf("move: clear %s: %w", k, err)
		}
		if err := r.copyKind(ctx, k, Stamp{}, "", func(string) {}); err != nil {
			return fmt.Errorf("move: copy %s: %w", k, err)
		}
	}
	for _, k := range Changing {
		if err := r.compare(ctx, k, Stamp{}, nil); err != nil {
			return err
		}
	}
	if err := r.compareEnds(ctx); err != nil {
		return err
	}
	r.note.State, r.note.Pair = Compared, uuid.NewString()
	if err := r.to.Prepare(ctx, r.log, r.note); err != nil {
		return err
	}
	mark := Note{State: Moved, Log: r.log.ID, Place: r.o.To, At: r.o.Now(), Pair: r.note.Pair}
	if err := r.from.MarkMoved(ctx, mark); err != nil {
		return fmt.Errorf("move: mark the source: %w", err)
	}
	return r.finish(ctx)
}

func (r *run) finish(ctx context.Context) error {
	if err := r.to.Finish(context.WithoutCancel(ctx), r.log); err != nil {
		return fmt.Errorf("move: the source is marked as moved, and the target could not be opened; run the command again: %w", err)
	}
	r.result.Moved = true
	return nil
}
