package signature

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/connectors"
)

const sideBySide = "Signed has a header's value beside another value, and nothing tells where it ends: a text between them would, or {len(…)} before"

// All problems are reported, with field and column, and without values.
func TestCompileProblems(t *testing.T) {
	const canary = "CANARY"
	good := []string{"a-secret"}
	for _, test := range []struct {
		name    string
		spec    connectors.HMAC
		secrets []string
		want    []string
	}{
		{"nothing", connectors.HMAC{}, nil, []string{"Header is missing", "Secrets are missing: give at least one"}},
		{"words", connectors.HMAC{
			Header: canary + ":", Algorithm: canary, Encoding: canary, SecretEncoding: canary, TimestampUnit: canary, Tolerance: -1,
		}, good, []string{
			"Encoding must be hex or base64", "Header is not a header name", "TimestampUnit must be s or ms",
			"Tolerance must not be negative", "Algorithm must be sha1, sha256 or sha512", "SecretEncoding must be text, hex or base64",
		}},
		{"a torn prefix", connectors.HMAC{Header: "S", Prefix: "v1,", Separator: ","}, good, []string{
			"Separator must not be part of the prefix, which would be torn apart",
		}},
		{"a torn time", connectors.HMAC{
			Header: "S", Prefix: "v1 ", Separator: "t=", TimestampPrefix: "t=", Signed: "{timestamp}.{body}",
		}, good, []string{
			"Separator must not be part of the time's prefix, which would be torn apart",
		}},
		{"a torn signature", connectors.HMAC{Header: "S", Separator: "a"}, good, []string{
			"Separator must not be of characters that signatures are written with",
		}},
		{"blanks", connectors.HMAC{Header: "S", Prefix: " v1", Separator: ",", TimestampPrefix: " t=", Signed: "{timestamp}.{body}"}, good, []string{
			"Prefix must not begin with a blank", "TimestampPrefix must not begin with a blank",
		}},
		{"two times", connectors.HMAC{
			Header: "S", Separator: ",", TimestampHeader: "T", TimestampPrefix: "t=", Signed: "{timestamp}.{body}",
		}, good, []string{"TimestampPrefix must not be set beside the time's header"}},
		{"no separator", connectors.HMAC{Header: "S", TimestampPrefix: "t=", Signed: "{timestamp}.{body}"}, good, []string{
			"TimestampPrefix needs a separator: the header has more than one part",
		}},
		{"one prefix", connectors.HMAC{Header: "S", Prefix: "t=1", Separator: ",", TimestampPrefix: "t=", Signed: "{timestamp}.{body}"}, good, []string{
			"TimestampPrefix must tell the time from a signature, whose prefix begins with it",
		}},
		{"the time in the signature", connectors.HMAC{Header: "x-s", TimestampHeader: "X-S", Signed: "{timestamp}.{body}"}, good, []string{
			"TimestampHeader must not be the signature's header; its parts are told by their prefix",
		}},
		{"odd headers", connectors.HMAC{Header: "S", TimestampHeader: "a b", Signed: "{timestamp}.{body}.{header.s}.{header.HOST}"}, good, []string{
			"TimestampHeader is not a header name", "Signed has the signature's own header",
			"Signed has the header Host, which is written {host}",
		}},
		{"the body unsigned", connectors.HMAC{Header: "S", Signed: "{url} {len(body)}"}, good, []string{
			"Signed must have {body} or {sha256(body)}: else any body would be accepted",
		}},
		{"the time unsigned", connectors.HMAC{Header: "S", TimestampHeader: "T", Signed: "{body}.{len(timestamp)}"}, good, []string{
			"Signed must have {timestamp}: else any time would be accepted",
		}},
		{"the time unsigned by default", connectors.HMAC{Header: "S", TimestampHeader: "T"}, good, []string{
			"Signed must have {timestamp}: else any time would be accepted",
		}},
		{"a header beside the body", connectors.HMAC{Header: "S", Signed: "{header.a}{body}"}, good, []string{sideBySide}},
		{"a header beside the address", connectors.HMAC{Header: "S", Signed: "{header.a}{url}{body}"}, good, []string{sideBySide}},
		{"headers side by side", connectors.HMAC{Header: "S", Signed: "{header.a}{header.b}.{body}"}, good, []string{sideBySide}},
		{"after the body", connectors.HMAC{Header: "S", Signed: "{body}{header.a}"}, good, []string{sideBySide}},
		{"a length beside a value", connectors.HMAC{Header: "S", Signed: "{len(body)}{body}"}, good, []string{sideBySide}},
		{"consumed", connectors.HMAC{Header: "te", TimestampHeader: "host", Signed: "{timestamp}.{header.transfer-encoding}.{body}"}, good, []string{
			"Header must not be a header that HTTP itself uses up", "TimestampHeader must not be a header that HTTP itself uses up",
			"Signed has a header that HTTP itself uses up",
		}},
		{"short secrets", connectors.HMAC{Header: "S", SecretPrefix: "whsec_", SecretEncoding: "hex"}, []string{"whsec_00112233445566", "0011223344556677"}, []string{
			"Secrets[0] is shorter than 8 bytes, without its prefix and once decoded",
		}},
		{"no time to sign", connectors.HMAC{Header: "S", Signed: "{timestamp}.{body}"}, good, []string{
			"Signed has {timestamp}, and nothing says where the time is",
		}},
		{"unknown", connectors.HMAC{Header: "S", Signed: "{body}é{" + canary + "}"}, good, []string{
			"Signed column 8: unknown; known are " + known,
		}},
		{"unclosed function", connectors.HMAC{Header: "S", Signed: "{sha256(body}"}, good, []string{
			"Signed column 1: unknown; known are " + known,
		}},
		{"nested", connectors.HMAC{Header: "S", Signed: "{len(sha256(body))}"}, good, []string{
			"Signed column 1: unknown; known are " + known,
		}},
		{"no header's name", connectors.HMAC{Header: "S", Signed: "{body}{header.}"}, good, []string{
			"Signed column 7: unknown; known are " + known,
		}},
		{"unclosed", connectors.HMAC{Header: "S", Signed: "{{{{{body"}, good, []string{
			`Signed column 5: a brace that nothing closes; write "{{" for a brace`,
		}},
		{"unopened", connectors.HMAC{Header: "S", Signed: "{body}}"}, good, []string{
			`Signed column 7: a closing brace that nothing opened; write "}}" for a brace`,
		}},
		{"long", connectors.HMAC{Header: "S", Signed: strings.Repeat("x", maxTemplate+1)}, good, []string{"Signed is longer than 4096 bytes"}},
		{"many parts", connectors.HMAC{Header: "S", Signed: strings.Repeat("{body}", maxParts+1)}, good, []string{"Signed has more than 64 parts"}},
		{"not text", connectors.HMAC{Header: "S", Signed: "\xff"}, good, []string{"Signed is not UTF-8 text"}},
		{
			"secrets",
			connectors.HMAC{Header: "S", SecretPrefix: "p_", SecretEncoding: "base64"},
			[]string{"p_!" + canary, "p_", "", strings.Repeat(canary, 1000)},
			[]string{"Secrets[0] is not base64", "Secrets[1] is empty", "Secrets[2] is empty", "Secrets[3] is longer than 4096 bytes"},
		},
		{"many secrets", connectors.HMAC{Header: "S"}, make([]string, 17), append([]string{"Secrets must be at most 16"},
			"Secrets[0] is empty", "Secrets[1] is empty", "Secrets[2] is empty", "Secrets[3] is empty", "Secrets[4] is empty",
			"Secrets[5] is empty", "Secrets[6] is empty", "Secrets[7] is empty", "Secrets[8] is empty", "Secrets[9] is empty",
			"Secrets[10] is empty", "Secrets[11] is empty", "Secrets[12] is empty", "Secrets[13] is empty", "Secrets[14] is empty",
			"Secrets[15] is empty", "Secrets[16] is empty")},
	} {
		_, err := Compile(test.spec, test.secrets)
		if err == nil {
			t.Errorf("%s: no problem", test.name)
			continue
		}
		if strings.Contains(err.Error(), canary) {
			t.Errorf("%s: quotes what it was given: %v", test.name, err)
		}
		got := strings.Split(err.Error(), "\n")
		for i := range got {
			got[i] = strings.TrimPrefix(got[i], "signature: ")
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// A template signs exactly the values that it names.
func TestTemplate(t *testing.T) {
	r := Request{
		Method: "POST", Host: "h.example", Path: "/a%2Fb", URL: "https://h.example/a%2Fb?q=1", Body: []byte("é"),
		Header: map[string][]string{"X-Id": {"7"}},
	}
	for text, want := range map[string]string{
		"":                                "",
		"a{{b}}c":                         "a{b}c",
		"{{body}}":                        "{body}",
		"{{{body}}}":                      "{é}",
		"{method} {path} {url}":           "POST /a%2Fb https://h.example/a%2Fb?q=1",
		"{len(host)}:{host}\n{len(body)}": "9:h.example\n2",
		"{header.x-id}{header.X-ID}{len(header.x-id)}{header.x-none}": "771",
		"{timestamp}|{len(timestamp)}":                                "1700|4",
		"{sha256(header.x-id)}":                                       "7902699be42c8a8e46fbbb4501726517e86b22c56a189f7625a6da49081b2451",
	} {
		parsed, problem := parseTemplate(text)
		if problem != "" {
			t.Errorf("%q: %s", text, problem)
			continue
		}
		var got strings.Builder
		for _, b := range parsed.of(&r, "1700") {
			got.Write(b)
		}
		if got.String() != want {
			t.Errorf("%q: got %q, want %q", text, got.String(), want)
		}
	}
}
