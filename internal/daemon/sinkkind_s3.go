package daemon

import (
	"context"
	"time"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/s3"
)

// S3Sink is the kind of sink that writes events as objects to S3.
func S3Sink() SinkKind {
	return SinkKind{
		Name:     "s3",
		Describe: func(s config.Sink) string { return "bucket " + s.S3.Bucket + ", " + s.S3.Prefix },
		Check:    func(s config.Sink) []config.Fault { return faults("s3", s3Config(s.S3).Check()) },
		Resumes:  func(s config.Sink) bool { return s.S3.Once },
		Open: func(ctx context.Context, s config.Sink, from sinks.Origin) (sinks.Sink, error) {
			if s.S3.Once {
				return s3.OpenResumer(ctx, from, s3Config(s.S3))
			}
			return s3.Open(ctx, from, s3Config(s.S3))
		},
	}
}

func s3Config(b *config.S3) s3.Config {
	c := s3.Config{
		Bucket:    b.Bucket,
		Prefix:    b.Prefix,
		Region:    b.Region,
		Endpoint:  b.Endpoint,
		PathStyle: b.PathStyle,
		Format:    b.Format,
		Timeout:   b.Timeout,
		TLS:       clientTLSFiles(b.TLS),
	}
	if b.AccessKeyID != "" {
		c.Credentials = func() s3.Credentials {
			b.SecretAccessKey.Use(time.Now())
			return s3.Credentials{AccessKeyID: b.AccessKeyID, SecretAccessKey: b.SecretAccessKey.Reveal()}
		}
	}
	return c
}
