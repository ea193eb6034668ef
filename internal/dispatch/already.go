package dispatch

import (
	"context"
	"errors"

	"github.com/webhook-bridge/bridge/sinks"
)

// parkedPage is how many parked events are read at once.
const parkedPage = 100

// recallParked notes the events from p on that are parked: an earlier run parked them, and ended before the destination's position had
// passed them. If the destination accepted them now, an operator's retry would deliver them a second time. Errors: sinks.ErrClosed, ctx's.
func (l *lane) recallParked(ctx context.Context, p sinks.Position) error {
	if l.d.cfg.Parked == nil {
		return nil
	}
	all := map[sinks.Position]bool{}
	for failures := 1; ; {
		page, err := l.d.cfg.Parked(ctx, l.d.cfg.Name, p, parkedPage)
		switch {
		case err == nil:
			for _, one := range page {
				all[sinks.Position(one.GetPosition())] = true
			}
			if len(page) < parkedPage {
				l.already = all
				return nil
			}
			p = sinks.Position(page[len(page)-1].GetPosition()) + 1
			continue
		case errors.Is(err, sinks.ErrClosed):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		l.d.cfg.Logger.Error("dispatch: the parked events of the sink cannot be read", "position", p, "error", err)
		if !pause(ctx, l.d.wait(failures)) {
			return ctx.Err()
		}
		failures++
	}
}

// isAlreadyParked reports whether an event that is read now was parked before this run.
func (l *lane) isAlreadyParked(p sinks.Position) bool {
	if !l.already[p] {
		return false
	}
	delete(l.already, p)
	l.d.cfg.Logger.Info("dispatch: event was parked before the last run ended, and stays so", "position", p)
	return true
}
