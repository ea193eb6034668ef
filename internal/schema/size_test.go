package schema

import "testing"

func TestSize(t *testing.T) {
	for _, test := range []struct {
		text string
		want int64
		ok   bool
	}{
		{"0", 0, true},
		{"512", 512, true},
		{"512B", 512, true},
		{"64Ki", 64 << 10, true},
		{"1Mi", 1 << 20, true},
		{"8Gi", 8 << 30, true},
		{"2Ti", 2 << 40, true},
		{"1.5Gi", 3 << 29, true},
		{"2k", 2000, true},
		{"3M", 3e6, true},
		{"4G", 4e9, true},
		{"5T", 5e12, true},
		{"0.5", 0, true},
		{text: ""},
		{text: "Gi"},
		{text: "-1"},
		{text: "+1"},
		{text: "1 Gi"},
		{text: "1gi"},
		{text: "1GiB"},
		{text: "1e9"},
		{text: "1.2.3"},
		{text: "."},
		{text: "NaN"},
		{text: "Inf"},
		{text: "0x10"},
		{text: "9999999Ti"},
		{text: "9223372036854775807"}, // within a rounding of what does not fit
	} {
		got, ok := ParseSize(test.text)
		if got != test.want || ok != test.ok {
			t.Errorf("ParseSize(%q) = %d, %t; want %d, %t", test.text, got, ok, test.want, test.ok)
		}
		if again, ok := ParseSize(FormatSize(got)); !ok || again != got {
			t.Errorf("FormatSize(%d) = %q, which reads as %d, %t", got, FormatSize(got), again, ok)
		}
	}
}
