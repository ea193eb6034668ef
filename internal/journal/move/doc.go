// Package move copies a log from one engine to another, so that its readers and its senders notice nothing.
//
// The id of the log, the positions, the epochs, the contents under the dedupe keys, the versions of subjects, the webhooks, the corrections, the
// counts of drift, and the cursors, parked events, gaps and requests of the readers stay the same. So tokens stay valid, and a webhook that was a
// duplicate stays one.
//
// # Two phases
//
// Most of a log never changes once it is written: events, webhooks that were never in quarantine, and in effect keys and versions, which only get
// newer records. These are the growing kinds. They are copied while the source serves, in passes: the first pass copies everything, each later one
// the records since. A [Stamp] says how far a complete pass came.
//
// The other kinds change and are small. They are copied at the end, when no instance uses the source: first the growing kinds' last records, then
// the others as a whole. Then [Run] compares the two places. Only if they are equal it marks the source as moved, and the target as complete.
//
// # Interruptions
//
// Records are written by their keys, so a record may be written twice. The target has a [Note], written with the records, that says how far the
// copy is. A run that finds a note goes on from there, also with a newer state of the source.
//
// The note also keeps the target closed: an engine does not open a log whose copy is not complete, nor one that has moved away. The order at the
// end is: the note says that the copy was compared; the source is marked; the target is opened. So at no time can both be used. A run that finds
// the source marked, and the target compared in the same run, only opens the target.
//
// # Comparison
//
// Of events, webhooks, quarantined webhooks and corrections the two places must give the same records, by number and by a hash over each 100,000 positions, or records.
// What a pass copied is compared at its end, so the last comparison, during the standstill, covers only the last records. Of keys and versions each
// record of the source must be found in the target: a target may have more of them, whose windows have passed.
//
// A source whose tail is not the one that was copied, because a loss was accepted or a standby without it took over, is recognized by its epochs.
// Then the target must be emptied, and the copy begins again.
//
// # Limits accepted
//
//   - Losses that an operator accepted leave positions without events. Such a log can be moved once retention has passed them.
//   - Between two passes retention may remove old records from the source. The target keeps them until its own retention does.
package move
