// Package signature makes and checks the signatures of webhooks: an HMAC (RFC 2104) over a request, with a secret that
// sender and receiver share.
//
// How a vendor signs is a [connectors.HMAC], which is data. [Compile] turns it and the secrets into a [Scheme], and reports
// everything that is wrong with them. A receiver calls [Scheme.Precheck] with the headers alone, before it reads a byte of
// the body, and [Scheme.Verify] with all of the request; a sender calls [Scheme.Sign].
//
// # What a signature proves
//
// That someone who knows the secret signed these bytes. A scheme that does not sign the body, or that has a time and does
// not sign it, proves less than it seems to and is not compiled. Without a time, nothing but the dedupe key bounds how long
// a captured request may be sent again.
//
// # Strangers
//
// Everything in a request may be hostile. A header that must be there once and comes twice is malformed, a signature's
// header has at most 8 KiB and 16 signatures, a time at most 16 digits. All secrets are tried against all signatures, so
// that how long a check takes tells their numbers and the body's length, and nothing else.
//
// # Secrets
//
// No error holds a secret, a signature, or anything else that came with a request or out of a configuration.
package signature
