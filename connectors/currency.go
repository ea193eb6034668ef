package connectors

import "slices"

// currencySigns are the signs and abbreviations that people print, with the codes of the currencies that each may mean.
var currencySigns = map[string][]string{
	"$": {
		"USD", "ARS", "AUD", "BBD", "BMD", "BND", "BSD", "BZD", "CAD", "CLP", "COP", "DOP", "FJD", "GYD", "HKD", "JMD", "KYD", "LRD",
		"MXN", "NAD", "NZD", "SBD", "SGD", "SRD", "TTD", "TWD", "UYU", "XCD",
	},
	"US$": {"USD"}, "A$": {"AUD"}, "AU$": {"AUD"}, "C$": {"CAD", "NIO"}, "CA$": {"CAD"}, "HK$": {"HKD"}, "MX$": {"MXN"}, "NT$": {"TWD"},
	"NZ$": {"NZD"}, "R$": {"BRL"}, "S$": {"SGD"},
	"€": {"EUR"},
	"£": {"GBP", "EGP", "FKP", "GIP", "LBP", "SHP", "SSP", "SYP"},
	"¥": {"JPY", "CNY"}, "￥": {"JPY", "CNY"}, "円": {"JPY"}, "元": {"CNY"},
	"₩": {"KRW", "KPW"}, "₹": {"INR"}, "₽": {"RUB"}, "₺": {"TRY"}, "₫": {"VND"}, "₪": {"ILS"}, "₱": {"PHP"}, "₦": {"NGN"}, "₴": {"UAH"},
	"₡": {"CRC"}, "₲": {"PYG"}, "₵": {"GHS"}, "฿": {"THB"}, "₸": {"KZT"}, "₮": {"MNT"}, "₭": {"LAK"}, "₼": {"AZN"}, "₾": {"GEL"},
	"Kč": {"CZK"}, "zł": {"PLN"}, "Ft": {"HUF"}, "lei": {"RON", "MDL"}, "лв": {"BGN"}, "лв.": {"BGN"},
	"kr": {"SEK", "NOK", "DKK", "ISK"}, "kr.": {"SEK", "NOK", "DKK", "ISK"},
	"Rp": {"IDR"}, "Rp.": {"IDR"}, "RM": {"MYR"},
	"Rs": {"INR", "PKR", "LKR", "NPR", "MUR", "SCR"}, "Rs.": {"INR", "PKR", "LKR", "NPR", "MUR", "SCR"},
	"R": {"ZAR"}, "Fr": {"CHF"}, "Fr.": {"CHF"}, "S/": {"PEN"},
}

// currenciesOf returns the codes that a sign or a code may mean; nil for any other text. The result must not be changed.
func currenciesOf(mark string) []string {
	if isCurrency(mark) {
		return []string{mark}
	}
	return currencySigns[mark]
}

// common returns the codes that are in both; nil if there are none.
func common(a, b []string) (both []string) {
	for _, code := range a {
		if slices.Contains(b, code) {
			both = append(both, code)
		}
	}
	return both
}
