// Package signature makes and checks the signatures of webhooks: an HMAC (RFC 2104) over a request, with a secret that sender
// and receiver share.
//
// A [connectors.HMAC] is data that describes how a vendor signs. [Compile] makes a [Scheme] from it and the secrets, and
// reports all their problems. A receiver calls [Scheme.Precheck] with the headers alone, before it reads a byte of the body,
// and [Scheme.Verify] with the whole request. A sender calls [Scheme.Sign].
//
// # What a signature proves
//
// Someone who knows the secret signed the bytes that the scheme's template makes from this request, and from no request that
// differs in a signed value. There is one exception: two requests may sign the same bytes if the address of one (method, host,
// path or URL) ends with the beginning of the other's body. Values outside the template are not proved. Compile refuses a
// scheme that does not sign the body, that has a time and does not sign it, or that has a header's value next to another value
// without a separator. Verify refuses a request if a signed header contains the separator. Without a time, only the dedupe key
// limits how long a captured request may be sent again. With a time, it is valid as long as the time is, at most twice the
// tolerance.
//
// # Strangers
//
// Everything in a request may be hostile. A header that must occur once is malformed if it occurs twice. A signature's header
// has at most 8 KiB and 16 signatures, a time at most 16 digits. All secrets are tried with all signatures, so the time of a
// check reveals only their numbers and the body's length.
//
// # Secrets
//
// No error contains a secret, a signature, or a value from a request. Errors about a request name headers and the configured
// tolerance. Errors about a scheme quote no part of it.
package signature
