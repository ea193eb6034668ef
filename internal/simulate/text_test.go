package simulate

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// noon is the time of the last webhooks of these tests. The webhooks before are at different times.
var noon = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

const apart = 61*time.Second + 1234567

// render generates n webhooks of a text whose event is in the member "type".
func render(t *testing.T, raw string, n int) []string {
	t.Helper()
	random := newRandom(7)
	compiled := compile([]byte(raw), "type", time.UTC, random)
	var made []string
	for i := range n {
		at := noon.Add(-time.Duration(n-1-i) * apart)
		made = append(made, string(compiled.appendTo(nil, at, random)))
	}
	return made
}

// TestVaried shows how each value is varied; < and > mark the parts that differ between webhooks.
func TestVaried(t *testing.T) {
	const uuid = `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-9[0-9a-f]{3}-[0-9a-f]{12}`
	for _, tt := range []struct{ raw, want string }{
		// Ids.
		{`{"id":"2b20e85f-2201-494a-9bf9-85d89721174e"}`, `{"id":"<` + uuid + `>"}`},
		{`{"id":"2B20E85F-2201-494A-9BF9-85D89721174E"}`, `{"id":"<[0-9A-F-]{36}>"}`},
		{`{"url":"https://a.example/2b20e85f-2201-494a-9bf9-85d89721174e/x?y=1"}`, `{"url":"https://a.example/<` + uuid + `>/x\?y=1"}`},
		{`{"id":"00000000-0000-0000-0000-000000000000"}`, ""},
		{`{"id":"5f8d0d55b54764421b7156c9"}`, `{"id":"<[0-9a-f]{24}>"}`},
		{`{"id":"evt_1NG8Du2eZvKYlo2CUI79vXWy"}`, `{"id":"<evt_1NG8Du2e[A-Z][a-z][A-Z]{2}[a-z]{2}\d[A-Z]{3}\d{2}[a-z][A-Z]{2}[a-z]>"}`},
		{`{"id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","url":"/e/01ARZ3NDEKTSV4RRFFQ69G5FAV"}`, `{"id":"<(01ARZ3NDEK[0-9A-HJKMNP-TV-Z]{16})>","url":"/e/<01ARZ3NDEK[0-9A-Z]{16}>"}`},
		{`{"id":"0ujsszwN8NRY24YaXiTIE2VWDTS"}`, `{"id":"<0ujsszwN8NR[0-9A-Za-z]{16}>"}`},
		{`{"id":"cs_test_a1b2C3d4E5"}`, `{"id":"<cs_test_[a-z]\d[a-z]\d[A-Z]\d[a-z]\d[A-Z]\d>"}`},
		{`{"a":"credit_note_20210001xy","b":"ch_short1","c":"withoutanydigitsatallbutlong","d":"order_2021000100"}`, `{"a":"<credit_note_\d{8}[a-z]{2}>","b":"ch_short1","c":"withoutanydigitsatallbutlong","d":"<order_2\d{9}>"}`},
		{`{"id": 9007199254740993 }`, `{"id": <9\d{15}> }`},
		{`{"id":"9007199254740993"}`, `{"id":"<9\d{15}>"}`},
		{`{"id":9223372036854775807,"n":18446744073709551615}`, ""}, // no larger numbers exist
		{`{"id":103,"id_c":100000,"on":true,"none":null}`, ""},
		// Document numbers.
		{`{"ref":"20210001"}`, `{"ref":"<2\d{7}>"}`},
		{`{"ref":"0001"}`, `{"ref":"<\d{4}>"}`},
		{`{"Number":"A/21/08/0001"}`, `{"Number":"<A/21/08/\d{4}>"}`},
		{`{"Code":"C-7"}`, `{"Code":"<C-\d{5}>"}`},
		{`{"Code":"KS-01-L","coupon":"HEMAT","level":"level0","postal_code":"11000","zip":"411-2220"}`, ""},
		{`{"phone":"+00420123456789"}`, `{"phone":"<\+00\d{12}>"}`},
		{`{"tracking_number":"Z3824826667","url":"https://a.example/?n=Z3824826667"}`, `{"tracking_number":"<(Z3\d{9})>","url":"https://a.example/\?n=<(Z3\d{9})>"}`},
		// Amounts: the same in cents and as text.
		{`{"total":1990,"totalStr":"19.90","total_text":"001,990"}`, `{"total":<([1-9]\d[1-9]0)>,"totalStr":"<[1-9]\d\.[1-9]0>","total_text":"<00[1-9],\d[1-9]0>"}`},
		{`{"price":39900.00,"gross":"-0.50"}`, `{"price":<\d\d[1-9]00\.00>,"gross":"<-0\.[1-9]0>"}`},
		{`{"tax_rate":0.21,"quantity":2.500,"amount":1,"total":0.00,"total_products":32,"amount_text":"99,00 Kč"}`, ""},
		{`{"amount":9223372036854775807.999999999}`, ""},
		// Times, in their own format.
		{`{"at":"2023-01-23T10:28:10.010Z"}`, `{"at":"<2026-09-01T1[12]:\d\d:\d\d\.\d{3}Z>"}`},
		{`{"at":"2023-04-04T09:00:19.249525+02:00"}`, `{"at":"<2026-09-01T1[34]:\d\d:\d\d\.\d{6}\+02:00>"}`},
		{`{"at":"2021-08-20T10:28:56.6691072"}`, `{"at":"<2026-09-01T1[12]:\d\d:\d\d\.\d{7}>"}`},
		{`{"at":"2019-08-09T14:08:28+0200"}`, `{"at":"<2026-09-01T1[34]:\d\d:\d\d\+0200>"}`},
		{`{"at":"2026-01-01 19:00:00"}`, `{"at":"<2026-09-01 1[12]:\d\d:\d\d>"}`},
		{`{"at":"01-Sep-2020 06:05PM"}`, `{"at":"<01-Sep-2026 1[12]:\d\d[AP]M>"}`},
		{`{"day":"2020-07-01","midnight":"2020-07-01T00:00:00"}`, `{"day":"2026-09-01","midnight":"2026-09-01T00:00:00"}`},
		{`{"_v":1763800000001}`, `{"_v":<17\d{11}>}`},
		{`{"createdAt":1563363348,"items":1563363348}`, `{"createdAt":<1788\d{6}>,"items":<1\d{9}>}`},
		{`{"never":"0001-01-01T00:00:00","birthdate":"2018-07-22","bad_date":"2020-13-41","type":"2023-01-23"}`, ""},
		// People.
		{`{"first_name":"Jana","lastName":"Doe","customer":{"name":"Jane Doe"}}`, `{"first_name":"<\pL+>","lastName":"<[\pL ]+>","customer":{"name":"<\pL+ [\pL ]+>"}}`},
		{`{"email":"jdoe@shop.example"}`, `{"email":"<[a-z]+\.\d+@shop\.example>"}`},
		{`{"firstName":"","name":"Notebook","city":"Praha","supplier":{"name":"PT Kopi"}}`, ""},
		// Broken texts, up to the error.
		{`{"id":"2b20e85f-2201-494a-9bf9-85d89721174e","ref":"2021`, `{"id":"<` + uuid + `>","ref":"<2\d{3}>`},
		{`[}"2b20e85f-2201-494a-9bf9-85d89721174e" 9007199254740993,]]{`, `\[}"<` + uuid + `>" <9\d{15}>,\]\]{`},
		{`"\`, ""},
		{``, ""},
	} {
		want := tt.want
		if want == "" {
			want = regexp.QuoteMeta(tt.raw)
		}
		made := render(t, tt.raw, 50)
		differs := strings.Contains(want, "<")
		pattern := regexp.MustCompile("^" + strings.NewReplacer("<", "", ">", "").Replace(want) + "$")
		seen := map[string]bool{}
		for _, text := range made {
			if !pattern.MatchString(text) {
				t.Errorf("%s became %s, want %s", tt.raw, text, want)
				break
			}
			seen[text] = true
		}
		if (len(seen) > 1) != differs {
			t.Errorf("%s became %d texts, such as %s", tt.raw, len(seen), made[0])
		}
	}
}

// Values that are equal in the sample are equal in each webhook, and no others.
func TestSameStaysSame(t *testing.T) {
	const raw = `{"a":"2b20e85f-2201-494a-9bf9-85d89721174e","b":{"c":"2b20e85f-2201-494a-9bf9-85d89721174e","d":"x/2b20e85f-2201-494a-9bf9-85d89721174e"},
		"n":9007199254740993,"m":["100000-9007199254740993"],"o":9007199254740995,"mail":"a@b.example","mail2":"a@b.example"}`
	for _, text := range render(t, raw, 100) {
		var got struct {
			A, Mail, Mail2 string
			B              struct{ C, D string }
			N, O           json.Number
			M              []string
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if got.B.C != got.A || got.B.D != "x/"+got.A || got.M[0] != "100000-"+got.N.String() || got.Mail != got.Mail2 || got.N == got.O {
			t.Fatalf("what was the same is not: %s", text)
		}
	}
}

// Numbers are unique and keep their width while numbers of that width are left. Then they get longer.
func TestNumbersStayApart(t *testing.T) {
	seen := map[string]bool{}
	for n, text := range render(t, `{"ref":"0000"}`, 25_000) {
		if seen[text] {
			t.Fatalf("%s comes twice", text)
		}
		seen[text] = true
		if wide := len(text) > len(`{"ref":"0000"}`); wide != (n >= 10_000) {
			t.Fatalf("number %d is %s", n, text)
		}
	}
}

// The times of a webhook keep their distance. The first one is the time of the event.
func TestTimesMoveTogether(t *testing.T) {
	for i, text := range render(t, `{"created":"2020-01-01T00:00:01.000Z","expires_at":1577836861,"day":"2020-01-03"}`, 100) {
		var got struct {
			Created   time.Time
			ExpiresAt int64 `json:"expires_at"`
			Day       string
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		if at := noon.Add(-time.Duration(99-i) * apart).Truncate(time.Millisecond); !got.Created.Equal(at) {
			t.Errorf("happened at %v, not %v", got.Created, at)
		}
		if apart := got.ExpiresAt - got.Created.Unix(); apart < 59 || apart > 61 {
			t.Errorf("%d seconds apart, not 60: %s", apart, text)
		}
		if got.Day != "2026-09-03" {
			t.Errorf("the day is %s", got.Day)
		}
	}
}

// A time without a zone is in the source's zone.
func TestZone(t *testing.T) {
	jakarta := time.FixedZone("WIB", 7*60*60)
	random := newRandom(1)
	got := string(compile([]byte(`"2020-01-01T00:00:01"`), "", jakarta, random).appendTo(nil, noon, random))
	if got != `"2026-09-01T19:00:00"` {
		t.Errorf("noon in London is %s in Jakarta", got)
	}
}

func TestScan(t *testing.T) {
	var got []string
	for _, s := range scan([]byte(`{"a":"1","b":[2,{"c":"x\"y"}],"d":{"e":-1.5e3,"f":[["g"]]},"h":true,"i":{}, "j" : "k"}`)) {
		got = append(got, s.parent+"/"+s.key+"="+s.text)
	}
	want := []string{"/a=1", "/b=2", `b/c=x\"y`, "d/e=-1.5e3", "d/f=g", "/j=k"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// FuzzCompile compiles texts that are not JSON. Other bytes stay, and nothing panics.
func FuzzCompile(f *testing.F) {
	f.Add([]byte(`{"id":"2b20e85f-2201-494a-9bf9-85d89721174e","total":"19.90","at":"2023-01-23T10:28:10.010Z"}`))
	f.Add([]byte(`["\`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		random := newRandom(1)
		c := compile(raw, "type", time.UTC, random)
		for range 3 {
			made := c.appendTo(nil, noon, random)
			if len(c.places) == 0 && string(made) != string(raw) {
				t.Errorf("%q became %q, though nothing varies", raw, made)
			}
		}
		at := 0
		for _, p := range c.places {
			if p.start < at || p.end < p.start || p.end > len(raw) {
				t.Fatalf("places %+v of %q overlap", c.places, raw)
			}
			at = p.end
		}
	})
}

func TestLatency(t *testing.T) {
	var l latency
	for ms := 1; ms <= 1000; ms++ {
		l.add(time.Duration(ms) * time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second} {
		if got := l.quantile(q); got < want || got > want+want/25 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	for d := time.Duration(1); d > 0; d *= 3 { // until it overflows
		if b := bound(bucket(d)); b < d || b-d > d/25 {
			t.Errorf("%v is in a bucket up to %v", d, b)
		}
	}
}
