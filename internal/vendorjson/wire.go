package vendorjson

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// putBytes appends a field of strings or bytes.
func (d *decoder) putBytes(f *field, b []byte) {
	d.out = protowire.AppendVarint(d.out, f.tag)
	d.out = protowire.AppendVarint(d.out, uint64(len(b)))
	d.out = append(d.out, b...)
}

// decimalValue is the tag of google.type.Decimal's only field, a string.
const decimalValue = 1<<3 | 2

// putDecimal appends a google.type.Decimal with the digits as they stand.
func (d *decoder) putDecimal(f *field, digits []byte) {
	d.out = protowire.AppendVarint(d.out, f.tag)
	d.out = protowire.AppendVarint(d.out, uint64(1+protowire.SizeBytes(len(digits))))
	d.out = append(d.out, decimalValue)
	d.out = protowire.AppendVarint(d.out, uint64(len(digits)))
	d.out = append(d.out, digits...)
}

func (d *decoder) putBool(f *field, yes bool) {
	d.putVarint(f, protowire.EncodeBool(yes))
}

func (d *decoder) putVarint(f *field, v uint64) {
	d.out = protowire.AppendVarint(d.out, f.tag)
	d.out = protowire.AppendVarint(d.out, v)
}

func (d *decoder) putFixed32(f *field, v uint32) {
	d.out = protowire.AppendVarint(d.out, f.tag)
	d.out = protowire.AppendFixed32(d.out, v)
}

func (d *decoder) putFixed64(f *field, v uint64) {
	d.out = protowire.AppendVarint(d.out, f.tag)
	d.out = protowire.AppendFixed64(d.out, v)
}

// putNumber appends a JSON number; false if it does not fit the field.
func (d *decoder) putNumber(f *field, n []byte) bool {
	if f.kind == protoreflect.DoubleKind || f.kind == protoreflect.FloatKind {
		return d.putFloat(f, string(n))
	}
	negative, magnitude, ok := integer(n)
	return ok && d.putInteger(f, negative, magnitude)
}

// putNumberText appends a number from a string: what JSON allows, and for floats the three words that protobuf has.
func (d *decoder) putNumberText(f *field, s []byte) bool {
	if isNumber(s) {
		return d.putNumber(f, s)
	}
	if f.kind != protoreflect.DoubleKind && f.kind != protoreflect.FloatKind {
		return false
	}
	switch word := string(s); word {
	case "NaN", "Infinity", "-Infinity":
		return d.putFloat(f, word)
	default:
		return false
	}
}

func (d *decoder) putFloat(f *field, text string) bool {
	if f.kind == protoreflect.FloatKind {
		v, err := strconv.ParseFloat(text, 32)
		if err == nil {
			d.putFixed32(f, math.Float32bits(float32(v)))
		}
		return err == nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err == nil {
		d.putFixed64(f, math.Float64bits(v))
	}
	return err == nil
}

func (d *decoder) putInteger(f *field, negative bool, magnitude uint64) bool {
	switch f.kind {
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		v, ok := signed(negative, magnitude, math.MaxInt64)
		if ok {
			d.putSigned(f, v)
		}
		return ok
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		v, ok := signed(negative, magnitude, math.MaxInt32)
		if ok {
			d.putSigned(f, v)
		}
		return ok
	}
	if negative && magnitude != 0 {
		return false
	}
	switch f.kind {
	case protoreflect.Uint64Kind:
		d.putVarint(f, magnitude)
		return true
	case protoreflect.Fixed64Kind:
		d.putFixed64(f, magnitude)
		return true
	}
	if magnitude > math.MaxUint32 {
		return false
	}
	if f.kind == protoreflect.Fixed32Kind {
		d.putFixed32(f, uint32(magnitude))
	} else {
		d.putVarint(f, magnitude)
	}
	return true
}

// signed makes a signed integer of at most limit, or of at least -limit-1.
func signed(negative bool, magnitude, limit uint64) (int64, bool) {
	if negative {
		return -int64(magnitude), magnitude <= limit+1
	}
	return int64(magnitude), magnitude <= limit
}

func (d *decoder) putSigned(f *field, v int64) {
	switch f.kind {
	case protoreflect.Sint64Kind, protoreflect.Sint32Kind:
		d.putVarint(f, protowire.EncodeZigZag(v))
	case protoreflect.Sfixed64Kind:
		d.putFixed64(f, uint64(v))
	case protoreflect.Sfixed32Kind:
		d.putFixed32(f, uint32(v))
	default:
		d.putVarint(f, uint64(v))
	}
}

func (d *decoder) putEnumName(f *field, name []byte) bool {
	v := f.enum.Values().ByName(protoreflect.Name(name))
	if v != nil {
		d.putVarint(f, uint64(v.Number()))
	}
	return v != nil
}

func (d *decoder) putEnumNumber(f *field, n []byte) bool {
	negative, magnitude, ok := integer(n)
	if !ok {
		return false
	}
	v, ok := signed(negative, magnitude, math.MaxInt32)
	if !ok || f.enum.IsClosed() && f.enum.Values().ByNumber(protoreflect.EnumNumber(v)) == nil {
		return false
	}
	d.putVarint(f, uint64(v))
	return true
}

// fromBase64 decodes the standard alphabet or that of URLs, with or without padding.
func (d *decoder) fromBase64(t target, s []byte) *Error {
	encoding := base64.StdEncoding
	if bytes.ContainsAny(s, "-_") {
		encoding = base64.URLEncoding
	}
	if len(s)%4 != 0 {
		encoding = encoding.WithPadding(base64.NoPadding)
	}
	b, err := encoding.DecodeString(string(s))
	if err != nil {
		return d.shapeError(t, "is another string")
	}
	d.putBytes(t.field, b)
	return nil
}

// boolOf parses the words and digits that vendors write for a bool.
func boolOf(s []byte) (yes, ok bool) {
	switch {
	case bytes.EqualFold(s, []byte("true")), bytes.EqualFold(s, []byte("yes")), string(s) == "1":
		return true, true
	case bytes.EqualFold(s, []byte("false")), bytes.EqualFold(s, []byte("no")), string(s) == "0":
		return false, true
	default:
		return false, false
	}
}
