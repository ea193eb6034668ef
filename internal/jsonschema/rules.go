package jsonschema

import (
	"fmt"
	"regexp"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// fieldRules are the protovalidate rules of a field; nil without any.
type fieldRules struct{ *validate.FieldRules }

func rulesOf(fd protoreflect.FieldDescriptor) fieldRules {
	rules, _ := proto.GetExtension(fd.Options(), validate.E_Field).(*validate.FieldRules)
	return fieldRules{rules}
}

// items returns the rules of a list's elements.
func (r fieldRules) items() fieldRules { return fieldRules{r.FieldRules.GetRepeated().GetItems()} }

// uuid is the pattern of a UUID. Validators may ignore `format`.
const uuid = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"

// extra are rules that protobuf cannot state on a field of google.type. The messages of the events state them as CEL.
var extra = map[protoreflect.FullName]*Schema{
	"google.type.Money.currency_code": {Pattern: "^[A-Z]{3}$"},
	"google.type.Money.nanos":         {Minimum: number(-999_999_999), Maximum: number(999_999_999)},
	"google.type.Decimal.value":       {Pattern: `^-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,38})?$`},
}

func number(n int64) *int64 { return &n }

// applyRules adds the rules of fd to s, the schema of its values. It reports whether the field is always there: protobuf's JSON
// leaves out a field with its default value, so it is there if the rules refuse that value.
func applyRules(s *Schema, fd protoreflect.FieldDescriptor, rules fieldRules) (always bool, err error) {
	if more, ok := extra[fd.FullName()]; ok {
		s.Pattern, s.Minimum, s.Maximum = more.Pattern, more.Minimum, more.Maximum
	}
	if rules.FieldRules == nil {
		return false, nil
	}
	refusesZero := false
	switch rules.WhichType() {
	case validate.FieldRules_String__case:
		refusesZero, err = stringRules(s, rules.GetString())
	case validate.FieldRules_Repeated_case:
		refusesZero, err = listRules(s, rules)
	case validate.FieldRules_Int32_case:
		refusesZero, err = int32Rules(s, rules.GetInt32())
	case validate.FieldRules_Enum_case:
		refusesZero, err = enumRules(rules.GetEnum())
	case validate.FieldRules_Timestamp_case:
		// The bounds of the events are those of RFC 3339.
	case validate.FieldRules_Type_not_set_case:
	default:
		err = fmt.Errorf("jsonschema: no equivalent for rules of the type %v", rules.WhichType())
	}
	implicit := !fd.HasPresence() && rules.GetIgnore() != validate.Ignore_IGNORE_IF_ZERO_VALUE
	return rules.GetRequired() || implicit && refusesZero, err
}

// each calls apply for each rule that is set, with its name.
func each(rules proto.Message, apply func(name protoreflect.Name, v protoreflect.Value) (known bool)) (err error) {
	rules.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if !apply(fd.Name(), v) {
			err = fmt.Errorf("jsonschema: no equivalent for the rule %s", fd.FullName())
		}
		return err == nil
	})
	return err
}

func stringRules(s *Schema, rules *validate.StringRules) (refusesEmpty bool, err error) {
	err = each(rules, func(name protoreflect.Name, v protoreflect.Value) bool {
		switch name {
		case "uuid":
			s.Format, s.Pattern, refusesEmpty = "uuid", uuid, true
		case "pattern":
			s.Pattern = v.String()
			refusesEmpty = refusesEmpty || !regexp.MustCompile(s.Pattern).MatchString("")
		case "min_len", "min_bytes":
			// JSON Schema counts characters, and one has at most four bytes.
			least := v.Uint()
			if name == "min_bytes" {
				least = (least + 3) / 4
			}
			s.MinLength, refusesEmpty = &least, refusesEmpty || least > 0
		case "max_len", "max_bytes":
			most := v.Uint()
			s.MaxLength = &most
		default:
			return false
		}
		return true
	})
	return refusesEmpty, err
}

func listRules(s *Schema, rules fieldRules) (refusesEmpty bool, err error) {
	err = each(rules.GetRepeated(), func(name protoreflect.Name, v protoreflect.Value) bool {
		count := func() *uint64 { n := v.Uint(); return &n }
		switch name {
		case "min_items":
			s.MinItems, refusesEmpty = count(), v.Uint() > 0
		case "max_items":
			s.MaxItems = count()
		case "items":
			// Enums have theirs from [Builder.enum].
			return rules.items().HasEnum()
		default:
			return false
		}
		return true
	})
	return refusesEmpty, err
}

func int32Rules(s *Schema, rules *validate.Int32Rules) (refusesZero bool, err error) {
	err = each(rules, func(name protoreflect.Name, v protoreflect.Value) bool {
		switch name {
		case "gt":
			s.ExclusiveMinimum = number(v.Int())
			refusesZero = v.Int() >= 0
		case "gte":
			s.Minimum = number(v.Int())
			refusesZero = v.Int() > 0
		default:
			return false
		}
		return true
	})
	return refusesZero, err
}

func enumRules(rules *validate.EnumRules) (refusesZero bool, err error) {
	err = each(rules, func(name protoreflect.Name, v protoreflect.Value) bool {
		switch name {
		case "defined_only":
		case "not_in":
			for i := range v.List().Len() {
				refusesZero = refusesZero || v.List().Get(i).Int() == 0
			}
		default:
			return false
		}
		return true
	})
	return refusesZero, err
}
