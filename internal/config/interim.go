package config

import (
	"github.com/webhook-bridge/bridge/internal/schema"
	"github.com/webhook-bridge/bridge/internal/secret"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// Secret is a value that is not printed.
type Secret = secret.Value

// NewSecret returns value as a Secret.
func NewSecret(value string) Secret { return secret.New(value) }

// FormatSize returns the shortest text that a configuration may give for n bytes, such as "8Gi".
func FormatSize(n int64) string { return schema.FormatSize(n) }

func parseSize(text string) (int64, bool) { return schema.ParseSize(text) }
