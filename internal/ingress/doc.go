// Package ingress is the edge that faces vendors: it finds the source, checks who is calling, bounds what a call may cost,
// finds the event's name, has the connector's generated gateway decode the body, and answers when, and only when, the
// webhook is durable.
//
// # Paths
//
//	/webhooks/{source}[/{event}]
//	/webhooks/{source}/t/{token}[/{event}]
//
// The second form is for sources that authenticate by path token, and only for them. A slash at the end is accepted;
// no path redirects, since vendors do not follow redirects.
//
// # Order of checks
//
// Source, method and secret are checked before the first byte of the body is read, so that unauthorized senders cost nothing.
// Rate, quota and the memory budget come after, so that unauthorized senders cannot use them up. When the body is read, the
// sender may close the connection: the webhook is processed under Bridge's own deadline. A large webhook waits for its turn
// first, since it needs many times its size in memory.
//
// A signature can only be verified with the body. Checks that need only the headers come before it. Then the body is read within
// the budget for unverified bodies, and verified as it came over the wire, before it is decompressed or decoded. The signature
// covers the URL that the sender called: where a proxy changes that URL, the configuration has its beginning.
//
// # Bodies
//
// A body is JSON, unless the connector describes another form: a form whose field has the JSON, text that the connector
// normalizes, or an array of webhooks. The webhooks of an array are read one by one and made durable in one step. The event's
// name is in the body, the URL or a header; if several of them name it, they must agree. A body is stored as received, without its
// content encoding. Package encoding says which encodings are undone.
//
// # Pings and handshakes
//
// docs/receiving.md describes both. Package intake recognizes pings, and the edge answers them. A handshake is answered before
// anything is verified, except for a path token, and only if the connector declares it.
//
// # Answers to a verified sender
//
// Success for every durable webhook, also for a quarantined one. A webhook whose content encoding cannot be decoded, because it
// is corrupt or unknown, is quarantined as received. So are a form without its field, and an array that is no batch of
// webhooks. If the source refuses undecodable webhooks, the answer is 400, unless the cause is an internal error. A body that is
// too large is answered 413, one that does not arrive 408 or 400, too many requests or bytes 429. An internal error is answered
// 503 with Retry-After, never with a 4xx.
//
// # The gateway
//
// Every decoded webhook passes the handler that grpc-gateway generated for its RPC. The handler's call ends in a connection that
// keeps the message and returns: decoding stores nothing. The generated code gets a request that Bridge makes. It has only the
// sender's body: not its header, query, path or method.
package ingress
