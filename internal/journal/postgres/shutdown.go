package postgres

import (
	"time"
)

// endGrace is how long the workers other than the committer may take to end, and calls to notice that the journal closes.
const endGrace = 5 * time.Second

// shutDown ends the workers: the committer first, which commits what is queued. Then the leases are given back, and the sessions closed.
// A database that does not answer holds nothing up for longer than [closeGrace] and [endGrace].
func (j *Journal) shutDown() {
	defer close(j.done)
	j.committing.Wait()
	cut := time.AfterFunc(endGrace, j.connections.cut)
	defer cut.Stop()
	j.cancel()
	j.workers.Wait()
	j.updates.end()
	j.metrics.unregister()
	j.pool.Close()
}

// abandon ends everything at once and says nothing to the server, as the death of the process would.
func (j *Journal) abandon() {
	j.closed.Do(func() {
		j.connections.cut()
		j.queue.Fail(errClosed)
		close(j.closing)
		j.queue.Wake()
		go j.shutDown()
	})
	<-j.done
}
