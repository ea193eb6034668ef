package grpcstream

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"strings"
	"testing"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

func testScope() scope { return newScope(hashLog("log"), hashFilter(nil)) }

func TestTokenComesBack(t *testing.T) {
	want := testScope()
	for _, p := range []sinks.Position{0, 1, 255, 1 << 40, math.MaxUint64} {
		token := want.token(p)
		got, next, err := parseToken(token)
		if err != nil || got != want || next != p {
			t.Errorf("token of %d came back as %d of %v, error %v", p, next, got, err)
		}
		if len(token) != tokenLen {
			t.Errorf("token %q has %d characters, want %d", token, len(token), tokenLen)
		}
	}
}

func TestDamagedTokenIsTold(t *testing.T) {
	s := testScope()
	token := s.token(123456)
	for n := range len(token) {
		if _, _, err := parseToken(token[:n]); err == nil || !strings.Contains(err.Error(), "cut") {
			t.Errorf("token cut to %d characters: error %v", n, err)
		}
		for _, c := range []byte("A_z9\n=") {
			damaged := token[:n] + string(c) + token[n+1:]
			if _, _, err := parseToken(damaged); damaged != token && err == nil {
				t.Errorf("damaged token %q is taken", damaged)
			}
		}
	}
	if _, _, err := parseToken(token + "\n"); err == nil {
		t.Error("token with a line break is taken")
	}
}

func TestTokenOfAnotherVersionIsTold(t *testing.T) {
	s := testScope()
	raw, err := encoding.DecodeString(s.token(1))
	if err != nil {
		t.Fatal(err)
	}
	raw[0] = 9
	body := raw[:len(raw)-4]
	token := encoding.EncodeToString(binary.BigEndian.AppendUint32(body, crc32.Checksum(body, castagnoli)))
	if _, _, err := parseToken(token); err == nil || !strings.Contains(err.Error(), "version 9") {
		t.Errorf("token of version 9: error %v", err)
	}
}

// Clients keep tokens in their databases: those of a version must stay readable.
func TestTokenIsStable(t *testing.T) {
	s := testScope()
	const want = "AYNv8YTntBsecJ6AyISHAAAAAAAAMDlQrRND"
	if got := s.token(12345); got != want {
		t.Errorf("token is %q, was %q", got, want)
	}
}

func FuzzParseToken(f *testing.F) {
	s := testScope()
	f.Add(s.token(0))
	f.Add(s.token(math.MaxUint64))
	f.Add("")
	f.Add(strings.Repeat("A", tokenLen))
	f.Fuzz(func(t *testing.T, text string) {
		got, next, err := parseToken(text)
		if err == nil && got.token(next) != text {
			t.Errorf("%q is taken for %q", text, got.token(next))
		}
	})
}

func FuzzTokenComesBack(f *testing.F) {
	f.Add("log", "order.*", "till", uint64(7))
	f.Fuzz(func(t *testing.T, log, kind, source string, position uint64) {
		want := newScope(hashLog(log), hashFilter(&streamv1.Filter{Types: []string{kind}, Sources: []string{source}}))
		got, next, err := parseToken(want.token(sinks.Position(position)))
		if err != nil || got != want || uint64(next) != position {
			t.Errorf("%d came back as %d, error %v", position, next, err)
		}
	})
}
