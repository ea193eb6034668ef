package vendorjson

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	openloyaltyv1 "github.com/webhook-bridge/bridge/gen/webhooks/openloyalty/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
)

// refusal is a document with a ▲ before the byte that the error is about.
type refusal struct {
	doc, path, problem string
}

// split takes the mark out.
func (r refusal) split() (doc []byte, offset int64) {
	before, after, _ := strings.Cut(r.doc, "▲")
	return []byte(before + after), int64(len(before))
}

func (r refusal) want(code string) *Error {
	_, offset := r.split()
	return &Error{Code: code, Path: r.path, Offset: offset, Problem: r.problem}
}

// Malformed text is refused in known fields, in unknown ones, and by Check.
func TestMalformed(t *testing.T) {
	tests := []refusal{
		{"▲", "$", "is empty"},
		{" \n\t▲", "$", "is empty"},
		{"▲null", "$", "is not a JSON object"},
		{"▲[]", "$", "is not a JSON object"},
		{"▲[{}]", "$", "is not a JSON object"},
		{`▲"text"`, "$", "is not a JSON object"},
		{"▲12", "$", "is not a JSON object"},
		{"▲<html>", "$", "is not a JSON object"},
		{"\uFEFF▲", "$", "is empty"},
		{"\uFEFF▲\uFEFF{}", "$", "is not a JSON object"},
		{" ▲\uFEFF{}", "$", "is not a JSON object"},
		{"\uFEFF{\"x\":▲}", "$.x", "has '}' where a value should be"},
		{"{}▲{}", "$", "is followed by more data"},
		{"{} \n▲null", "$", "is followed by more data"},
		{"{}▲\x00", "$", "is followed by more data"},
		{"{▲", "$", "ends where a field's name should be"},
		{"{▲,}", "$", "has ',' where a field's name should be"},
		{"{▲'a':1}", "$", `has '\'' where a field's name should be`},
		{"{▲a:1}", "$", "has 'a' where a field's name should be"},
		{"{▲\u00a0}", "$", `has '\u00a0' where a field's name should be`},
		{`{"nested":{"aString":"x",▲}}`, "$.nested", "has '}' where a field's name should be"},
		{`{"list":[{},▲]}`, "$.list[1]", "has ']' where a value should be"},
		{`{"x":[1,▲]}`, "$.x[1]", "has ']' where a value should be"},
		{`{"x":[1 ▲2]}`, "$.x[0]", "has '2' where a comma or ] should be"},
		{`{"aString":"x" ▲"int64":1}`, "$.aString", `has '"' where a comma or } should be`},
		{`{"aString":"x"▲]`, "$.aString", "has ']' where a comma or } should be"},
		{`{"aString" ▲"x"}`, "$.aString", `has '"' where a colon should be`},
		{`{"aString":▲}`, "$.aString", "has '}' where a value should be"},
		{`{"aString":▲`, "$.aString", "ends where a value should be"},
		{`{"x":▲`, "$.x", "ends where a value should be"},
		{`{"aString":▲“3”}`, "$.aString", `has '“' where a value should be`},
		{`{"x":▲“3”}`, "$.x", `has '“' where a value should be`},
		{"{\"x\":▲\xff}", "$.x", "has the byte 0xff where a value should be"},
		{`{"aString":"x▲`, "$.aString", "ends within a string"},
		{`{"aString":"x\▲`, "$.aString", "ends within a string"},
		{`{"aString":"x\"▲`, "$.aString", "ends within a string"},
		{`{"aSt▲`, "$", "ends within a string"},
		{`{"aString":"x"▲`, "$.aString", "ends where a comma or } should be"},
		{"{\"aString\":\"a▲\nb\"}", "$.aString", `has the control character '\n' in a string`},
		{"{\"aString\":\"0123456789a▲\x1fb\"}", "$.aString", `has the control character '\x1f' in a string`},
		{"{\"x\":[\"▲\x00\"]}", "$.x[0]", `has the control character '\x00' in a string`},
		{"{\"▲\x01\":1}", "$", `has the control character '\x01' in a string`},
		{"{\"aString\":\"a▲\xffb\"}", "$.aString", "has invalid UTF-8"},
		{"{\"aString\":\"ěš▲\xc3\"}", "$.aString", "has invalid UTF-8"},
		{"{\"aString\":\"a▲\xed\xa0\x80b\"}", "$.aString", "has invalid UTF-8"},
		{"{\"aString\":\"a▲\xc0\x80b\"}", "$.aString", "has invalid UTF-8"},
		{"{\"a▲\x80\":1}", "$", "has invalid UTF-8"},
		{"{\"x\":{\"y\":\"12345678▲\xfe\"}}", "$.x.y", "has invalid UTF-8"},
		{`{"aString":"ok\n▲\x41"}`, "$.aString", "has an invalid escape in a string"},
		{`{"aString":"▲\u12G4"}`, "$.aString", "has an invalid escape in a string"},
		{`{"aString":"▲\u12"}`, "$.aString", "has an invalid escape in a string"},
		{`{"▲\q":1}`, "$", "has an invalid escape in a string"},
		{`{"int64":▲01}`, "$.int64", "has a number with a leading zero"},
		{`{"int64":▲-01}`, "$.int64", "has a number with a leading zero"},
		{`{"x":▲00.5}`, "$.x", "has a number with a leading zero"},
		{`{"int64":▲+1}`, "$.int64", "has '+' where a value should be"},
		{`{"int64":▲.5}`, "$.int64", "has '.' where a value should be"},
		{`{"x":1.▲}`, "$.x", "has '}' where a digit should be"},
		{`{"int64":1.▲e5}`, "$.int64", "has 'e' where a digit should be"},
		{`{"int64":1e▲}`, "$.int64", "has '}' where a digit should be"},
		{`{"int64":1e+▲x}`, "$.int64", "has 'x' where a digit should be"},
		{`{"int64":-▲}`, "$.int64", "has '}' where a digit should be"},
		{`{"int64":-▲`, "$.int64", "ends where a digit should be"},
		{`{"int64":0▲x10}`, "$.int64", "has 'x' where a comma or } should be"},
		{`{"x":▲NaN}`, "$.x", "has 'N' where a value should be"},
		{`{"x":▲nul}`, "$.x", "has 'n' where a value should be"},
		{`{"aString":▲nil}`, "$.aString", "has 'n' where a value should be"},
		{`{"aBool":▲TRUE}`, "$.aBool", "has 'T' where a value should be"},
		{`{"aBool":▲tru}`, "$.aBool", "has 't' where a value should be"},
		{`{"aBool":true▲r}`, "$.aBool", "has 'r' where a comma or } should be"},
		{`{"aBool":▲fals`, "$.aBool", "has 'f' where a value should be"},
		{`{"aString":"x" ▲// comment`, "$.aString", "has '/' where a comma or } should be"},
		{`{"verbatim":{"a":[1,▲]}}`, "$.verbatim.a[1]", "has ']' where a value should be"},
		{`{"verbatim":"▲\u12G4"}`, "$.verbatim", "has an invalid escape in a string"},
		{`{"x":["\ud83d▲\x"]}`, "$.x[0]", "has an invalid escape in a string"},
		{`{"x":{"\ud83d▲\x":1}}`, "$.x", "has an invalid escape in a string"},
		{`{"\ud83d▲\x":1}`, "$", "has an invalid escape in a string"},
		{`{"x":{"a":1 ▲"b":2}}`, "$.x.a", `has '"' where a comma or } should be`},
		{`{"x":{"a" ▲1}}`, "$.x.a", "has '1' where a colon should be"},
		{`{"x":{▲1}}`, "$.x", "has '1' where a field's name should be"},
		{`{"x":{"a":1,▲}}`, "$.x", "has '}' where a field's name should be"},
		{`{"x":{"a":1▲]}`, "$.x.a", "has ']' where a comma or } should be"},
		{`{"x":[1▲}}`, "$.x[0]", "has '}' where a comma or ] should be"},
		{`{"x":[[],{},▲`, "$.x[2]", "ends where a value should be"},
	}
	for _, tt := range tests {
		doc, _ := tt.split()
		refused(t, doc, func() error { _, err := Unmarshal(doc, kind(t, "Kinds")); return err }, tt.want(CodeMalformed))
		refused(t, doc, func() error { return Check(doc) }, tt.want(CodeMalformed))
		refused(t, doc, func() error { _, _, err := Field(doc, "none such"); return err }, tt.want(CodeMalformed))
	}
}

// A declared part that cannot be read exactly is refused, at any depth. The grammar has nothing against it.
func TestDeclaredPartsAreExact(t *testing.T) {
	tests := []refusal{
		{`{"aString":"a▲\ud800b"}`, "$.aString", "has an invalid escape in a string"},
		{`{"aString":"▲\udc00"}`, "$.aString", "has an invalid escape in a string"},
		{`{"aString":"▲\ud800\ud800"}`, "$.aString", "has an invalid escape in a string"},
		{`{"aString":"▲\ud800\u0041"}`, "$.aString", "has an invalid escape in a string"},
		{`{"int64":1,▲"int64":1}`, "$.int64", "is there twice"},
		{`{"int64":null,▲"int64":null}`, "$.int64", "is there twice"},
		{`{"aString":"x",▲"a\u0053tring":"x"}`, "$.aString", "is there twice"},
		{`{"nested":{"nested":{"int64":1,"int32":1,▲"int64":2}}}`, "$.nested.nested.int64", "is there twice"},
		{`{"list":[{},{"aString":"▲\ud83d"}]}`, "$.list[1].aString", "has an invalid escape in a string"},
		{`{"strings":["▲\ude00\ud83d"]}`, "$.strings[0]", "has an invalid escape in a string"},
		{`{"int64":"▲\ud83d"}`, "$.int64", "has an invalid escape in a string"},
		{`{"verbatim":1,▲"verbatim":1}`, "$.verbatim", "is there twice"},
		{`{"x":{"int64":1,"int64":2},"int64":1,"x":1,▲"int64":1}`, "$.int64", "is there twice"},
	}
	for _, tt := range tests {
		doc, _ := tt.split()
		refused(t, doc, func() error { _, err := Unmarshal(doc, kind(t, "Kinds")); return err }, tt.want(CodeMalformed))
		if err := Check(doc); err != nil {
			t.Errorf("%s: Check knows no declared part: %v", doc, err)
		}
	}
}

// refused checks an error, and that it cannot be taken for an end of the body.
func refused(t *testing.T, doc []byte, f func() error, want *Error) {
	t.Helper()
	err := f()
	if diff := cmp.Diff(error(want), err); diff != "" {
		t.Errorf("%.200q: -want +got:\n%s", doc, diff)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%.200q: the error is an io.EOF", doc)
	}
}

func TestWrongShape(t *testing.T) {
	tests := []refusal{
		{`{"int32":▲2147483648}`, "$.int32", "does not fit int32"},
		{`{"int32":▲-2147483649}`, "$.int32", "does not fit int32"},
		{`{"sint32":▲"2147483648"}`, "$.sint32", "is another string where a number is declared"},
		{`{"uint32":▲4294967296}`, "$.uint32", "does not fit uint32"},
		{`{"fixed32":▲-1}`, "$.fixed32", "does not fit fixed32"},
		{`{"uint64":▲-1}`, "$.uint64", "does not fit uint64"},
		{`{"uint64":▲18446744073709551616}`, "$.uint64", "does not fit uint64"},
		{`{"int64":▲9223372036854775808}`, "$.int64", "does not fit int64"},
		{`{"int64":▲-9223372036854775809}`, "$.int64", "does not fit int64"},
		{`{"int64":▲99999999999999999999999999}`, "$.int64", "does not fit int64"},
		{`{"int64":▲1.5}`, "$.int64", "does not fit int64"},
		{`{"int64":▲1e-1}`, "$.int64", "does not fit int64"},
		{`{"int64":▲1e19}`, "$.int64", "does not fit int64"},
		{`{"int64":▲1e999999999999}`, "$.int64", "does not fit int64"},
		{`{"int64":▲1e-999999999999}`, "$.int64", "does not fit int64"},
		{`{"aDouble":▲1e400}`, "$.aDouble", "does not fit double"},
		{`{"aFloat":▲1e39}`, "$.aFloat", "does not fit float"},
		{`{"aDouble":▲"nan"}`, "$.aDouble", "is another string where a number is declared"},
		{`{"int64":▲"NaN"}`, "$.int64", "is another string where a number is declared"},
		{`{"int64":▲"abc"}`, "$.int64", "is another string where a number is declared"},
		{`{"int64":▲"1,234"}`, "$.int64", "is another string where a number is declared"},
		{`{"int64":▲"+1"}`, "$.int64", "is another string where a number is declared"},
		{`{"int64":▲"0x10"}`, "$.int64", "is another string where a number is declared"},
		{`{"int64":▲"1 2"}`, "$.int64", "is another string where a number is declared"},
		{`{"int64":▲{}}`, "$.int64", "is an object where a number is declared"},
		{`{"int64":▲[1]}`, "$.int64", "is a list where a number is declared"},
		{`{"int64":▲true}`, "$.int64", "is a bool where a number is declared"},
		{`{"aString":▲{}}`, "$.aString", "is an object where a string is declared"},
		{`{"aString":▲[]}`, "$.aString", "is a list where a string is declared"},
		{`{"aBool":▲2}`, "$.aBool", "is a number other than 0 and 1 where a bool is declared"},
		{`{"aBool":▲1.0}`, "$.aBool", "is a number other than 0 and 1 where a bool is declared"},
		{`{"aBool":▲"maybe"}`, "$.aBool", "is another string where a bool is declared"},
		{`{"aBool":▲{}}`, "$.aBool", "is an object where a bool is declared"},
		{`{"decimal":▲"."}`, "$.decimal", "is another string where a decimal number is declared"},
		{`{"decimal":▲"Kč"}`, "$.decimal", "is another string where a decimal number is declared"},
		{`{"decimal":▲"` + strings.Repeat("1 ", 33) + `"}`, "$.decimal", "is another string where a decimal number is declared"},
		{`{"decimal":▲"NaN"}`, "$.decimal", "is another string where a decimal number is declared"},
		{`{"decimal":▲false}`, "$.decimal", "is a bool where a decimal number is declared"},
		{`{"decimal":▲{"value":"1"}}`, "$.decimal", "is an object where a decimal number is declared"},
		{`{"nested":▲"text"}`, "$.nested", "is another string where an object is declared"},
		{`{"nested":▲12}`, "$.nested", "is a number where an object is declared"},
		{`{"nested":▲false}`, "$.nested", "is a bool where an object is declared"},
		{`{"nested":▲[{}]}`, "$.nested", "is a list where an object is declared"},
		{`{"anEnum":▲"GREEN"}`, "$.anEnum", "is another string where the name of an enumeration's value is declared"},
		{`{"anEnum":▲2147483648}`, "$.anEnum", "does not fit enum"},
		{`{"someBytes":▲"***"}`, "$.someBytes", "is another string where base64 is declared"},
		{`{"someBytes":▲1}`, "$.someBytes", "is a number where base64 is declared"},
		{`{"someBytes":▲[]}`, "$.someBytes", "is a list where base64 is declared"},
		{`{"numbers":[1,2,▲"x"]}`, "$.numbers[2]", "is another string where a number is declared"},
		{`{"numbers":[1,▲[2]]}`, "$.numbers[1]", "is a list where a number is declared"},
		{`{"numbers":▲{}}`, "$.numbers", "is an object where a number is declared"},
		{`{"strings":[▲{}]}`, "$.strings[0]", "is an object where a string is declared"},
		{`{"list":[{},{"list":[{},{},{"x":[1,2],"int64":▲1.5}]}]}`, "$.list[1].list[2].int64", "does not fit int64"},
		{`{"x":{"int64":"any"},"nested":{"int64":▲"any"}}`, "$.nested.int64", "is another string where a number is declared"},
		{`{"list":[{"aString":"}]\"{[,:"},{"int64":▲"any"}]}`, "$.list[1].int64", "is another string where a number is declared"},
	}
	for _, tt := range tests {
		doc, _ := tt.split()
		refused(t, doc, func() error { _, err := Unmarshal(doc, kind(t, "Kinds")); return err }, tt.want(CodeShape))
		if err := Check(doc); err != nil {
			t.Errorf("%s: Check looks at shapes: %v", doc, err)
		}
	}
}

func TestLimits(t *testing.T) {
	nested := func(n int) string { return strings.Repeat(`{"nested":`, n-1) + "{}" + strings.Repeat("}", n-1) }
	values := func(field string, n int) string { return `{"` + field + `":[0` + strings.Repeat(",0", n-3) + `]}` }
	for _, doc := range []string{
		nested(MaxDepth), values("numbers", MaxValues),
	} {
		if _, err := Unmarshal([]byte(doc), kind(t, "Kinds")); err != nil {
			t.Errorf("%.40s…, at the limit: %v", doc, err)
		}
	}
	deep := fmt.Sprintf("is nested deeper than %d", MaxDepth)
	many := fmt.Sprintf("is one value more than the %d allowed", MaxValues)
	for _, tt := range []struct {
		doc, path string
		offset    int64
		problem   string
	}{
		{nested(MaxDepth + 1), "$" + strings.Repeat(".nested", MaxDepth), 10 * MaxDepth, deep},
		{values("numbers", MaxValues+1), fmt.Sprintf("$.numbers[%d]", MaxValues-2), 12 + 2*(MaxValues-2), many},
		{`{"list":[{}` + strings.Repeat(",{}", MaxValues) + `]}`, fmt.Sprintf("$.list[%d]", MaxValues-2), 9 + 3*(MaxValues-2), many},
	} {
		want := &Error{Code: CodeLimit, Path: tt.path, Offset: tt.offset, Problem: tt.problem}
		refused(t, []byte(tt.doc), func() error { _, err := Unmarshal([]byte(tt.doc), kind(t, "Kinds")); return err }, want)
		if err := Check([]byte(tt.doc)); err != nil {
			t.Errorf("%.40s…: Check knows no declared value: %v", tt.doc, err)
		}
	}
}

// hostile has documents of about a megabyte with a high cost. Each has a simpler one beside it with the same size and number of
// values.
var hostile = []struct {
	name string
	doc  string
}{
	{"empty objects", `{"items":[{}` + strings.Repeat(",{}", 349_000) + `]}`},
	{"empty objects, unknown, many fields", `{"x":{}` + strings.Repeat(`,"x":{}`, 149_000) + `}`},
	{"half an emoji for each name", `{"x":1` + strings.Repeat(`,"\ud83d":1`, 90_000) + `}`},
	{"long escaped names", `{"x":1` + strings.Repeat(`,"`+strings.Repeat(`\u0061`, 1000)+`":1`, 165) + `}`},
	{"deep", `{"x":` + strings.Repeat(`[{"x":`, 170_000) + "1" + strings.Repeat("}]", 170_000) + `}`},
	{"deep, cut off", `{"x":` + strings.Repeat(`[`, 1_000_000)},
	{"deep, cut off after a name", `{"x":` + strings.Repeat(`{"`+strings.Repeat("n", 90)+`":`, 10_000)},
	{"empty objects, unknown", `{"x":[{}` + strings.Repeat(",{}", 349_000) + `]}`},
	{"distinct names", distinct("", 90_000)},
	{"distinct names, unknown object", `{"x":` + distinct("", 90_000) + `}`},
	{"distinct long names", distinct(strings.Repeat("long", 20), 12_000)},
	{"distinct escaped names", distinct(`\u0061\u0061`, 50_000)},
	{"unknown in a list", `{"data":{"items":[{"q":1}` + strings.Repeat(`,{"q":1}`, 33_000) + `]}}`},
	{"unknown under a long name", `{"data":{"items":[{"` + strings.Repeat("n", 500_000) + `":1}` + strings.Repeat(`,{"q":1}`, 33_000) + `]}}`},
	{"nulls in a list", `{"data":{"items":[null` + strings.Repeat(",null", 95_000) + `]}}`},
	{"nested", `{"x":[` + strings.Repeat("[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]],", 6_000) + `1]}`},
	{"one long string", `{"type":"` + strings.Repeat("ě", 500_000) + `"}`},
	{"one long escaped string", `{"type":"` + strings.Repeat(`\u0161`, 170_000) + `"}`},
	{"one long number", `{"data":{"items":[{"quantity":` + strings.Repeat("9", 1_000_000) + `}]}}`},
	{"error at the end", `{"x":[{}` + strings.Repeat(`,{"a":[1]}`, 30_000) + `],}`},
}

func distinct(prefix string, n int) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%s%d":1`, prefix, i)
	}
	b.WriteByte('}')
	return b.String()
}

// No document of a megabyte needs much time or memory. A quadratic decoder exceeds the time limit by far, but a busy machine
// does not; the memory limit is exact.
func TestHostileDocumentsAreCheap(t *testing.T) {
	const maxTime, maxMemory = 2 * time.Second, 24 << 20
	for _, tt := range hostile {
		t.Run(tt.name, func(t *testing.T) {
			doc := []byte(tt.doc)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := time.Now()
			drifts, err := Unmarshal(doc, new(openloyaltyv1.TransactionRegistered))
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			memory := after.TotalAlloc - before.TotalAlloc
			t.Logf("%d bytes, %d drifts, error %v: %v, %d bytes allocated", len(doc), len(drifts), err, took, memory)
			if took > maxTime {
				t.Errorf("took %v", took)
			}
			if memory > maxMemory {
				t.Errorf("allocated %d bytes for %d", memory, len(doc))
			}
		})
	}
}

// The pages' own broken samples, as the vendors print them.
func TestBrokenSamples(t *testing.T) {
	tests := []struct {
		name, doc string
		want      *Error
	}{
		{
			"trailing comma", `{"type":"customer.level_changed","data":{"levelName":"level0",}}`,
			&Error{CodeMalformed, "$.data", 62, "has '}' where a field's name should be"},
		},
		{
			"curly quotes", `{"data":{"customerData":{"address":{"address2": “3”,"postal":"41-222"}}}}`,
			&Error{CodeMalformed, "$.data.customerData.address.address2", 48, "has '“' where a value should be"},
		},
		{
			"curly closing quote", "{\"data\":{\"amountChangeType\":\"add”,\n\"pointsTransferId\":\"e8\"}}",
			&Error{CodeMalformed, "$.data.amountChangeType", 36, `has the control character '\n' in a string`},
		},
		{
			"missing comma", "{\"type\":\"account.expiring_points_notification\"\n \"createdAt\":\"2021-12-14T14:16:54+00:00\"}",
			&Error{CodeMalformed, "$.type", 48, `has '"' where a comma or } should be`},
		},
		{
			"no-break space", "{\"total_tip\": 0,\n\u00a0\n\"total_wrapping_tax_excl\": 0}",
			&Error{CodeMalformed, "$", 17, `has '\u00a0' where a field's name should be`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			refused(t, []byte(tt.doc), func() error {
				_, err := Unmarshal([]byte(tt.doc), new(openloyaltyv1.TransactionRegistered))
				return err
			}, tt.want)
		})
	}
}

// Every prefix of a document is refused, and at its end at the latest.
func TestEveryPrefixIsRefused(t *testing.T) {
	for _, s := range samples(t) {
		whole := strings.TrimSpace(string(s.data))
		for n := range whole {
			_, err := Unmarshal([]byte(whole[:n]), s.typ.New().Interface())
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Code != CodeMalformed || e.Offset > int64(n) {
				t.Fatalf("%s: the first %d bytes: %v", s.name, n, err)
			}
		}
	}
}

func TestErrorString(t *testing.T) {
	_, err := Unmarshal([]byte(`{"shipping":{"customer_payment_details":[{},{"amount":"much"}]}}`), new(retinov1.ShippingOrdered))
	const want = "$.shipping.customer_payment_details[1].amount is another string where a decimal number is declared (at byte 54)"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
