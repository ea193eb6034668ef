package config

import (
	"time"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
	"github.com/webhook-bridge/bridge/internal/secret"
)

// Redis is a stream, or several, of Redis.
type Redis struct {
	Addresses        []string
	Master, Username string
	Password         secret.Value
	Database         int
	TLS              *ClientTLS
	Stream, Format   string
	MaxLength        int64
	Replicas         int
	Timeout          time.Duration
}

func (r resolver) redis(path string, file *configv1.RedisSink) *Redis {
	return &Redis{
		Addresses: file.GetAddresses(),
		Master:    file.GetMaster(),
		Username:  file.GetUsername(),
		Password:  r.optionalSecret(path+".password", file.GetPassword()),
		Database:  int(file.GetDatabase()),
		TLS:       clientTLS(file.GetTls()),
		Stream:    file.GetStream(),
		Format:    text(path+".format", file.GetFormat()),
		MaxLength: int64(file.GetMaxLength()),
		Replicas:  int(file.GetReplicas()),
		Timeout:   r.duration(path+".timeout", file.GetTimeout()),
	}
}
