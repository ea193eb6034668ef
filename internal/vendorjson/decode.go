package vendorjson

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	optionsv1 "github.com/webhook-bridge/bridge/gen/bridge/options/v1"
)

// target is where a value goes to.
type target struct {
	*field
	// element is true for an element of a list, false for the whole field.
	element bool
	// start of the value in the text.
	start int
}

// message reads the object at the cursor and appends its fields to out.
func (d *decoder) message(t *table) *Error {
	bits := len(d.seen)
	for range t.words {
		d.seen = append(d.seen, 0)
	}
	scope := d.keys.open()
	guess := 0
	more, fault := d.begin('}')
	for more && fault == nil {
		var name []byte
		if name, fault = d.key(); fault != nil {
			return fault
		}
		if i := t.lookup(name, guess); i >= 0 {
			guess = i + 1
			word, bit := &d.seen[bits+i>>6], uint64(1)<<(i&63)
			if *word&bit != 0 {
				return d.duplicate()
			}
			*word |= bit
			fault = d.value(&t.fields[i])
		} else {
			fault = d.unknown(&scope, name)
		}
		if fault != nil {
			return fault
		}
		more, fault = d.more('}')
	}
	if t.always != nil && fault == nil {
		d.reportAbsent(t, d.seen[bits:])
	}
	d.keys.close(scope)
	d.seen = d.seen[:bits]
	return fault
}

// unknown skips and reports a field that the message does not declare.
func (d *decoder) unknown(s *scope, text []byte) *Error {
	name := d.name
	if fault := d.addKey(s, text); fault != nil {
		return fault
	}
	d.space()
	start := d.pos
	if fault := d.skip(); fault != nil {
		return fault
	}
	d.reportUnknown(name, start)
	return nil
}

// value reads what a field holds.
func (d *decoder) value(f *field) *Error {
	c := d.space()
	switch {
	case c == 'n':
		if f.always {
			d.reportMissing(f)
		}
		return d.null()
	case c == '[' && f.list:
		return d.list(f)
	case f.list:
		return d.alone(f, c)
	default:
		_, fault := d.single(target{field: f, start: d.pos}, c)
		return fault
	}
}

// null stands for a field that is absent, whatever its type.
func (d *decoder) null() *Error {
	if fault := d.count(); fault != nil {
		return fault
	}
	return d.literal("null")
}

// list reads a list. A null in it is left out and reported: there is no element that is absent.
func (d *decoder) list(f *field) *Error {
	if fault := d.count(); fault != nil {
		return fault
	}
	more, fault := d.begin(']')
	for more && fault == nil {
		c := d.space()
		t := target{field: f, element: true, start: d.pos}
		if c == 'n' {
			if fault = d.null(); fault == nil {
				d.differs(t, optionsv1.JsonForm_JSON_FORM_UNSPECIFIED)
			}
		} else {
			_, fault = d.single(t, c)
		}
		if fault != nil {
			return fault
		}
		more, fault = d.more(']')
	}
	return fault
}

// alone reads one value where a list is declared.
func (d *decoder) alone(f *field, c byte) *Error {
	t := target{field: f, start: d.pos}
	given, fault := d.single(t, c)
	if fault == nil && given {
		d.differs(t, optionsv1.JsonForm_JSON_FORM_SINGLE)
	}
	return fault
}

// single reads one value, not null. given is false for what stands for nothing, such as an empty string for a number.
func (d *decoder) single(t target, c byte) (given bool, fault *Error) {
	if fault = d.count(); fault != nil {
		return false, fault
	}
	if t.form == formVerbatim {
		return true, d.verbatim(t)
	}
	switch c {
	case '"':
		s, malformed := d.str()
		if malformed != nil {
			return false, malformed
		}
		return d.fromString(t, s)
	case '{':
		if t.form != formMessage {
			return false, d.wrong(t, "is an object")
		}
		return true, d.nested(t)
	case '[':
		return false, d.emptyList(t)
	case 't':
		if fault = d.literal("true"); fault != nil {
			return false, fault
		}
		return true, d.fromBool(t, true)
	case 'f':
		if fault = d.literal("false"); fault != nil {
			return false, fault
		}
		return true, d.fromBool(t, false)
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		n, malformed := d.number()
		if malformed != nil {
			return false, malformed
		}
		return true, d.fromNumber(t, n)
	default:
		return false, d.unexpected("a value")
	}
}

// verbatim copies a value as it stands.
func (d *decoder) verbatim(t target) *Error {
	if fault := d.skipCounted(); fault != nil {
		return fault
	}
	d.putBytes(t.field, d.data[t.start:d.pos])
	return nil
}

// nestedLength is how many bytes a nested message's length takes. It is known only when the message has been written, so
// it always takes this many: protobuf allows a varint to be longer than it has to be.
const nestedLength = 4

// nested reads an object into a field.
func (d *decoder) nested(t target) *Error {
	d.out = protowire.AppendVarint(d.out, t.tag)
	start := len(d.out)
	d.out = append(d.out, make([]byte, nestedLength)...)
	d.enter(t)
	if fault := d.message(t.message); fault != nil {
		return fault
	}
	d.frames = d.frames[:len(d.frames)-1]
	n := len(d.out) - start - nestedLength
	length := d.out[start : start+nestedLength]
	length[0], length[1], length[2], length[3] = byte(n)|0x80, byte(n>>7)|0x80, byte(n>>14)|0x80, byte(n>>21)
	return nil
}

// emptyList reads `[]`, which some languages write for an empty object or for nothing at all.
func (d *decoder) emptyList(t target) *Error {
	if t.form == formString || t.form == formBytes {
		return d.wrong(t, "is a list")
	}
	more, fault := d.begin(']')
	if fault != nil {
		return fault
	}
	if more {
		return d.wrong(t, "is a list")
	}
	d.differs(t, optionsv1.JsonForm_JSON_FORM_EMPTY)
	return nil
}

// fromString takes a string for a value of any form but verbatim.
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
		d.differs(t, form)
		return false, nil
	}
	if !d.parse(t, trimmed) {
		return false, d.wrong(t, "is another string")
	}
	// A decimal or an enumeration is at home in a string.
	if native := t.form == formDecimal || t.form == formEnum; !native || len(trimmed) != len(s) {
		d.differs(t, form)
	}
	return true, nil
}

// parse reads the text of a string, and returns false if it stands for no value of the field.
func (d *decoder) parse(t target, s []byte) bool {
	switch t.form {
	case formDecimal:
		if !isDecimal(s) {
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

// fromNumber takes a number for a value of any form but verbatim.
func (d *decoder) fromNumber(t target, n []byte) *Error {
	switch t.form {
	case formNumber:
		if !d.putNumber(t.field, n) {
			return d.fail(CodeShape, t.start, "does not fit "+t.kind.String())
		}
		return nil
	case formDecimal:
		d.putDecimal(t.field, n)
		return nil
	case formString:
		d.putBytes(t.field, n)
	case formBool:
		if len(n) != 1 || n[0] > '1' {
			return d.wrong(t, "is a number other than 0 and 1")
		}
		d.putBool(t.field, n[0] == '1')
	case formEnum:
		if !d.putEnumNumber(t.field, n) {
			return d.fail(CodeShape, t.start, "does not fit "+t.kind.String())
		}
		return nil
	default:
		return d.wrong(t, "is a number")
	}
	d.differs(t, optionsv1.JsonForm_JSON_FORM_NUMBER)
	return nil
}

// fromBool takes a bool for a value of any form but verbatim. For a number it must be expected: that a vendor writes false
// where money belongs means something, but not surely nought.
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
		d.differs(t, optionsv1.JsonForm_JSON_FORM_BOOL)
	case t.form == formNumber && expected:
		d.putNumber(t.field, []byte(number))
	case t.form == formDecimal && expected:
		d.putDecimal(t.field, []byte(number))
	default:
		return d.wrong(t, "is a bool")
	}
	return nil
}

// wrong makes an error about a value that the field cannot take.
func (d *decoder) wrong(t target, what string) *Error {
	return d.fail(CodeShape, t.start, fmt.Sprintf("%s where %s is declared", what, noun[t.form]))
}
