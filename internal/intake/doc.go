// Package intake takes in a received webhook, whoever brought it: the gateway, a typed call, or a later translation. It has
// the connector translate it, gives it its identity, and makes webhook, events and dedupe key durable at once.
//
// # Outcomes
//
// A webhook handed to an [Intake] ends in one of these ways:
//
//   - [Accepted]: webhook and events are durable.
//   - [Duplicate]: they were already, from an earlier receipt; nothing was added.
//   - [Quarantined]: it could not be translated. The webhook is durable, with reason and place, and made no event.
//   - a [*Fault]: it could not be translated, the webhook itself is at fault, and the source refuses such webhooks instead
//     of keeping them.
//   - [ErrUnavailable]: the journal cannot commit now. The webhook exists whole or not at all; its retry is safe.
//
// A webhook of a [Batch] is [Collected] or refused, and ends in one of these ways when the batch is committed, all of which
// become durable at once or not at all.
//
// There is no other way: what a connector does, a panic included, never loses a webhook and never ends the process.
//
// # Identity
//
// A webhook is a duplicate if one of the same source and the same event was taken in under the same key, within the key's
// window:
//
//   - A natural key counts for [NaturalWindow]. Event ids are name-based UUIDs over source, event, key and index, so that
//     the same fact has the same id wherever it is computed. The same key with another body is a revision: it is
//     published, under ids that include the body.
//   - Where the vendor sends an id of the webhook in a header, that is the natural key, whatever the connector says of the
//     event. The webhooks of a batch share it, so their places in the batch are part of the key.
//   - Without one the body is the key, for the connector's window. Event ids are then name-based UUIDs over the webhook's
//     id, which is minted at first receipt.
//   - Quarantined webhooks go by body too, under keys of their own: the same body, sent again once the connector was
//     mended, is taken in. The vendor's own id keeps apart those with the same body.
//
// # Again
//
// What is stored is translated again by the same rules. [Intake.Release] takes a webhook out of quarantine: under a natural
// key it is the fact that it would have been at receipt, a duplicate if that was published meanwhile; without one it is a
// fact of its own. [Intake.Retranslate] corrects what became events: a correction's id is a name-based UUID over the event
// that it supersedes and what it says instead, so that it is published once however often it is found.
package intake
