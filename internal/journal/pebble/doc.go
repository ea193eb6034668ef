// Package journal is Bridge's durable, ordered log of webhooks and the canonical events made of them, on one local disk.
// It is one folder with a Pebble store. One process has it open. This comment is its specification.
//
// # Promises
//
// Each is held by the tests named.
//
//   - An append that returned without an error is there after any crash: the webhook, all its events, and the dedupe key.
//     (TestCrash: the power goes before every write, sync, creation, renaming and removal.)
//   - An entry is there whole or not at all, also one whose Append returned an error, and of entries appended at once all
//     are there or none. (TestCrash, TestFailedWrite, TestAppendAllOrNone)
//   - A quarantined webhook leaves the quarantine once, released or discarded: it is never there in both states, nor in
//     neither. (TestOneWayOut, TestCrash, TestFailedWrite)
//   - Drift counts are those of exactly the webhooks that were added: what a crash took was not counted, nor anything
//     twice. (TestDrift, TestCrash, TestFailedWrite)
//   - What any reader was given is there after any crash, at the same position: [Journal.Read], [Journal.Bounds],
//     [Journal.Seek], [Journal.Webhook], [Journal.Find] and the lists show nothing whose sync has not ended well. (TestCrash,
//     TestFailedWrite, TestUnsyncedIsUnseen)
//   - Positions start at 1 and are dense, one an event, in commit order. One that was acknowledged or shown never means
//     another event, also not after a crash, a failed sync, or when retention took all events. (TestCrash,
//     TestFailedWrite, TestRetentionByAge)
//   - Of several entries with one key within the window, at the same instant or days apart, in one process or
//     across a crash, one is added. The others are acknowledged once that one is durable, or fail with it.
//     (TestDuplicatesAtOnce, TestUnsyncedIsUnseen, TestCrash) With another body they are ErrRevised. (TestRevisedAtOnce)
//     When the window has passed the key is new. (TestWindow)
//   - When a write fails, of whatever file, in the foreground or not, appends get ErrUnavailable, readers stay where they
//     are, and the journal recovers by itself as soon as the disk lets it. The process lives. (TestFailedWrite)
//   - Retention takes nothing that a registered cursor has not passed, but for cursors that said [Skip], and those only
//     while less than Config.MinFree is free. (TestCursorsHoldRetention) A reader whose position was taken gets
//     ErrExpired, never a gap. (TestReadDuringRetention)
//
// # Not promised
//
//   - An append that returned an error, ErrUnavailable or its context's, may have been committed. Appending it again tells.
//   - Commit order is the order in which appends were queued, not that in which webhooks were received. Appends that
//     overlap in time are in any order.
//   - Events carry the time of receipt, which is not monotonic by position; see [Journal.Seek]. Those of a released
//     webhook, and corrections, come long after it.
//   - An event that retention gave up may be there again after a crash that came right after.
//   - The journal does not protect against a disk that loses what it confirmed. It says so when it notices, on recovery
//     within one process, and does not use lost positions again.
//   - Nothing is encrypted, and nothing is copied to another machine; see [Journal.Checkpoint].
//
// # How an entry is committed
//
// Append encodes the webhook and its events in the caller's goroutine and queues them. One committer takes what waits, up
// to the append that makes it 1,024 entries or 4 MiB, decides which are duplicates, gives positions, and applies one Pebble
// batch without waiting for its sync. A second goroutine waits for the syncs, in order; then, and only then, it moves the
// durable position and answers the group. Up to two groups wait for their syncs; the next fills up meanwhile.
//
// What Pebble applied is visible in it before its sync ends, and would be if that failed. So readers stop at the durable
// position, and lookups by id wait until all that was visible when they looked is durable.
//
// The committer knows duplicates from three places: the keys of the group that it is building, from a map; all that was
// applied, from Pebble, which it asks only if the filter says "perhaps"; and the filter, in memory, one Bloom filter for up
// to 8 hours of keys or 2 million of them. A duplicate joins the group that is built when it comes, and is so answered
// after the sync of the entry that it repeats, since syncs end in order and the first to fail fails all behind it. After
// a start the filter is read from disk behind the scenes, the newest hours first; the keys of hours not read yet are always
// looked up.
//
// What releases, corrects or discards is rare, and goes through the committer too: it looks the webhook up in Pebble, so
// that of two who take one out of quarantine the second finds it gone.
//
// The committer has all drift counts in memory. It adds what a group's new webhooks differ in, and writes the counts that
// have changed into the group's batch. A webhook without drift takes no part in that.
//
// # On disk
//
// Keys start with a byte that says what they are. Numbers are big-endian.
//
//	c<name>                      → position (8), Unix nanoseconds of the last save (8): a cursor
//	d<hour (4)><turn (2)><key (16)> → Unix nanoseconds (8), body (16): a dedupe key, by the hour since 1970 it was added in,
//	                               and by turns of 262,144 keys within the hour
//	e<position (8)>              → Unix nanoseconds of the commit (8), bridge.event.v1.Event: an event
//	f<number (4)>                → bridge.journal.v1.DriftCount: a count of drift, numbered as they were first seen
//	g<sink>NUL<from (8)>         → bridge.journal.v1.Gap: positions that a sink was not given
//	mformat                      → version of this layout (4)
//	mid                          → the journal's identity, 32 hexadecimal digits
//	mkept                        → first position kept (8), Unix milliseconds of the first webhook kept (8), and of the
//	                               first quarantined one (8)
//	p<sink>NUL<position (8)>     → bridge.journal.v1.Parked: an event that a sink refused for good
//	q<id (16)>                   → as w, a webhook in quarantine, or released from there
//	w<id (16)>                   → first position (8), number of events (4), bridge.journal.v1.Webhook: a webhook
//	x<w or q><id (16)><first (8)> → bridge.journal.v1.Correction: events from that position on correct this webhook's
//
// f and x are younger than the rest. A folder without them is as valid, so the version is the same.
//
// Ids are version 7 UUIDs, so webhooks lie in order of receipt. One that is released stays where it is, for as long as the
// quarantined are kept, and corrections lie as their webhooks do, so that both go at the same time. What is known only at
// commit, positions and its time, is a fixed header in front of the message, so that nothing is encoded under the
// committer. The header's numbers are what counts; first_position and event_count within the message are not. Commit times
// never decrease with the position, also when the clock is put back. Everything that goes by age goes by one range of keys.
//
// Bodies of 256 bytes and more lie in Pebble's value files, apart from the keys, so that compactions leave them alone.
//
// # Recovery
//
//  1. Take the folder's lock, or fail with ErrLocked. It is held until Close, across all of the following.
//  2. Refuse a folder that a newer Pebble or a newer layout wrote: ErrNewerFormat.
//  3. Let Pebble replay its log. It writes what it replayed to tables and syncs those before it is open. So all that is
//     seen now is durable.
//  4. Read the drift counts. The next position is the greatest of: the last event's plus 1, mkept, and what this process has shown before.
//  5. The dedupe hours that have keys are unknown to the filter, which is then read from disk while appends go on.
//
// A failed write is treated as a crash. All of Pebble's writes pass through a fence: the first that fails freezes the
// folder as it is, and from then on the fence pretends to write, so that Pebble neither panics nor writes on behind a hole.
// All who wait get ErrUnavailable, the store is closed, and recovery starts at step 2, again and again, 50 ms to 10 s
// apart, until it succeeds.
//
// # Limits accepted
//
//   - One disk, one process, one writer goroutine.
//   - The filter takes at most 48 MiB: 25 million keys at full precision. Beyond that it forgets precision, never keys, and
//     appends ask Pebble more often. Keys of more than 100 million within [Config.DedupeAge] are where that is felt.
//   - While the filter is read after a start, an append with a long window costs a lookup for every hour, or turn, not yet read.
//   - A disk under MinFree takes nothing until it has room, and only discards go on. Retention does not give up more than
//     age and size say to make that room: who filled the disk may well be someone else.
//   - [Retention.Size] is about events and webhooks in files. The log, up to 128 MiB of memory not yet in files, dedupe keys
//     (some 50 bytes each for DedupeAge), the quarantine, what sinks have parked, and what is given up but not yet compacted
//     come on top.
//   - Webhooks stay ten minutes longer than their events, and are taken by the time in their ids.
//   - Seeking is exact only by reading from the first event committed at the given time, which is long where many events
//     are committed much later than they were received.
//   - A released webhook may go before its events do, since it goes by the time of its receipt, and those by theirs.
//   - Of a connector's drift 500 kinds are told apart; more are counted by kind of difference alone. Retention takes none.
//   - While the folder recovers nothing can be read from it, also not what is durable.
package pebble
