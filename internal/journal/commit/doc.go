// Package commit is the part of committing that all engines of the journal share: the queue of appends, their grouping, the
// decision on each entry, and the answer.
//
// # How an engine uses it
//
// A [Queue] implements [journal.Writer]. It encodes an entry in the caller's goroutine and queues it as a [Pending]. The
// engine's committer, a single goroutine, does for each group:
//
//  1. [Queue.FillGroup] moves queued calls into a [Group], up to 1,024 entries or 4 MiB.
//  2. The engine looks up the contents under the entries' keys, and the webhooks that entries release, correct or discard.
//     That is the group's [Known].
//  3. [Group.Decide] calls [Decide] and assigns positions.
//  4. The engine writes what the [Plan] says, in one atomic step.
//  5. When that is durable, [Group.Answer] returns the receipts to the callers.
//
// # The rules
//
// [Decide] holds every rule of identity and of the quarantine, as package journal specifies them. It is a function of the
// group and of what the storage knew before: it reads no clock, calls no storage and keeps nothing. So a table and a fuzz
// test cover the rules, and engines cannot differ in them.
package commit
