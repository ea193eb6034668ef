package cli

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/retino"
	"github.com/webhook-bridge/bridge/internal/signature"
)

// shell is where what is printed for people to run is run: with the program, and a curl that says what it was told.
const shell = `set -eu
cd "$1"
bridge() { echo '{"say": "hello"}'; }
curl() { for a; do printf '%s\n' "$a"; done; }
RETINO_SECRET='the secret of this test'
`

// What is printed for a vendor that signs is a request that Bridge believes.
func TestSignedByHand(t *testing.T) {
	for _, tool := range []string{"sh", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("without %s, the test cannot sign by hand", tool)
		}
	}
	for _, h := range []connectors.HMAC{
		{Prefix: "sha256="},
		{Algorithm: "sha512", Encoding: "base64"},
		{Signed: "{timestamp}.{body}", TimestampHeader: "X-Time"},
		{Algorithm: "sha1", Signed: "{timestamp}.{body}", TimestampPrefix: "t=", Separator: ",", Prefix: "v1="},
	} {
		h.Header = "X-Sign"
		header := headersPrinted(t, h)
		scheme, err := signature.Compile(h, []string{"the secret of this test"})
		if err != nil {
			t.Fatal(err)
		}
		if err := scheme.Verify(signature.Request{Header: header, Body: []byte("{\"say\": \"hello\"}\n")}, time.Now()); err != nil {
			t.Errorf("%+v: %v: %v", h, header, err)
		}
	}
	for _, h := range []connectors.HMAC{
		{SecretPrefix: "whsec_"}, {SecretEncoding: "base64"}, {TimestampHeader: "X-Time", TimestampUnit: "ms"}, {Signed: "{url}{body}"},
	} {
		if commands, ok := openssl(&h, "SECRET"); ok {
			t.Errorf("%+v: %s", h, commands)
		}
	}
}

// headersPrinted runs what is printed for a vendor that signs so, and returns the headers that curl is told.
func headersPrinted(t *testing.T, h connectors.HMAC) http.Header {
	t.Helper()
	c := *retino.New()
	c.Verification = connectors.Verification{HMAC: &h}
	var b strings.Builder
	setUp(&b, styles{}, &c)
	_, byHand, found := strings.Cut(b.String(), "# signs it\n")
	if !found || byHand == "" {
		t.Fatalf("nothing to do by hand:\n%s", &b)
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", shell+byHand, "sh", t.TempDir()).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, byHand)
	}
	header := http.Header{}
	for line := range strings.Lines(string(out)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			header.Set(name, value)
		}
	}
	return header
}
