package vendorjson

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	optionsv1 "github.com/webhook-bridge/bridge/gen/bridge/options/v1"
)

// target is the destination of a value.
type target struct {
	*field
	// element is true for an element of a list, false for the whole field.
	element bool
	// start of the value in the text.
	start int
}

// readMessage reads the object at the cursor and appends its fields to out.
func (d *decoder) readMessage(t *table) *Error {
	bits := len(d.seen)
	for range t.words {
		d.seen = append(d.seen, 0)
	}
	guess := 0
	more, fault := d.enter('}')
	for more && fault == nil {
		var name []byte
		if name, fault = d.readKey(); fault != nil {
			return fault
		}
		if i := t.lookup(name, guess); i >= 0 {
			guess = i + 1
			word, bit := &d.seen[bits+i>>6], uint64(1)<<(i&63)
			if *word&bit != 0 {
				return d.duplicateError()
			}
			*word |= bit
			fault = d.readValue(&t.fields[i])
		} else {
			fault = d.skipUnknown()
		}
		if fault != nil {
			return fault
		}
		more, fault = d.nextItem('}')
	}
	if t.always != nil && fault == nil {
		d.reportAbsent(t, d.seen[bits:])
	}
	d.seen = d.seen[:bits]
	return fault
}

// skipUnknown skips and reports a field that the message does not declare. Its name was just read.
func (d *decoder) skipUnknown() *Error {
	name := d.name
	d.skipSpace()
	start := d.pos
	if fault := d.skip(); fault != nil {
		return fault
	}
	d.reportUnknown(name, start)
	return nil
}

// readValue reads the value of a field.
func (d *decoder) readValue(f *field) *Error {
	c := d.skipSpace()
	switch {
	case c == 'n':
		if f.always {
			d.reportMissing(f)
		}
		return d.readNull()
	case c == '[' && f.list:
		return d.readList(f)
	case f.list:
		return d.readUnwrapped(f, c)
	default:
		_, fault := d.readOne(target{field: f, start: d.pos}, c)
		return fault
	}
}

// readNull reads null, which means an absent field of any type.
func (d *decoder) readNull() *Error {
	if fault := d.countValue(); fault != nil {
		return fault
	}
	return d.readLiteral("null")
}

// readList reads a list. A null in it is left out and reported, because an element cannot be absent.
func (d *decoder) readList(f *field) *Error {
	if fault := d.countValue(); fault != nil {
		return fault
	}
	more, fault := d.enter(']')
	for more && fault == nil {
		c := d.skipSpace()
		t := target{field: f, element: true, start: d.pos}
		if c == 'n' {
			if fault = d.readNull(); fault == nil {
				d.reportType(t, optionsv1.JsonForm_JSON_FORM_UNSPECIFIED)
			}
		} else {
			_, fault = d.readOne(t, c)
		}
		if fault != nil {
			return fault
		}
		more, fault = d.nextItem(']')
	}
	return fault
}

// readUnwrapped reads one value where a list is declared.
func (d *decoder) readUnwrapped(f *field, c byte) *Error {
	t := target{field: f, start: d.pos}
	given, fault := d.readOne(t, c)
	if fault == nil && given {
		d.reportType(t, optionsv1.JsonForm_JSON_FORM_SINGLE)
	}
	return fault
}

// readOne reads one value that is not null. given is false for a value that means absent, such as an empty string for a number.
func (d *decoder) readOne(t target, c byte) (given bool, fault *Error) {
	if fault = d.countValue(); fault != nil {
		return false, fault
	}
	if t.form == formVerbatim {
		return true, d.readVerbatim(t)
	}
	switch c {
	case '"':
		s, malformed := d.readString()
		if malformed != nil {
			return false, malformed
		}
		return d.fromString(t, s)
	case '{':
		if t.form != formMessage {
			return false, d.shapeError(t, "is an object")
		}
		return true, d.readNested(t)
	case '[':
		return false, d.readEmptyList(t)
	case 't':
		if fault = d.readLiteral("true"); fault != nil {
			return false, fault
		}
		return true, d.fromBool(t, true)
	case 'f':
		if fault = d.readLiteral("false"); fault != nil {
			return false, fault
		}
		return true, d.fromBool(t, false)
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		n, malformed := d.readNumber()
		if malformed != nil {
			return false, malformed
		}
		return true, d.fromNumber(t, n)
	default:
		return false, d.unexpectedByte("a value")
	}
}

// readVerbatim copies the text of a value. Nothing more of the value is declared.
func (d *decoder) readVerbatim(t target) *Error {
	if fault := d.skip(); fault != nil {
		return fault
	}
	d.putBytes(t.field, d.data[t.start:d.pos])
	return nil
}

// nestedLength is the size of a nested message's length, in bytes. The length is known only after the message is written, so
// its size is fixed: protobuf allows a varint to be longer than necessary.
const nestedLength = 4

// readNested reads an object into a field.
func (d *decoder) readNested(t target) *Error {
	d.out = protowire.AppendVarint(d.out, t.tag)
	start := len(d.out)
	d.out = append(d.out, make([]byte, nestedLength)...)
	d.pushFrame(t)
	if fault := d.readMessage(t.message); fault != nil {
		return fault
	}
	d.frames = d.frames[:len(d.frames)-1]
	n := len(d.out) - start - nestedLength
	length := d.out[start : start+nestedLength]
	length[0], length[1], length[2], length[3] = byte(n)|0x80, byte(n>>7)|0x80, byte(n>>14)|0x80, byte(n>>21)
	return nil
}

// readEmptyList reads `[]`, which some languages write for an empty object or for an absent value.
func (d *decoder) readEmptyList(t target) *Error {
	if t.form == formString || t.form == formBytes {
		return d.shapeError(t, "is a list")
	}
	more, fault := d.enter(']')
	if fault != nil {
		return fault
	}
	if more {
		return d.shapeError(t, "is a list")
	}
	d.reportType(t, optionsv1.JsonForm_JSON_FORM_EMPTY)
	return nil
}

// fromString reads a string as a value of any form but verbatim.
func (d *decoder) fromString(t target, s []byte) (given bool, fault *Error) {
	switch t.form {
	case formString:
		d.putBytes(t.field, s)
		return true, nil
	case formBytes:
		return true, d.fromBase64(t, s)
	}
	form := optionsv1.JsonForm_JSON_FORM_STRING
	trimmed := bytes.Trim(s, " \t\r\n")
	if len(trimmed) != len(s) {
		form = optionsv1.JsonForm_JSON_FORM_UNSPECIFIED
	} else if len(s) == 0 {
		form = optionsv1.JsonForm_JSON_FORM_EMPTY
	}
	if len(trimmed) == 0 {
		d.reportType(t, form)
		return false, nil
	}
	if !d.parseText(t, trimmed) {
		return false, d.shapeError(t, "is another string")
	}
	// A decimal or an enumeration is normally a string.
	switch native := t.form == formDecimal || t.form == formEnum; {
	case t.form == formDecimal && !isDecimal(trimmed):
		d.reportType(t, optionsv1.JsonForm_JSON_FORM_UNSPECIFIED)
	case !native || len(trimmed) != len(s):
		d.reportType(t, form)
	}
	return true, nil
}

// parseText parses the text of a string. It returns false if the text is not a value of the field.
func (d *decoder) parseText(t target, s []byte) bool {
	switch t.form {
	case formDecimal:
		if !isDecimal(s) && !isPrinted(s) {
			return false
		}
		d.putDecimal(t.field, s)
		return true
	case formBool:
		yes, ok := boolOf(s)
		if ok {
			d.putBool(t.field, yes)
		}
		return ok
	case formEnum:
		return d.putEnumName(t.field, s)
	case formNumber:
		return d.putNumberText(t.field, s)
	default:
		return false
	}
}

// fromNumber reads a number as a value of any form but verbatim.
func (d *decoder) fromNumber(t target, n []byte) *Error {
	switch t.form {
	case formNumber:
		if !d.putNumber(t.field, n) {
			return d.newError(CodeShape, t.start, "does not fit "+t.kind.String())
		}
		return nil
	case formDecimal:
		d.putDecimal(t.field, n)
		return nil
	case formString:
		d.putBytes(t.field, n)
	case formBool:
		if len(n) != 1 || n[0] > '1' {
			return d.shapeError(t, "is a number other than 0 and 1")
		}
		d.putBool(t.field, n[0] == '1')
	case formEnum:
		if !d.putEnumNumber(t.field, n) {
			return d.newError(CodeShape, t.start, "does not fit "+t.kind.String())
		}
		return nil
	default:
		return d.shapeError(t, "is a number")
	}
	d.reportType(t, optionsv1.JsonForm_JSON_FORM_NUMBER)
	return nil
}

// fromBool reads a bool as a value of any form but verbatim. For a number the form must be expected: false as an amount of
// money does not surely mean zero.
func (d *decoder) fromBool(t target, yes bool) *Error {
	number := "0"
	if yes {
		number = "1"
	}
	expected := t.accepts>>optionsv1.JsonForm_JSON_FORM_BOOL&1 != 0
	switch {
	case t.form == formBool:
		d.putBool(t.field, yes)
	case t.form == formString:
		d.putBytes(t.field, d.data[t.start:d.pos])
		d.reportType(t, optionsv1.JsonForm_JSON_FORM_BOOL)
	case t.form == formNumber && expected:
		d.putNumber(t.field, []byte(number))
	case t.form == formDecimal && expected:
		d.putDecimal(t.field, []byte(number))
	default:
		return d.shapeError(t, "is a bool")
	}
	return nil
}

// shapeError returns an error about a value that the field cannot have.
func (d *decoder) shapeError(t target, what string) *Error {
	return d.newError(CodeShape, t.start, fmt.Sprintf("%s where %s is declared", what, noun[t.form]))
}
