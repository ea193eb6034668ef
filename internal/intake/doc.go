// Package intake is the one path from a webhook to the journal. The HTTP edge, the typed gRPC calls, the repair of stored
// webhooks and the kit for connectors all use it.
//
// # Steps
//
//		Delivery ──read──▶ Reading ──draft──▶ Draft ──Commit──▶ journal
//
//	  - Read finds the JSON document, finds the event's name, decodes the document and has the connector translate it. The
//	    result is a [Reading]: a translation, or a [Fault] with what could be read until then. Read changes nothing, and the
//	    same webhook gives the same reading next year.
//	  - A draft is the journal's entry for one webhook: the webhook, its events in their final encoding, its keys, and the
//	    digests of its bytes and of its meaning. Making it changes nothing either. An array of webhooks makes one draft for
//	    each of them.
//	  - [Intake.Commit] makes one or many drafts durable at once, in one append.
//
// A connector's panic, or a decoder's failure, is an internal error: a fault like any other that is never rejected. It never
// loses a webhook and never ends the process.
//
// # Outcomes
//
// A webhook ends in one of these ways:
//
//   - [Accepted]: webhook and events are durable.
//   - [Duplicate]: an earlier webhook told the same, and it is durable. No event was added.
//   - [Ping]: it tells no fact. The webhook, or one like it that came shortly before, is durable, and made no event.
//   - [Quarantined]: it could not be read. The webhook is durable, with reason and place, and made no event.
//   - a [*Fault]: it could not be read, the webhook itself is at fault, and its source rejects such webhooks.
//   - [ErrUnavailable]: the journal cannot commit now. The webhook exists whole or not at all. Sending it again is safe.
//   - any other error: the entry broke the journal's rules, which is an internal error.
//
// # Identity
//
// docs/guarantees.md has the rule, and package journal decides by it. This package makes the keys, the digests and the ids.
//
// Keys are scoped by source, event and kind:
//
//   - The connector's natural keys, Key and then Also, count for [NaturalWindow]. So does the delivery's id that the connector's KeyHeader names,
//     beside them. The elements of an array share that id, so their places in the array are part of the key.
//   - If the connector has no natural key and there is a delivery's id, that id is the only key.
//   - If there is neither, the body's hash is the key, for the window of the source or of its connector.
//   - A quarantined webhook has the body's hash as its key, of a kind of its own, together with the delivery's id. So the same
//     body is read again once the connector can read it, and two deliveries that broke in the same way are both kept.
//   - A ping has its name as its key, of a kind of its own, and as its content.
//   - A webhook that is released from quarantine has the keys that it would have at receipt. Instead of the body's hash it has
//     its own id, because it was kept apart.
//
// The meaning is the digest of the events in a deterministic encoding, as the connector made them: type, subject, its version,
// time and data. Unmapped and quarantined webhooks have none.
//
// An event's id is a UUID of version 5. Under a natural key or a delivery's id it is a function of source, event, the first
// key, the digest of the canonical encodings and the event's index. So an id never names two contents. The same fact has the
// same id at every receipt, for one version of the connector and one configuration of the source. Under any other key the id
// is a function of the webhook's id and the index.
package intake
