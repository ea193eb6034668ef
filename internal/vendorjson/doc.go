// Package vendorjson decodes the JSON that vendors really send into the messages that their documentation promises.
//
// It uses descriptors, reads the text once, and has a table for each message type, built at first use. It differs from
// protojson where vendors differ from their documentation:
//
//   - A byte order mark before the document, which .NET often sends, is skipped. Offsets include it.
//   - Undeclared fields, at any depth, are skipped and reported.
//   - A value in another form is read: a string for a number, a number for a string, "true", "Yes" or 1 for a bool, null
//     anywhere, one object for a list, an empty string for an absent number. It is reported too, unless the field's option
//     bridge.options.v1.field declares the form as expected.
//   - null, like an absent field, is not reported, unless the field is marked `always`. In a list it is left out and reported.
//   - Spaces around a number or a word in a string are dropped and reported, also if the field expects a string.
//   - An empty string or an empty list stands for an absent number, bool or object. For a string, an empty string is a
//     value and a list is refused.
//   - A bool is read as a string. It is read as a number only if the field expects it, because false as an amount of money has
//     no sure meaning.
//   - google.type.Decimal is read from a number or a string with every digit, without a float. A string with a printed number, such
//     as "$1,234.00", is copied as it is and reported: package connectors reads it.
//   - A string field marked `verbatim` gets the text of any JSON value but null, byte for byte.
//
// A field has exactly its JSON name. Unlike in protojson, its name in the schema is not accepted: that name is Bridge's own,
// and a vendor that uses it means another field, which is unknown (KASA FIK has both _v and v).
//
// It reports a [Drift] for each field: the vendor's change is visible, and no webhook is lost.
//
// # Undeclared parts
//
// An undeclared part is a field that its message does not declare, with all that its value holds, or the value of a field marked
// `verbatim`. RFC 8259's grammar decides alone whether it can be read. So it may be nested to any depth and have any number of
// values, names that are there twice, numbers of any size, and half of a surrogate pair in a string or a name. A field that is
// not declared may itself be there twice. Only the size of the document bounds the work, and the memory is a bit for each level.
// Bytes that are not UTF-8 are no characters of the grammar: they are refused everywhere.
//
// # Declared parts
//
// A declared part must be read exactly. The decoder refuses, with an [*Error] that has JSON path and byte offset: malformed JSON,
// anything but one object, data after it, a declared field that is there twice, half of a surrogate pair in a declared string,
// nesting deeper than [MaxDepth], more than [MaxValues] values, numbers that do not fit their field, and values without a meaning
// for their field. It also refuses an empty body. No error is or wraps io.EOF, because the generated gateway treats that as an
// empty, valid message.
//
// After an error the message is in an unspecified state. A decoder's memory is pooled, and never affects the result of another
// document.
package vendorjson
