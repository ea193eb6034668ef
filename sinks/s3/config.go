package s3

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/clienttls"
)

// Config configures a sink. Bucket has no default.
type Config struct {
	// Bucket is the bucket's name.
	Bucket string
	// Prefix is what the names of all objects begin with, such as "events/".
	Prefix string
	// Region is the bucket's. "" means us-east-1.
	Region string
	// Endpoint is the URL of storage that is not AWS. "" means AWS.
	Endpoint string
	// PathStyle puts the bucket's name into the path.
	PathStyle bool
	// Credentials returns the key of a user for the next requests. Nil means those that AWS gives the machine or the environment.
	Credentials func() Credentials
	// Format is "", "jsonl" or "parquet". "" means jsonl.
	Format string
	// Timeout is the time for a request. 0 means a minute.
	Timeout time.Duration
	// TLS of the storage. Nil trusts the system's authorities.
	TLS *clienttls.Files
}

// Credentials are a key of a user. Their String shows neither part.
type Credentials struct{ AccessKeyID, SecretAccessKey string }

// String shows nothing.
func (Credentials) String() string { return "[redacted]" }

// GoString shows nothing.
func (Credentials) GoString() string { return "s3.Credentials{[redacted]}" }

// Check returns all problems of the configuration, each a [*sinks.KeyError]. It reads the files that the configuration names, and
// connects to nothing.
func (c Config) Check() []error {
	r := &resolver{}
	r.check(c)
	r.tls(c.TLS)
	return r.problems
}

// resolved is a Config, converted for the packages that use it.
type resolved struct {
	store  *store
	format format
}

// resolver collects problems.
type resolver struct{ problems []error }

func (r *resolver) addf(key, format string, args ...any) {
	r.problems = append(r.problems, &sinks.KeyError{Key: key, Err: fmt.Errorf(format, args...)})
}

func (r *resolver) check(c Config) {
	switch {
	case c.Bucket == "":
		r.addf("bucket", "is missing")
	case strings.ContainsAny(c.Bucket, "/ \t\n?#"):
		r.addf("bucket", "is not the name of a bucket")
	}
	if strings.HasPrefix(c.Prefix, "/") || strings.ContainsAny(c.Prefix, "\x00\r\n") || len(c.Prefix) > 512 {
		r.addf("prefix", "is not what names of objects can begin with, such as events/")
	}
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" {
			r.addf("endpoint", "is not a URL with http or https, without a user")
		}
	}
	switch c.Format {
	case "", "jsonl", "parquet":
	default:
		r.addf("format", "%q is none of jsonl, parquet", c.Format)
	}
	if c.Timeout < 0 {
		r.addf("timeout", "is negative")
	}
}

func (r *resolver) tls(files *clienttls.Files) *tls.Config {
	if files == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}
	}
	out, problems := files.Config("tls")
	r.problems = append(r.problems, problems...)
	return out
}

func (c Config) resolve(ctx context.Context) (resolved, []error) {
	r := &resolver{}
	r.check(c)
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:        r.tls(c.TLS),
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxConnsPerHost:        4,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	out := resolved{
		format: lines{},
		store:  &store{http: transport, bucket: c.Bucket, timeout: c.Timeout},
	}
	if c.Format == "parquet" {
		out.format = columns{}
	}
	if c.Timeout == 0 {
		out.store.timeout = time.Minute
	}
	if len(r.problems) > 0 {
		return out, r.problems
	}
	region := c.Region
	if region == "" {
		region = "us-east-1"
	}
	who, err := c.provider(ctx, region)
	if err != nil {
		r.addf("credentials", "%w", err)
		return out, r.problems
	}
	options := s3.Options{
		Region:      region,
		Credentials: who,
		HTTPClient: &http.Client{
			Transport: bounded{transport},
			// A redirect could send a session's token elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Retryer:      aws.NopRetryer{},
		UsePathStyle: c.PathStyle,
		// Other makers do not know the newer checksums. The signature covers the content.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	}
	if c.Endpoint != "" {
		options.BaseEndpoint = &c.Endpoint
	}
	out.store.client = s3.New(options)
	return out, nil
}

// provider returns the user's key, or finds that of the machine: in the environment, in AWS's files, or at the cloud's own services.
func (c Config) provider(ctx context.Context, region string) (aws.CredentialsProvider, error) {
	if c.Credentials == nil {
		loaded, err := config.LoadDefaultConfig(ctx, config.WithRegion(region))
		return loaded.Credentials, err
	}
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		now := c.Credentials()
		return aws.Credentials{AccessKeyID: now.AccessKeyID, SecretAccessKey: now.SecretAccessKey}, nil
	}), nil
}
