package connectortest

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// mutations is how many bodies are made of each document.
const mutations = 150

// fragments are inserted into bodies.
var fragments = []string{
	"{", "}", "[", "]", ",", ":", `"`, `\`, "null", "true", "{}", "[]", `""`, "-", "0", "1e999", "1e-999", "9007199254740993",
	"18446744073709551616", "0.1234567891", "\u00a0", "\x00", "\xff", `\u0000`, `\ud800`, "//", `,"":0`, `"a":1,"a":2,`, "\ufeff",
	`"\ud83d":"\ude00",`, `"x":[[[[{"a":[]}]]]],`,
}

func checkMutated(k *kit) error {
	return k.each(func(d document) error {
		// The seed is fixed, so that a failure can be reproduced.
		random := rand.New(rand.NewPCG(1, uint64(len(d.body)))) //nolint:gosec // nothing rests on its strength
		for range mutations {
			body := mutate(random, d.body)
			if err := checkResult(k.run(d.of(body))); err != nil {
				return fmt.Errorf("%q: %w", body, err)
			}
		}
		return nil
	})
}

// mutate returns a body that differs from body in one to three places.
func mutate(random *rand.Rand, body []byte) []byte {
	b := slices.Clone(body)
	for range 1 + random.IntN(3) {
		from := random.IntN(len(b) + 1)
		to := min(from+random.IntN(12), len(b))
		piece := slices.Clone(b[from:to])
		switch random.IntN(5) {
		case 0:
			if from < len(b) {
				b[from] ^= 1 << random.IntN(8)
			}
		case 1:
			b = slices.Delete(b, from, to)
		case 2:
			b = slices.Insert(b, to, piece...)
		case 3:
			b = slices.Insert(b, from, []byte(fragments[random.IntN(len(fragments))])...)
		case 4:
			b = slices.Insert(b, random.IntN(len(b)+1), piece...)
		}
	}
	return b
}
