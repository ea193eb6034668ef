package tracing_test

import (
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/internal/tracing"
)

const valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestParse(t *testing.T) {
	c, ok := tracing.Parse(valid)
	if !ok || !c.Sampled || c.String() != valid || c.TraceID() != "4bf92f3577b34da6a3ce929d0e0e4736" || c.SpanID() != "00f067aa0ba902b7" {
		t.Errorf("got %+v, %v", c, ok)
	}
	for header, want := range map[string]string{
		valid[:53] + "00":                valid[:53] + "00",
		valid[:53] + "03":                valid, // other flags are not ours to pass on
		"01" + valid[2:]:                 valid,
		"01" + valid[2:] + "-what-comes": valid,
	} {
		if c, ok := tracing.Parse(header); !ok || c.String() != want {
			t.Errorf("%s: got %s, %v", header, c, ok)
		}
	}
}

// TestMalformed: what is malformed counts as absent.
func TestMalformed(t *testing.T) {
	for name, header := range map[string]string{
		"empty":              "",
		"short":              valid[:54],
		"long":               valid + "-x",
		"upper case":         strings.ToUpper(valid),
		"version ff":         "ff" + valid[2:],
		"no trace":           "00-" + strings.Repeat("0", 32) + valid[35:],
		"no span":            valid[:36] + strings.Repeat("0", 16) + valid[52:],
		"not hexadecimal":    "00-" + strings.Repeat("g", 32) + valid[35:],
		"other separator":    strings.ReplaceAll(valid, "-", "_"),
		"a later one, glued": "01" + valid[2:] + "x",
		"a later, huge one":  "01" + valid[2:] + "-" + strings.Repeat("x", 1<<10),
	} {
		if c, ok := tracing.Parse(header); ok || c.String() != "" && c.Valid() {
			t.Errorf("%s: got %s", name, c)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(valid)
	f.Add("01" + valid[2:] + "-more")
	f.Fuzz(func(t *testing.T, header string) {
		c, ok := tracing.Parse(header)
		if !ok {
			return
		}
		again, ok := tracing.Parse([]byte(c.String()))
		if !ok || again != c {
			t.Errorf("%q: %+v is written as %s and read as %+v, %v", header, c, c, again, ok)
		}
	})
}

// TestOff: without a tracer nothing happens, and nothing is allocated.
func TestOff(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		s := tracing.Begin(nil, tracing.Start{Name: "receive"})
		c := s.Child("decode")
		c.Fail("malformed")
		c.End()
		s.End()
		if s.Recording() || s.Context().Valid() || s.LogAttributes() != nil {
			t.Fatal("a span was recorded")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
