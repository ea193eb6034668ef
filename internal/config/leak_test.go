package config

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// A value in the wrong place, or a value that is itself wrong, is in no error.
func TestMisplacedSecrets(t *testing.T) {
	const secret = "CANARY-s3cret"
	shapes := map[string]func(n *yaml.Node){
		"plain": func(n *yaml.Node) { *n = yaml.Node{Kind: yaml.ScalarNode, Value: secret} },
		"odd": func(n *yaml.Node) {
			*n = yaml.Node{Kind: yaml.ScalarNode, Value: secret + "\n\x00{}", Style: yaml.DoubleQuotedStyle}
		},
		"long":      func(n *yaml.Node) { *n = yaml.Node{Kind: yaml.ScalarNode, Value: strings.Repeat(secret, 1000)} },
		"tag":       func(n *yaml.Node) { *n = yaml.Node{Kind: yaml.ScalarNode, Value: secret, Tag: "!" + secret} },
		"list":      func(n *yaml.Node) { *n = wrap(yaml.SequenceNode, secret) },
		"anchor":    func(n *yaml.Node) { n.Anchor = secret },
		"reference": func(n *yaml.Node) { *n = yaml.Node{Kind: yaml.ScalarNode, Value: "${SECRET}"} },
		"in text":   func(n *yaml.Node) { *n = yaml.Node{Kind: yaml.ScalarNode, Value: secret + "${file:/" + secret + "}"} },
		"unclosed":  func(n *yaml.Node) { *n = yaml.Node{Kind: yaml.ScalarNode, Value: "${" + secret} },
		"not a name": func(n *yaml.Node) {
			*n = yaml.Node{Kind: yaml.ScalarNode, Value: "${" + secret + ":?" + secret + "}"}
		},
	}
	x := expander{
		env:      func(string) (string, bool) { return secret, true },
		readFile: func(string) ([]byte, error) { return nil, errNotRegular },
	}
	for _, s := range readStories(t, "testdata/good/*.txtar") {
		for shape, change := range shapes {
			errors := 0
			for i := range values(t, s) {
				root := parsed(t, s)
				change(valuesBelow(root)[i])
				data, err := yaml.Marshal(root)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := parse("bridge.yaml", data, x, known); err != nil {
					errors++
					if strings.Contains(err.Error(), secret) {
						t.Errorf("%s: value %d, %s: a secret is printed: %v", s.path, i, shape, err)
					}
				}
			}
			if errors == 0 {
				t.Errorf("%s: %s: nothing was refused", s.path, shape)
			}
		}
	}
}

func wrap(kind yaml.Kind, value string) yaml.Node {
	return yaml.Node{Kind: kind, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: value}}}
}

func parsed(t *testing.T, s story) *yaml.Node {
	t.Helper()
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(s.parts["bridge.yaml"]), &root); err != nil {
		t.Fatal(err)
	}
	return root.Content[0]
}

func values(t *testing.T, s story) []*yaml.Node {
	t.Helper()
	return valuesBelow(parsed(t, s))
}

// valuesBelow returns all values in n, not the keys, in the file's order.
func valuesBelow(n *yaml.Node) []*yaml.Node {
	var all []*yaml.Node
	for i, inner := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			continue
		}
		all = append(all, inner)
		all = append(all, valuesBelow(inner)...)
	}
	return all
}

// No configuration makes the reader panic or print what the environment or a file holds.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.txtar", "testdata/bad/*.txtar"} {
		for _, s := range readSeeds(f, pattern) {
			f.Add([]byte(s))
		}
	}
	// Upper case and an odd character, so that the canary is neither a good name nor a word of any message.
	const secret = "CANARY#7f3a"
	x := expander{
		env:      func(string) (string, bool) { return secret, true },
		readFile: func(string) ([]byte, error) { return []byte(secret), nil },
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := parse("bridge.yaml", data, x, known)
		switch {
		case (cfg == nil) == (err == nil):
			t.Fatalf("neither or both: %v, %v", cfg, err)
		case err != nil && strings.Contains(err.Error(), secret) && !bytes.Contains(data, []byte(secret)):
			t.Fatalf("a secret is printed: %v", err)
		case cfg != nil && len(cfg.Sources) == 0:
			t.Fatal("no sources")
		}
		if cfg != nil && strings.Contains(fmt.Sprintf("%+v", cfg.Sources[0].Auth.Values), secret) {
			t.Fatal("a secret is printed")
		}
	})
}
