package postgres

// shutDown ends the workers: the committer first, which commits what is queued.
func (j *Journal) shutDown() {
	j.cancel()
	j.workers.Wait()
	j.pool.Close()
	close(j.done)
}
