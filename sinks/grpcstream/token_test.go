package grpcstream

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"testing"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/filter"
)

func testTokens() *tokens { return newTokens(hashLog("log"), filter.Hash(nil)) }

// sign returns the text of a token with the right checksum.
func sign(body []byte) string {
	return encoding.EncodeToString(binary.BigEndian.AppendUint32(slices.Clone(body), crc32.Checksum(body, castagnoli)))
}

// oldToken returns a token as the first version made it.
func oldToken(t *tokens, p sinks.Position) string {
	body := append([]byte{oldVersion}, t.log[:]...)
	body = append(body, t.filter[:oldFilterHashLen]...)
	return sign(binary.BigEndian.AppendUint64(body, uint64(p)))
}

func (k token) isOf(t *tokens) bool {
	return k.log == t.log && strings.HasPrefix(string(t.filter[:]), string(k.filter))
}

func TestTokenComesBack(t *testing.T) {
	s := testTokens()
	for _, want := range []sinks.Mark{
		{}, {Position: 1}, {Epoch: 7, Position: 1}, {Epoch: 7, Position: 255}, {Epoch: math.MaxUint64, Position: 1 << 40}, {Position: math.MaxUint64},
	} {
		text := s.token(want)
		got, err := parseToken(text)
		if err != nil || !got.isOf(s) || len(got.filter) != filterHashLen || got.mark != want {
			t.Errorf("token of %v came back as %v, error %v", want, got, err)
		}
		if len(text) != tokenLen || testTokens().token(want) != text {
			t.Errorf("token %q has %d characters, want %d; alone it is %q", text, len(text), tokenLen, testTokens().token(want))
		}
	}
}

func TestDamagedTokenIsTold(t *testing.T) {
	for _, text := range []string{testTokens().token(sinks.Mark{Epoch: 77, Position: 123456}), oldToken(testTokens(), 123456)} {
		for n := range len(text) {
			if _, err := parseToken(text[:n]); err == nil || !strings.Contains(err.Error(), "cut") {
				t.Errorf("token cut to %d characters: error %v", n, err)
			}
			for _, c := range []byte("A_z9\n=") {
				damaged := text[:n] + string(c) + text[n+1:]
				if _, err := parseToken(damaged); damaged != text && err == nil {
					t.Errorf("damaged token %q is accepted", damaged)
				}
			}
		}
		if _, err := parseToken(text + "\n"); err == nil {
			t.Error("token with a line break is accepted")
		}
	}
}

func TestTokenOfAnotherVersionIsTold(t *testing.T) {
	for _, text := range []string{testTokens().token(sinks.Mark{Position: 1}), oldToken(testTokens(), 1)} {
		raw, err := encoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		raw[0] = 9
		if _, err := parseToken(sign(raw[:len(raw)-4])); err == nil || !strings.Contains(err.Error(), "version 9") {
			t.Errorf("token of version 9: error %v", err)
		}
	}
}

// A token of the new length that says it is of the old version was not made by Bridge.
func TestTokenOfVersion1HasItsLength(t *testing.T) {
	raw, err := encoding.DecodeString(testTokens().token(sinks.Mark{Position: 1}))
	if err != nil {
		t.Fatal(err)
	}
	raw[0] = oldVersion
	if k, err := parseToken(sign(raw[:len(raw)-4])); err == nil {
		t.Errorf("it is read as %v", k)
	}
}

// Clients store tokens in their databases: tokens of each version must stay readable.
func TestTokenIsStable(t *testing.T) {
	s := testTokens()
	want := sinks.Mark{Epoch: 0x0123456789abcdef, Position: 12345}
	const current = "AoNv8YTntBsecJ6AyISHogEjRWeJq83vAAAAAAAAMDly6P9q"
	if got := s.token(want); got != current {
		t.Errorf("token is %q, was %q", got, current)
	}
	if got, err := parseToken(current); err != nil || !got.isOf(s) || got.mark != want {
		t.Errorf("%s is %v, error %v", current, got, err)
	}
	const old = "AYNv8YTntBsecJ6AyISHAAAAAAAAMDlQrRND"
	if got, err := parseToken(old); err != nil || !got.isOf(s) || got.mark != (sinks.Mark{Position: 12345}) {
		t.Errorf("%s is %v, error %v", old, got, err)
	}
}

func FuzzParseToken(f *testing.F) {
	s := testTokens()
	f.Add(s.token(sinks.Mark{}))
	f.Add(s.token(sinks.Mark{Epoch: 7, Position: math.MaxUint64}))
	f.Add(oldToken(s, 7))
	f.Add("")
	f.Add(strings.Repeat("A", tokenLen))
	f.Fuzz(func(t *testing.T, text string) {
		k, err := parseToken(text)
		if err != nil {
			return
		}
		var filter [filterHashLen]byte
		copy(filter[:], k.filter)
		again := newTokens(k.log, filter)
		if again.token(k.mark) != text && (k.mark.Epoch != 0 || oldToken(again, k.mark.Position) != text) {
			t.Errorf("%q is read as %v", text, k)
		}
	})
}

func FuzzTokenComesBack(f *testing.F) {
	f.Add("log", "order.*", "till", uint64(7), uint64(9))
	f.Fuzz(func(t *testing.T, log, kind, source string, epoch, position uint64) {
		s := newTokens(hashLog(log), filter.Hash(&streamv1.Filter{Types: []string{kind}, Sources: []string{source}}))
		want := sinks.Mark{Epoch: sinks.Epoch(epoch), Position: sinks.Position(position)}
		got, err := parseToken(s.token(want))
		if err != nil || !got.isOf(s) || got.mark != want {
			t.Errorf("%v came back as %v, error %v", want, got, err)
		}
		old, err := parseToken(oldToken(s, want.Position))
		if err != nil || !old.isOf(s) || old.mark != (sinks.Mark{Position: want.Position}) {
			t.Errorf("%d came back as %v, error %v", position, old, err)
		}
	})
}
