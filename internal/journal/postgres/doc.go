// Package postgres is the engine that keeps the journal in a PostgreSQL database, for several instances at once.
//
// Instances ("replicas") are equal and keep nothing of their own. PostgreSQL replicates; this package brings no consensus and no
// election. It runs on PostgreSQL 15 to 18.
//
// # Order
//
// The table log has one row, the head. A group of webhooks is one transaction, which locks the head first. Then it looks up what
// the log knows under the group's keys, decides by package commit, inserts, moves the head and commits. So positions are dense,
// in the order of commit, and the same webhook at two instances meets itself at the lock.
//
// # Durability
//
// COMMIT returns when the standbys that synchronous_standby_names asks for have the transaction on disk. Four rules follow:
//
//   - A COMMIT is never cancelled. A cancelled wait shows data that no standby has. So transactions run without a deadline,
//     whatever the context of the caller; the caller alone stops waiting. A COMMIT that ends with a warning (SQLSTATE 01000) has
//     failed: everybody in its group gets ErrUnavailable.
//   - Every group updates the head, also one of duplicates only. A read-only transaction does not wait for a standby, so without
//     the update a duplicate would be acknowledged while its original may still be lost.
//   - A reader shows only what is confirmed: it has committed a write of its own after it saw the data. A server that was
//     restarted shows transactions that no standby has. [Journal.view] and the tail follow this rule by [Journal.confirm].
//   - A session that stops in the middle of a transaction is ended by the server, after idle_in_transaction_session_timeout, so
//     that a frozen instance does not hold the head. In the middle of a pipeline a session is not idle: then an instance that waited for the
//     head for too long ends it.
//
// A session is refused when the server may lose what it confirmed: fsync or full_page_writes are off, or no synchronous standby
// is configured and [Config.ReplicatedBy] does not say otherwise. These settings may change while sessions are open. So each group, each
// confirmation and each look at the head reads them again, and fails while they are unsafe.
//
// # Epochs
//
// An epoch begins when an instance opens the log, when the clock was put back by more than a second, and when the head was last
// written by another server or on another timeline: after a failover, or in a restored copy. So a mark of a state that was lost is
// refused. An instance that finds the head behind a position that it has shown says so in the log and in [Journal.Health].
//
// # Readers
//
// An instance asks for the head every [pollInterval], and at each notification of another instance. What it then shows is
// confirmed by a write to its own row in the table replica, which no other instance locks, or by a commit of its own. A
// notification says up to where the other instance's commits are confirmed, so an instance that hears it needs no write. Nothing
// else depends on notifications: where a pooler between Bridge and PostgreSQL drops them, polling goes on.
//
// Bounds do not ask the database. Before a reader gets ErrFuture or ErrForked, the instance asks for the head. An event that is missing is
// damage only if the head still says that it is there.
//
// After a failover the old primary may come back alone. It may have events that no standby had, at positions that now have others.
// Its timeline is lower, so an instance that has used a later one refuses its sessions. A running instance must be started again
// when the database was restored to a lower timeline. Behind a pooler that changes a session's server, the instance cannot tell.
//
// # Claims
//
// A claim is a lease in the reader's row. The holder renews it, and counts on its own clock from before it sent the renewal: it
// stops relying on the lease well before another may take it. Every write through a claim names the claim's number, so that a
// holder that was frozen changes nothing when it thaws. The end of a lease is a time of the server's clock: where that jumps ahead,
// another instance may take a lease early, and only the number keeps the two apart.
//
// An operator who takes a claim away raises its number, and leaves the lease to its holder. The call returns when the holder
// says that its claim is lost, or the lease has run out. From then on another instance waits until the holder has released the claim, but
// not longer than its deliveries may take to end.
//
// An instance that holds claims lets others go first when it asks for one more, a little longer for each. So instances that start
// at the same time share the readers. A reader that has a holder stays there.
//
// # Groups
//
// A subscription group does not take the head: its shares are rows, each with an epoch and a version. A write names both, and changes nothing
// when the row has others. So any instance may write, and a writer that was frozen changes nothing. A call that writes several shares locks
// them in the order of their indexes.
//
// A session is a row with a lease, and owns shares. It has ended when its row is gone: then its members count as gone, and its shares as free,
// without a write to any of them. Whoever wants a share removes the rows whose time has run out, but not one that is locked: its renewal may be
// under way. An instance counts on its sessions as on its claims, and renews them on a connection of its own by a statement that waits for no
// other row.
//
// That something about groups has changed is announced as commits are. Sessions also look every second.
//
// Groups came with the second file of the tables. The column format of the log stays at 1 until the first group is made, so that the
// version before can be started beside this one.
//
// # Retention
//
// Events lie in partitions by position, and webhooks in partitions by the day of their id. One instance at a time runs retention: the
// one that has the claim _retention. Retention first moves the limits in the head, which readers obey, then drops the partitions
// below them. By size, only whole partitions go. A partition is attached and detached beside the traffic, and a detachment that was
// interrupted is finished by the next pass. Contents and versions are swept through their tables, a part in each pass, so that
// they may lie there for some hours longer than they count.
//
// The free space of the database's disk cannot be seen. [Config.Budget] bounds the tables instead. It is checked every ten seconds, so it
// needs a margin, and it is what readers with journal.Skip go by.
package postgres
