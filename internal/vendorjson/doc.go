// Package vendorjson decodes what vendors really send into the messages that their documentation promises.
//
// It is driven by descriptors, reads the text once, and keeps a table per message type, built on first use. It differs
// from protojson where vendors differ from their pages:
//
//   - A byte order mark before the document, which .NET likes to send, is skipped. Offsets count it.
//   - Unknown fields, at any depth, are skipped and reported.
//   - A string where a number is declared, a number where a string is, "true", "Yes" or 1 for a bool, null anywhere, one
//     object where a list is declared, an empty string for an absent number, are read. They are reported too, unless the
//     field's option bridge.options.v1.field says that they are expected.
//   - null, like an absent field, is no report, unless the field is marked `always`. In a list it is left out and reported.
//   - Spaces around a number or a word in a string are dropped and reported, whatever the field expects.
//   - An empty string or an empty list stands for an absent number, bool or object. For a string, an empty string is a
//     value and a list is refused.
//   - A bool is read as a string, but as a number only where the field expects it: what false says of money is not sure.
//   - google.type.Decimal is read from a number or a string, keeping every digit; a float is never involved.
//   - A string field marked `verbatim` takes any JSON value but null as it stands.
//
// A field is called by its JSON name, exactly. Its name in the schema is no other name for it, as it is for protojson: that
// name is ours, and a vendor that uses it means a field of its own, which is unknown (KASA FIK's _v is one thing, v another).
//
// What it reports is a [Drift] per field: the vendor's change is visible and costs no webhook.
//
// It refuses, with an [*Error] that names JSON path and byte offset: malformed JSON, anything but one object, data after
// it, duplicate keys, invalid UTF-8, nesting deeper than [MaxDepth], more than [MaxValues] values, numbers that do not
// fit their field, and values that no reading makes sense of. An empty body is such an error too. No error is or wraps
// io.EOF, because the generated gateway takes that for an empty, valid message.
//
// A message that failed to decode is in an unspecified state. A decoder's working memory is pooled and never shows in
// another document's result.
package vendorjson
