package daemon

import (
	"context"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/file"
)

// FileSink is the kind of sink that appends events to a file.
func FileSink() SinkKind {
	return SinkKind{
		Name:     "file",
		Describe: func(s config.Sink) string { return "file " + s.File.Path },
		Resumes:  func(config.Sink) bool { return true },
		Open: func(ctx context.Context, s config.Sink, from sinks.Origin) (sinks.Sink, error) {
			return file.Open(ctx, fileConfig(s.File), from)
		},
	}
}

// A sink does not know the configuration: it has settings of its own.
func fileConfig(f *config.File) file.Config {
	c := file.Config{
		Path:       f.Path,
		Format:     file.Format(f.Format),
		RotateSize: f.RotateSize,
		RotateAge:  f.RotateAge,
	}
	if f.Compression == "zstd" {
		c.Compression = file.Zstd
	}
	return c
}
