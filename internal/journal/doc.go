// Package journal is the contract of Bridge's durable, ordered log of webhooks and of the events made of them.
//
// It holds types, errors, interfaces and this specification, and no engine. Package pebble is the engine that keeps the
// log in a folder on one disk. Package commit has the rules of identity, which all engines share. Package journaltest checks
// an engine against every sentence under Promises.
//
// # Terms
//
// An entry is one webhook with everything that becomes durable with it. A content is the two digests that an entry has: of
// the bytes that were received, and of what its events mean. A content that was committed under a key is alive until the
// key's window has passed since then. To commit is to make durable; an engine commits entries in groups.
//
// # Promises
//
// Durability:
//
//   - An entry whose append returned without an error survives every crash: its webhook, all its events, and its content
//     under each of its keys.
//   - An entry exists whole or not at all, also when its append returned an error.
//   - The entries of one AppendAll exist all, except duplicates, or none of them does.
//   - Everything that a reader was shown survives every crash, with the same content, at the same position. This holds for
//     events, bounds, positions that Seek found, webhooks, pages of webhooks, corrections, drift, parked events and gaps.
//   - Nothing is shown, and no append returns, before it is durable.
//   - Drift counts cover exactly the webhooks that were stored, each once, and the new drift of those that were released.
//
// Order:
//
//   - Positions start at 1 and are dense: one for each event, in the order of commit. The events of an entry are neighbours.
//   - A position that was acknowledged or shown never means another event: not after a crash, not after a failed write, and
//     not when retention has removed all events.
//   - Bounds never go back.
//
// Identity:
//
//   - A content is alive until the key's window has passed since it was committed, and not longer.
//   - An entry is a duplicate if one of its keys has a living content with the same bytes, or with the same meaning. No event
//     is added.
//   - A meaning of zero equals no other. Then bytes alone tell contents apart.
//   - An entry that is not a duplicate is a revision if one of its keys has a living content. Its events are added, and its
//     receipt says Revised.
//   - Every other entry is new.
//   - A received webhook that is a duplicate by meaning, and whose bytes none of its keys knows, is stored without events and
//     marked as a duplicate. Its receipt says Kept.
//   - Whatever the outcome, the content is recorded, with the time of the commit, under each key that has no living content
//     with the same bytes. A content that is known is not renewed.
//   - Nothing is recorded under a key that is LookupOnly.
//   - All of this holds for entries that arrive at the same instant, in any number of calls, and across crashes: the outcome
//     is that of the same entries one after the other.
//   - A duplicate is acknowledged when the entry that it repeats is durable. If that entry fails, the duplicate fails too.
//   - In an AppendAll each entry is decided as if those before it were committed.
//   - Under one key at least the 256 newest contents are known.
//
// Versions:
//
//   - An event whose entry gives a version of its subject is stale if a greater version of the subject is known. The stored event
//     then has the field stale, and the receipt counts it.
//   - Versions compare as sinks.CompareVersions says. An equal version is not stale.
//   - A version is known from the commit of its event on, in the order of positions: within an entry and an AppendAll, for entries
//     that arrive at the same instant, and across crashes.
//   - The versions of a subject are known until no event with one was committed for the window.
//   - The clock's rules hold for versions as they do for contents.
//   - Duplicates, and entries of an AppendAll that is ErrNotFound, make no version known.
//   - The events of a release and of a correction are compared, and make their versions known, like those of a webhook that is
//     received.
//
// Quarantine:
//
//   - A quarantined webhook leaves the quarantine once: it is released, or it is discarded. No reader sees it in both states
//     or in neither. Of several attempts at the same instant one succeeds. Every other release is ErrNotFound, and every
//     other Discard does not count it.
//   - A release that is a duplicate takes the webhook out of quarantine without events, and marks it as a duplicate.
//   - A correction of a webhook that is not stored, or is in quarantine, is ErrNotFound.
//   - If one entry of an AppendAll is ErrNotFound, nothing of that AppendAll happened, and its contents are not known.
//
// Epochs:
//
//   - Every opening of the log begins an epoch. So does a clock that was put back by more than a second.
//   - A mark can be resolved in every later state of the same log, until retention has removed the events at its position;
//     from then on it is ErrExpired.
//   - A log that was restored from an older copy refuses a mark of the state that was lost: ErrForked, or ErrFuture while the
//     log is shorter. It accepts a mark of a state that the copy contains.
//   - A mark without an epoch, from an older version, is checked against the bounds alone.
//
// The clock:
//
//   - Within an epoch time does not go back: a step back of up to a second is waited out.
//   - What was committed before the clock was put back counts as committed then, or when the clock was put back, whichever
//     reads earlier. So a content stays alive across a step back, and its window ends at the latest one window after it.
//   - What was committed while the clock was ahead counts as committed when the clock came back. What was committed before
//     keeps its age.
//   - CommittedAt never decreases with the position.
//   - Retention by age removes only what was old at two looks at the clock, a minute apart.
//
// Retention:
//
//   - Events older than the age that retention has are removed, the oldest first. Their webhooks and their corrections go with
//     them, or a little later.
//   - Nothing is removed that a registered reader has not passed, except for readers that said Skip, and for these only while
//     the storage is nearly full.
//   - A reader at a position that was removed gets ErrExpired, never a gap.
//   - Quarantined webhooks, released ones among them, are removed by an age of their own.
//
// Readers:
//
//   - A name has one holder at a time. Nothing that a claim does after it was lost takes effect: it is ErrLost.
//   - A claim is lost, at the latest, before another holder has the name, and when the reader is paused, moved or forgotten.
//   - A cursor that was saved is there after every crash. A reader that continues there misses no event.
//   - A cursor that an operator moved says so to every holder, until one of them saves it.
//   - A parked event stays until its reader unparks it, an operator discards it, or its retention ends. Its first time and
//     its history survive when it is parked again.
//   - The attempt of a retry changes nothing if the event is parked no more.
//   - A gap that was recorded twice is counted once.
//   - A note that a claim saved is there for every instance, and for the next holder of the name, while some instance runs.
//   - A replay survives every crash, with what its reader's holder saved of it. One that has ended never goes on.
//   - A pause, a move and a request survive every crash. A request stays until its reader carried it out.
//
// Groups:
//
//   - A definition, a state, a parked event, a reset and a requested retry that were acknowledged survive every crash. They are read at every instance.
//   - The changes that one SaveShares writes exist all, or none of them does.
//   - A share has one owner at a time. A write with an epoch or a version that the share no longer has changes nothing: no state, no
//     parked event.
//   - Of several writes at the same instant with one version, one succeeds.
//   - No two owners of a share have the same epoch, and no two states that were shown the same version, also across crashes.
//   - A session that is lost notices before another session can take its shares. An owner that went on all the same cannot write.
//   - Members and owners are gone with their session: when it closes, when its instance ends, and some seconds after its instance stopped.
//   - A session hears of what changed, at every instance.
//   - A group holds back no retention. Its parked events follow the rules for those of readers.
//   - A reset is whole: no state from before it is written after it.
//   - What is deleted is gone whole, with its dead letters. A group of the same name that is made later has epochs and versions that no earlier one had.
//   - What exceeds a limit is refused, and changes nothing.
//
// Replicas:
//
//   - Every instance that has the log open is listed, with the names that it holds and the counts that it reported last, at every
//     instance.
//
// Failures:
//
//   - When a write fails, appends get ErrUnavailable, readers stay where they are, and the log recovers by itself as soon as
//     the storage allows it. The process lives.
//   - Discard works while the storage is too full for appends.
//   - When the context of a call ends, the call returns its error, also while it waits.
//   - Close commits what is queued. Every call that waits, and every later one, gets sinks.ErrClosed.
//
// Archive:
//
//   - Continuing at the end of a page leaves out nothing and returns nothing twice.
//   - Newest returns when the newest stored webhook of each source was received. Pings are left out.
//
// Several instances, with an engine that allows them:
//
//   - All of this holds across instances: for what arrives at several of them at the same instant, and for what one commits and
//     another one shows.
//   - An instance may show less than another one, for a moment. What one instance acknowledged or showed is never ErrFuture at another one.
//   - An instance that stops holds up the others for some seconds at most.
//   - A holder that stopped loses its claim, and notices before another holder has the name. When it goes on, nothing that it does
//     through the claim takes effect.
//
// An engine may limit the log by size too. Its own documentation says how.
//
// # Not promised
//
//   - Contents under one key beyond the 256 newest may be forgotten before their window has passed.
//   - A content or a version whose window has passed may be alive, or known, again when the clock is put back behind the window's
//     end.
//   - An append that returned ErrUnavailable, or its context's error, may have been committed. Append it again: a duplicate
//     tells.
//   - The order of appends that overlap in time is any order.
//   - Commit order is not the order of receipt. The events of a released webhook, and corrections, come long after it. Where
//     the clock was put back, Seek may pass over events that were received just before and committed just after.
//   - A clock that is put forward for longer than a minute ages everything: windows end, and retention removes. A clock that
//     was put far back and forward again does the same to what was committed before.
//   - An event that retention removed may be there again after a crash that followed at once.
//   - A storage that loses what it confirmed breaks these promises. An engine says so when it notices.
//   - Nothing is encrypted.
package journal
