package listener

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkScanner follows the requests of a vendor on one connection.
func BenchmarkScanner(b *testing.B) {
	body := strings.Repeat("x", 465)
	request := []byte(fmt.Sprintf("POST /webhooks/returns HTTP/1.1\r\nHost: bridge\r\nContent-Type: application/json\r\n"+
		"User-Agent: Retino\r\nX-Retino-Secret: %s\r\nContent-Length: %d\r\n\r\n%s", "a-secret-for-tests", len(body), body))
	b.ReportAllocs()
	var s scanner
	for b.Loop() {
		if n, refused := s.scan(request); n != len(request) || refused != nil {
			b.Fatal(n, refused)
		}
	}
}
