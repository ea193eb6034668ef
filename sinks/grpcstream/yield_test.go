package grpcstream

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Streams that are behind share a pace while live streams send, and have none otherwise.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		p.interval = time.Millisecond
		// took returns how long some streams need for reads.
		took := func(streams, reads int) time.Duration {
			began := time.Now()
			var wg sync.WaitGroup
			for range streams {
				wg.Go(func() {
					for range reads {
						p.giveWay(t.Context())
					}
				})
			}
			wg.Wait()
			return time.Since(began)
		}
		if got := took(3, 1000); got != 0 {
			t.Errorf("without live streams it took %v", got)
		}
		p.live()
		if got := took(3, 10); got != 29*time.Millisecond {
			t.Errorf("30 reads beside live streams took %v", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		p.giveWay(ctx)
		if got := time.Since(began); got != 0 {
			t.Errorf("a stream that has ended waits for %v", got)
		}
		for _, late := range []time.Duration{3 * time.Millisecond, time.Hour} {
			<-time.After(liveTime)
			p.live()
			p.giveWay(t.Context())
			p.late(late)
			if got, want := took(1, 1), p.interval+min(2*late, maxLate); got != want {
				t.Errorf("when goroutines wait for %v, the next read comes after %v, want %v", late, got, want)
			}
		}
		<-time.After(2 * liveTime)
		if got := took(3, 1000); got != 0 {
			t.Errorf("after the live streams it took %v", got)
		}
	})
}

// However many streams are behind, each of them goes on.
func TestPaceStarvesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		for range 3 {
			p.live()
			began := time.Now()
			var wg sync.WaitGroup
			for range 1000 {
				wg.Go(func() { p.giveWay(t.Context()) })
			}
			wg.Wait()
			if got := time.Since(began); got > maxWait {
				t.Errorf("a stream waits for %v", got)
			}
		}
	})
}
