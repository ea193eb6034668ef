package config

import (
	"time"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
)

// File is a file to append to.
type File struct {
	Path, Format, Compression string
	RotateSize                int64
	RotateAge                 time.Duration
}

func (r resolver) file(path string, file *configv1.FileSink) *File {
	return &File{
		Path:        file.GetPath(),
		Format:      text(path+".format", file.GetFormat()),
		Compression: text(path+".compression", file.GetCompression()),
		RotateSize:  r.size(path+".rotate.size", file.GetRotate().GetSize(), 0),
		RotateAge:   r.duration(path+".rotate.age", file.GetRotate().GetAge()),
	}
}
