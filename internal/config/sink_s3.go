package config

import (
	"time"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
	"github.com/webhook-bridge/bridge/internal/secret"
)

// S3 is a bucket.
type S3 struct {
	Bucket, Prefix, Region, Endpoint string
	PathStyle                        bool
	// AccessKeyID is empty for the credentials of the machine.
	AccessKeyID     string
	SecretAccessKey secret.Value
	Format          string
	// Once: exactly once, not at least once.
	Once    bool
	Timeout time.Duration
	TLS     *ClientTLS
}

func (r resolver) s3(path string, file *configv1.S3Sink) *S3 {
	return &S3{
		Bucket:          file.GetBucket(),
		Prefix:          file.GetPrefix(),
		Region:          text(path+".region", file.GetRegion()),
		Endpoint:        file.GetEndpoint(),
		PathStyle:       file.GetPathStyle(),
		AccessKeyID:     file.GetCredentials().GetAccessKeyId(),
		SecretAccessKey: r.secret(path+".credentials.secret_access_key", file.GetCredentials().GetSecretAccessKey()),
		Format:          text(path+".format", file.GetFormat()),
		Once:            text(path+".delivery", file.GetDelivery()) == "exactly_once",
		Timeout:         r.duration(path+".timeout", file.GetTimeout()),
		TLS:             clientTLS(file.GetTls()),
	}
}
