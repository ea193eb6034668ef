// Package pebble is the journal's embedded engine: one folder on a local disk, with a Pebble store in it. One process has it
// open. It keeps the promises of package journal.
//
// # How an entry is committed
//
// Append encodes the webhook in the caller's goroutine and queues it with its events. One committer takes a group from the
// queue, looks up what the store knows under the group's keys, decides (package commit), and applies one Pebble batch without
// waiting for its sync. A second goroutine waits for the syncs, in order. Only then does it move the durable position and
// answer the group. Up to two groups wait for their syncs; the next one fills up meanwhile.
//
// Pebble shows what it applied before its sync ends, and would show it even if the sync failed. So readers stop at the durable
// position, and look-ups by id wait until everything that was visible when they looked is durable.
//
// The store knows contents from two places: Pebble, and a filter in memory that says where Pebble need not be asked. The filter
// has one Bloom filter for up to 8 hours of keys or 2 million of them. A duplicate is answered after the sync of the entry
// that it repeats, since syncs end in order and the first that fails fails all behind it. After a start the filter is read
// from disk in the background, the newest hours first. The keys of hours that are not read yet are always looked up.
//
// The greatest version of a subject is a record of its own, in the same buckets. A commit of an event with a version writes the
// greatest version until then, in the bucket of the hour. So the newest record is enough. It is looked up through the same filter.
//
// Releases, corrections and discards are rare. For each the committer asks Pebble where the webhook is.
//
// The committer has all drift counts in memory. It adds the drift of the webhooks that a group stores, and writes the counts
// that changed into the group's batch.
//
// # Groups
//
// Calls about groups are carried out by a goroutine of their own, in rounds. A round decides on the calls that came during the round before, one
// after the other, writes one batch, and answers when that is durable. So calls that come at the same time share a sync, and nothing
// is decided by what is not durable, except by calls of the same round, which fail together. Versions and epochs are in memory, states and
// definitions are not. After a failed write they are read again.
//
// The folder has one process, so sessions, members and owners are in memory, and end with it. An epoch is durable before its owner knows it.
//
// A group that cannot be read is sinks.ErrDamaged, for itself alone, and can be deleted. An accepted loss may take acknowledgements away: their
// events are delivered again.
//
// # Epochs and the clock
//
// An epoch begins with every opening of the store, and when the clock reads more than a second less than at the commit before.
// Its record names the first position and the floor: the clock's reading when it began. It is written before the first entry
// of the epoch, or with it. Times are stored as the clock showed them, and a stored time counts as the least of itself and the
// floors of all later epochs. So times need no change when the clock was put back, and they never decrease with the position.
//
// Look-ups have no upper bound: a clock that was ahead filled buckets that lie ahead.
//
// # On disk
//
// The first byte of a key is the kind of its record. Numbers are big-endian.
//
//	c<name>                      → position (8), Unix nanoseconds of the last save (8), flags (1; not in format 1): a cursor.
//	                               Flag 1 is a pause.
//	d<hour (4)><turn (2)><key (16)> → number of the epoch (4), contents: a dedupe key, by the hour since 1970 it was added in,
//	                               and by turns of 262,144 keys within the hour. A content is Unix nanoseconds (8), bytes (16)
//	                               and meaning (16). A value of format 1 is Unix nanoseconds (8) and bytes (16).
//	e<position (8)>              → Unix nanoseconds of the commit (8), bridge.event.v1.Event, and behind it the field stale if that
//	                               is set: an event
//	f<number (4)>                → bridge.journal.v1.DriftCount: a count of drift, numbered as they were first seen
//	g<reader>NUL<from (8)>       → bridge.journal.v1.Gap: positions that a reader was not given
//	l<commit (8)><number (4)>    → first lost position (8), the position after the last (8), lost commits (8), Unix nanoseconds
//	                               (8): a loss that an operator accepted
//	mcommit                      → number of the first commit whose record must be there (8)
//	mformat                      → version of this layout (4)
//	mmove                        → the note of a move, in a folder that no program may open: mformat is 2147483648 there
//	mid                          → the journal's identity, 32 hexadecimal digits
//	mkept                        → first position kept (8), Unix milliseconds of the first webhook kept (8), and of the
//	                               first quarantined one (8)
//	mwatermark                   → nothing: the folder has had a watermark
//	n<number (8)>                → next position after it (8): a commit, which is one batch
//	o<number (4)>                → id (8), first position (8), floor in Unix nanoseconds (8): an epoch
//	p<reader>NUL<position (8)>   → bridge.journal.v1.Parked: an event that a reader refused permanently
//	r<reader>NUL<position (8)><p or r> → Unix nanoseconds (8): an operator's request to pass or to retry an event
//	s<group>NUL<index (1)>       → epoch (8), version (8), state: a share of a group
//	u<group>                     → version (8), definition: a group. The one without a name has, as its version, the greatest version
//	                               and epoch of the groups that were deleted; it is there once a group was. Older programs leave the
//	                               records of groups alone.
//	q<id (16)>                   → as w, a webhook in quarantine, or released from there
//	v<hour (4)><turn (2)><subject (16)> → number of the epoch (4), Unix nanoseconds (8), version: the greatest version of a subject
//	                               until that time. Folders of older programs have none.
//	w<id (16)>                   → first position (8), number of events (4), bridge.journal.v1.Webhook: a webhook
//	x<w or q><id (16)><first (8)> → bridge.journal.v1.Correction: events from that position on correct this webhook's
//
// A new content under a known key makes a record with all contents that are alive, in the bucket of the hour. The older record
// stays until its bucket is removed. In the same bucket the new record takes its place, and has all of its contents. A look-up
// unites what it finds.
//
// Ids are version 7 UUIDs, so webhooks lie in order of receipt. A released webhook stays where it is, for as long as
// quarantined ones are kept, and corrections lie as their webhooks do, so that both are removed at the same time. Values that
// are known only at commit stand around the message: a fixed header in front, whose numbers count instead of the message's
// first_position and event_count, and the field duplicate behind. So nothing is encoded by the committer. Everything that is
// removed by age is removed by one range of keys.
//
// Format 1 had no epochs. A folder of format 1 becomes one of format 2 at open, in one write, with an epoch that covers all of
// it. Older programs then refuse it.
//
// Bodies of 256 bytes and more lie in Pebble's value files, apart from the keys, so that compactions leave them alone.
//
// # Recovery
//
//  1. Take the folder's lock, or fail with ErrLocked. It is held until Close, across all of the following.
//  2. Refuse a folder that a newer Pebble or a newer layout wrote: ErrNewerFormat.
//  3. Look at the log's end without writing: open the folder read-only, and compare it with the watermark. If anything is missing, refuse
//     the folder, unchanged, or record the loss if the operator accepts it.
//  4. Let Pebble replay its log. It writes what it replayed to tables and syncs those before it is open. So everything that is
//     seen now is durable.
//  5. Read the drift counts. The next position is the greatest of: the last event's plus 1, mkept, and what this process has
//     shown before.
//  6. Begin an epoch, durably, and write the watermark.
//  7. The dedupe hours that have keys are unknown to the filter, which is then read from disk while appends continue.
//
// A failed write is treated as a crash. All of Pebble's writes pass through a fault-isolating file system: the first that fails
// isolates the folder, and from then on writes go to memory, so that Pebble neither panics nor writes behind a hole. All
// callers that wait get ErrUnavailable, the store is closed, and recovery starts at step 2, again and again, 50 ms to 10 s
// apart, until it succeeds.
//
// # What the disk loses
//
// The watermark is a small text file beside Pebble's, with the journal's identity, the number of a durable commit, the next position,
// and a checksum. A goroutine writes it every second while anything was committed, after 16 MiB, and at Close: first a new file, synced,
// then a renaming, then a sync of the folder. It is written after the syncs that it speaks of, so no crash leaves the log behind it.
//
// Commits are numbered in the order of Pebble's log, with a record each, until the log file is gone and all in it are in tables. So a
// missing log file shows as missing numbers, wherever it was, also where no event is missing.
//
// The positions of lost events stay empty. Readers get a [sinks.LostError] there, and everything that searches by position passes over
// them. The epoch of the opening begins at the first lost position behind the log's end, so a mark of a reader that has seen the lost events
// is one of a state that is gone.
//
// # Retention
//
// A pass runs every minute. It measures ages by the clock's reading at the pass before, or by the present one if the clock
// went back since. So a clock that is ahead for one look removes nothing. Buckets of dedupe keys two hours ahead of the clock are
// removed once everything in them counts as older than [Config.DedupeAge]. An epoch's record is removed when all its positions are
// below the first that is kept and everything in it is that old.
//
// # Limits accepted
//
//   - One disk, one process, one writer goroutine for webhooks, and one for groups.
//   - Under a key the 256 newest contents are known.
//   - The filter takes at most 48 MiB: 25 million keys and subjects at full precision. Beyond that it forgets precision, never keys, and
//     appends ask Pebble more often. More than 100 million keys within [Config.DedupeAge] are slow.
//   - While the filter is read after a start, an append with a long window costs a lookup for every hour, or turn, not yet read.
//   - A table, a value file or a manifest that is missing or damaged at the opening cannot be accepted as a loss: Pebble needs them all.
//   - What was committed after the last watermark, within a second, may be lost unseen.
//   - MinFree is kept by estimate: each byte that is accepted between two measurements counts three times, and room is left for what is in no
//     table yet and for one compaction.
//   - A disk with less than MinFree accepts only discards until it has room. Retention does not remove more than age and size
//     say: another program may have filled the disk.
//   - [Retention.Size] limits the events and webhooks in files. The log, up to 128 MiB of memory not yet in files, dedupe keys
//     (some 70 bytes each for DedupeAge), the versions of subjects, the quarantine, parked events, the states of groups, and data removed but not yet compacted come on top.
//   - Webhooks stay ten minutes longer than their events, and are removed by the time in their ids. A webhook that was received
//     while the clock was ahead stays until that time has passed.
//   - Seeking is exact only by reading from the first event committed at the given time, which is long where many events
//     are committed much later than they were received.
//   - A released webhook may be removed before its events, since its age counts from its receipt, and theirs from their commit.
//   - Of a connector's drift 500 kinds are told apart; more are counted by kind of difference alone. Retention removes none.
//   - While the folder recovers nothing can be read from it, not even durable data.
package pebble
