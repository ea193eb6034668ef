package postgres

// This file holds the names that other files still have to define. Each part removes its own lines. It goes away before this package is used.

// C: readers.go, claims.go. readers are the claims that this instance holds and the readers that it registered.
type readers struct{}

func (r *readers) init() {}

// C: runReaders renews leases and registrations and this instance's row in the table replica.
func (j *Journal) runReaders() {}

// C: retain.go, partitions.go. runRetention runs retention on the instance that holds the lease _retention.
func (j *Journal) runRetention() {}
