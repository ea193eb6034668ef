// Package encoding undoes the content encodings of webhooks. The HTTP edge calls it for a webhook that arrives, and package
// intake for one that is retried from quarantine. So both read the same webhooks.
//
// # Names
//
// [Parse] reads the values of Content-Encoding headers. A name may be in any case, and elements may be empty.
//
//	gzip, x-gzip         RFC 1952, one member or several
//	deflate, x-deflate   RFC 1950 (zlib); RFC 1951 (raw) is read too, because senders confuse the two
//	br                   RFC 7932, with a window of at most 16 MiB
//	zstd                 RFC 8878, one frame or several, with a window of at most 8 MiB (RFC 9659)
//	aws-chunked          the frames of Amazon S3, if the body has them; the signatures in them are not checked
//
// A name that encodes no bytes is ignored. Some are identity and none, charsets such as utf-8, media types, and the transfer
// encodings 7bit, 8bit, binary and chunked. Any other name is [ErrUnknown], and so are more than [MaxLayers] encodings.
//
// # Data
//
// Encodings are undone in reverse order. For each of them:
//
//   - Data that begins as JSON text is not encoded: a proxy has decoded the body and left the header. The encoding is skipped.
//     The same is true of no data at all.
//   - Data under gzip or deflate are read as the format that their first bytes show: senders confuse these names as well.
//   - Data that end early, bytes after the end, and a wrong checksum are [ErrCorrupt].
//
// # Limits
//
// The result of each encoding is limited, not only the last one: more is [ErrTooLarge]. No result is held in memory except the
// last one, which the caller stores. Encodings with a large window are undone a few at a time, because a body of some bytes can
// ask for a window of megabytes. A body that waits too long for its turn is [ErrBusy].
package encoding
