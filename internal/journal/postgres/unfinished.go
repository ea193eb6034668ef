package postgres

// This file holds the names that other files still have to define. Each part removes its own lines. It goes away before this package is used.

// C: retain.go, partitions.go. runRetention runs retention on the instance that holds the lease _retention.
func (j *Journal) runRetention() {}
