package vendorjson

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	openloyaltyv1 "github.com/webhook-bridge/bridge/gen/webhooks/openloyalty/v1"
)

// Values that are read although they differ from the field's declaration, and their reports.
func TestTolerances(t *testing.T) {
	tests := []struct {
		json, want string
		drift      []string
	}{
		// Unknown fields, at every depth; what lies inside them is not reported apart.
		{`{"x":1}`, ``, []string{`unknown $.x 1`}},
		{`{"x":null}`, ``, []string{`unknown $.x null`}},
		{`{"x":{"y":{"z":[1,2]}},"int64":1}`, `int64: 1`, []string{`unknown $.x {"y":{"z":[1,2]}}`}},
		{`{"nested":{"x":1,"nested":{"y":"s"}}}`, `nested { nested {} }`, []string{`unknown $.nested.x 1`, `unknown $.nested.nested.y "s"`}},
		{`{"list":[{"x":1},{"list":[{"y":2},{"y":3}]}]}`, `list {} list { list {} list {} }`, []string{`unknown $.list[].x 1`, `unknown $.list[].list[].y 2`}},
		{`{"list":[{"x":1},{"x":2}],"nested":{"x":3},"x":4}`, `list {} list {} nested {}`, []string{`unknown $.list[].x 1`, `unknown $.nested.x 3`, `unknown $.x 4`}},
		{`{"astring":"names are exact","ASTRING":1}`, ``, []string{`unknown $.astring "names are exact"`, `unknown $.ASTRING 1`}},
		{`{"a_string":"a name in the schema is no name"}`, ``, []string{`unknown $.a_string "a name in the schema is no name"`}},
		{`{"a_string":1,"aString":"x","nested":{"an_enum":{}}}`, `a_string: "x" nested {}`, []string{`unknown $.a_string 1`, `unknown $.nested.an_enum {}`}},
		{`{"\u0078\n":1}`, ``, []string{`unknown $["x\n"] 1`}},
		{`{"a.b":1,"":2,"c[]":3,"příliš":4,"_v-1":5,"a b":6}`, ``, []string{
			`unknown $["a.b"] 1`, `unknown $[""] 2`, `unknown $["c[]"] 3`, `unknown $.příliš 4`, `unknown $._v-1 5`, `unknown $["a b"] 6`,
		}},

		// Strings.
		{`{"aString":12}`, `a_string: "12"`, []string{`type $.aString 12`}},
		{`{"aString":1231232312312312360}`, `a_string: "1231232312312312360"`, []string{`type $.aString 1231232312312312360`}},
		{`{"aString":-1.50E+2}`, `a_string: "-1.50E+2"`, []string{`type $.aString -1.50E+2`}},
		{`{"aString":true}`, `a_string: "true"`, []string{`type $.aString true`}},
		{`{"aString":false}`, `a_string: "false"`, []string{`type $.aString false`}},
		{`{"stringNumber":0.50}`, `string_number: "0.50"`, nil},
		{`{"stringNumber":true}`, `string_number: "true"`, []string{`type $.stringNumber true`}},
		{`{"stringBool":false}`, `string_bool: "false"`, nil},
		{`{"stringBool":1}`, `string_bool: "1"`, []string{`type $.stringBool 1`}},

		// Printed numbers, which package connectors reads.
		{`{"decimal":"1,234.00"}`, `decimal { value: "1,234.00" }`, []string{`type $.decimal "1,234.00"`}},
		{`{"decimal":" 12\u00a0Kč"}`, `decimal { value: "12 Kč" }`, []string{`type $.decimal " 12\u00a0Kč"`}},

		// Numbers.
		{`{"int64":"9007199254740993"}`, `int64: 9007199254740993`, []string{`type $.int64 "9007199254740993"`}},
		{`{"int64":"1.0"}`, `int64: 1`, []string{`type $.int64 "1.0"`}},
		{`{"int64":"\u0031\u0032"}`, `int64: 12`, []string{`type $.int64 "\u0031\u0032"`}},
		{`{"numberString":"-12"}`, `number_string: -12`, nil},
		{`{"numberString":"12\n"}`, `number_string: 12`, []string{`type $.numberString "12\n"`}},
		{`{"numberString":" 12"}`, `number_string: 12`, []string{`type $.numberString " 12"`}},
		{`{"numberString":""}`, ``, []string{`type $.numberString ""`}},
		{`{"int64":""}`, ``, []string{`type $.int64 ""`}},
		{`{"int64":[]}`, ``, []string{`type $.int64 []`}},
		{`{"numberEmpty":""}`, ``, nil},
		{`{"numberEmpty":[ ]}`, ``, nil},
		{`{"numberEmpty":" "}`, ``, []string{`type $.numberEmpty " "`}},
		{`{"numberBool":true}`, `number_bool: 1`, nil},
		{`{"numberBool":false}`, ``, nil},
		{`{"aDouble":"1.5","aFloat":"-2"}`, `a_double: 1.5 a_float: -2`, []string{`type $.aDouble "1.5"`, `type $.aFloat "-2"`}},
		{`{"aDouble":"-Infinity"}`, `a_double: -inf`, []string{`type $.aDouble "-Infinity"`}},

		// Bools.
		{`{"aBool":"true"}`, `a_bool: true`, []string{`type $.aBool "true"`}},
		{`{"aBool":"Yes"}`, `a_bool: true`, []string{`type $.aBool "Yes"`}},
		{`{"aBool":"no"}`, `a_bool: false`, []string{`type $.aBool "no"`}},
		{`{"aBool":1}`, `a_bool: true`, []string{`type $.aBool 1`}},
		{`{"aBool":0}`, `a_bool: false`, []string{`type $.aBool 0`}},
		{`{"aBool":""}`, ``, []string{`type $.aBool ""`}},
		{`{"aBool":[]}`, ``, []string{`type $.aBool []`}},
		{`{"boolAny":"FALSE"}`, ``, nil},
		{`{"boolAny":"YES"}`, `bool_any: true`, nil},
		{`{"boolAny":"1"}`, `bool_any: true`, nil},
		{`{"boolAny":1}`, `bool_any: true`, nil},
		{`{"boolAny":0}`, ``, nil},
		{`{"boolAny":""}`, ``, nil},

		// Decimals take numbers and strings alike.
		{`{"decimal":""}`, ``, []string{`type $.decimal ""`}},
		{`{"decimal":[]}`, ``, []string{`type $.decimal []`}},
		{`{"decimal":" 9.90 "}`, `decimal { value: "9.90" }`, []string{`type $.decimal " 9.90 "`}},
		{`{"decimalAny":""}`, ``, nil},
		{`{"decimalAny":true}`, `decimal_any { value: "1" }`, nil},
		{`{"decimalAny":false}`, `decimal_any { value: "0" }`, nil},

		// Messages that are empty the way PHP writes it.
		{`{"nested":[]}`, ``, []string{`type $.nested []`}},
		{`{"nested":""}`, ``, []string{`type $.nested ""`}},
		{`{"nestedEmpty":[]}`, ``, nil},
		{`{"nestedEmpty":""}`, ``, nil},
		{`{"nestedEmpty":{}}`, `nested_empty {}`, nil},
		{`{"anEnum":""}`, ``, []string{`type $.anEnum ""`}},

		// Lists.
		{`{"list":{"int64":1}}`, `list { int64: 1 }`, []string{`type $.list {"int64":1}`}},
		{`{"list":{"x":1}}`, `list {}`, []string{`unknown $.list.x 1`, `type $.list {"x":1}`}},
		{`{"list":""}`, ``, []string{`type $.list ""`}},
		{`{"list":[null,{},null]}`, `list {}`, []string{`type $.list[] null`}},
		{`{"list":[[],{}]}`, `list {}`, []string{`type $.list[] []`}},
		{`{"listSingle":{"int64":1}}`, `list_single { int64: 1 }`, nil},
		{`{"listSingle":{"int64":"1"}}`, `list_single { int64: 1 }`, []string{`type $.listSingle.int64 "1"`}},
		{`{"listSingle":[{"int64":"1"}]}`, `list_single { int64: 1 }`, []string{`type $.listSingle[].int64 "1"`}},
		{`{"listSingle":""}`, ``, nil},
		{`{"strings":"a"}`, `strings: "a"`, []string{`type $.strings "a"`}},
		{`{"strings":7}`, `strings: "7"`, []string{`type $.strings 7`}},
		{`{"strings":["a",7,null]}`, `strings: ["a","7"]`, []string{`type $.strings[] 7`}},
		{`{"stringsSingle":"a"}`, `strings_single: "a"`, nil},
		{`{"stringsSingle":7}`, `strings_single: "7"`, []string{`type $.stringsSingle 7`}},
		{`{"numbers":5}`, `numbers: 5`, []string{`type $.numbers 5`}},
		{`{"numbers":""}`, ``, []string{`type $.numbers ""`}},
		{`{"numbers":["1",2,"",[]]}`, `numbers: [1,2]`, []string{`type $.numbers[] "1"`}},
		{`{"decimals":1.50}`, `decimals { value: "1.50" }`, []string{`type $.decimals 1.50`}},
		{`{"doubles":[null,1],"bools":["Yes",0],"enums":[null]}`, `doubles: 1 bools: [true,false]`, []string{`type $.doubles[] null`, `type $.bools[] "Yes"`, `type $.enums[] null`}},
		{`{"list":null,"strings":null}`, ``, nil},
	}
	for _, tt := range tests {
		got := kind(t, "Kinds")
		drifts, err := Unmarshal([]byte(tt.json), got)
		if err != nil {
			t.Errorf("%s: %v", tt.json, err)
			continue
		}
		if diff := cmp.Diff(kindsOf(t, tt.want), got, protocmp.Transform()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tt.json, diff)
		}
		if diff := cmp.Diff(tt.drift, driftLines(drifts)); diff != "" {
			t.Errorf("%s: drift: -want +got:\n%s", tt.json, diff)
		}
	}
}

func TestSamplesAreCut(t *testing.T) {
	tests := []struct{ value, want string }{
		{`"` + strings.Repeat("x", MaxSample-2) + `"`, `"` + strings.Repeat("x", MaxSample-2) + `"`},
		{`"` + strings.Repeat("x", MaxSample) + `"`, `"` + strings.Repeat("x", MaxSample-1)},
		{`"` + strings.Repeat("x", MaxSample-2) + `é"`, `"` + strings.Repeat("x", MaxSample-2)},
		{`"` + strings.Repeat("x", MaxSample-4) + `😀"`, `"` + strings.Repeat("x", MaxSample-4)},
		{`"` + strings.Repeat("x", MaxSample-5) + `😀"`, `"` + strings.Repeat("x", MaxSample-5) + `😀`},
		{`  [1 , 2]  `, `[1 , 2]`},
	}
	for _, tt := range tests {
		doc := []byte(`{"x":` + tt.value + `}`)
		drifts, err := Unmarshal(doc, kind(t, "Kinds"))
		if err != nil {
			t.Fatal(err)
		}
		clear(doc)
		if len(drifts) != 1 || string(drifts[0].Sample) != tt.want {
			t.Errorf("%s: got %q, want %q", tt.value, driftLines(drifts), tt.want)
		}
	}
}

// A long name is cut in a path, and the cut name is reported once.
func TestLongNames(t *testing.T) {
	long := strings.Repeat("ě", 1000)
	doc := fmt.Sprintf(`{"%sa":1,"%sb":2,"nested":{"%s":3}}`, long, long, long)
	drifts, err := Unmarshal([]byte(doc), kind(t, "Kinds"))
	if err != nil {
		t.Fatal(err)
	}
	short := strings.Repeat("ě", maxName/2)
	want := []string{"unknown $." + short + " 1", "unknown $.nested." + short + " 3"}
	if diff := cmp.Diff(want, driftLines(drifts)); diff != "" {
		t.Error(diff)
	}
}

// A pair of kind and path is reported once, and no more than MaxDrifts of them are.
func TestDriftsAreFew(t *testing.T) {
	var doc strings.Builder
	doc.WriteString(`{"data":{"items":[{}`)
	for i := range 1000 {
		fmt.Fprintf(&doc, `,{"name":%d,"x":%d,"quantity":"","y%d":1}`, i, i, i)
	}
	doc.WriteString(`]}}`)
	drifts, err := Unmarshal([]byte(doc.String()), new(openloyaltyv1.TransactionRegistered))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"missing $.data.items[].sku ", "missing $.data.items[].quantity ", "missing $.data.items[].grossValue "}
	want = append(want, "type $.data.items[].name 0", "unknown $.data.items[].x 0", `type $.data.items[].quantity ""`)
	for i := range MaxDrifts - len(want) {
		want = append(want, fmt.Sprintf("unknown $.data.items[].y%d 1", i))
	}
	if diff := cmp.Diff(want, driftLines(drifts)); diff != "" {
		t.Error(diff)
	}
}

// The alternates that the schemas declare are no drift; the same forms elsewhere are.
func TestDeclaredAlternates(t *testing.T) {
	doc := `{"type":"customer.registered","createdAt":1563363348,"data":{"customerId":7,"data":{
		"phone":123456789,"createdAt":1563363348,"address":[],"company":"","labels":{"key":"k","value":5}}}}`
	m := new(openloyaltyv1.CustomerRegistered)
	drifts, err := Unmarshal([]byte(doc), m)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`type $.createdAt 1563363348`, `type $.data.customerId 7`,
		`type $.data.data.labels.value 5`, `type $.data.data.labels {"key":"k","value":5}`,
	}
	if diff := cmp.Diff(want, driftLines(drifts)); diff != "" {
		t.Error(diff)
	}
	wantData := &openloyaltyv1.CustomerData{
		Phone: proto.String("123456789"), CreatedAt: proto.String("1563363348"),
		Labels: []*openloyaltyv1.Label{{Key: proto.String("k"), Value: proto.String("5")}},
	}
	if diff := cmp.Diff(wantData, m.GetData().GetData(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}
