package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/retryafter"
)

const (
	// maxPause bounds the pause that storage may ask for.
	maxPause = time.Hour
	// maxState bounds what is read of a sink's state.
	maxState = 64 << 10
	// maxAnswer bounds every answer. The client reads all of an error.
	maxAnswer = 2 * maxState
	// givenUp is the metadata of an object that takes the place of one that was never written.
	givenUp = "bridge-given-up"
)

var (
	// errCondition means that the condition of a write does not hold.
	errCondition = errors.New("the object was changed meanwhile")
	// errMissing means that there is no such object.
	errMissing = errors.New("there is no such object")
)

// bounded ends the bodies of answers after maxAnswer bytes.
type bounded struct{ *http.Transport }

// RoundTrip implements [http.RoundTripper].
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.Transport.RoundTrip(r)
	if err == nil {
		answer.Body = http.MaxBytesReader(nil, answer.Body, maxAnswer)
	}
	return answer, err
}

// condition says when an object is written.
type condition struct {
	missing bool   // There is no object of that name.
	etag    string // The object has this version.
	givesUp bool   // The object has no events.
}

var (
	always    = condition{}
	ifMissing = condition{missing: true}
	givingUp  = condition{missing: true, givesUp: true}
)

func ifVersion(etag string) condition { return condition{etag: etag} }

// store is a bucket. It never retries.
type store struct {
	client  *s3.Client
	http    *http.Transport
	bucket  string
	timeout time.Duration
}

func (s *store) close() { s.http.CloseIdleConnections() }

// put writes an object. Errors: errCondition, and others, after which it may have been written.
func (s *store) put(ctx context.Context, key string, content []byte, when condition) error {
	_, err := s.putVersion(ctx, key, content, when)
	return err
}

// putVersion is put. It returns the object's version.
func (s *store) putVersion(ctx context.Context, key string, content []byte, when condition) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	in := &s3.PutObjectInput{
		Bucket: &s.bucket, Key: &key, Body: bytes.NewReader(content), ContentLength: aws.Int64(int64(len(content))),
		ContentType: aws.String("application/octet-stream"),
	}
	if when.missing {
		in.IfNoneMatch = aws.String("*")
	}
	if when.etag != "" {
		in.IfMatch = &when.etag
	}
	if when.givesUp {
		in.Metadata = map[string]string{givenUp: "true"}
	}
	out, err := s.client.PutObject(ctx, in)
	if err != nil {
		return "", s.failure("write", key, err)
	}
	return aws.ToString(out.ETag), nil
}

// get reads a small object and its version. Errors: errMissing, and others.
func (s *store) get(ctx context.Context, key string) ([]byte, string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: &key})
	if err != nil {
		return nil, "", s.failure("read", key, err)
	}
	defer out.Body.Close()
	content, err := io.ReadAll(io.LimitReader(out.Body, maxState+1))
	if err == nil && len(content) > maxState {
		err = errors.New("it is too large")
	}
	if err != nil {
		return nil, "", s.failure("read", key, err)
	}
	return content, aws.ToString(out.ETag), nil
}

// state reports whether an object took the place of one that was never written. Errors: errMissing, and others.
func (s *store) state(ctx context.Context, key string) (given bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: &key})
	if err != nil {
		return false, s.failure("look up", key, err)
	}
	_, given = out.Metadata[givenUp]
	return given, nil
}

// failure converts an error of the client.
func (s *store) failure(operation, key string, err error) error {
	text := fmt.Errorf("%s %s in bucket %s: %w", operation, key, s.bucket, err)
	answer, ok := errors.AsType[*awshttp.ResponseError](err)
	if !ok || answer.Response == nil {
		return text
	}
	switch answer.HTTPStatusCode() {
	case http.StatusPreconditionFailed:
		return fmt.Errorf("%w: %w", errCondition, text)
	case http.StatusNotFound:
		if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == "NoSuchBucket" {
			return text
		}
		return fmt.Errorf("%w: %w", errMissing, text)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if pause := retryafter.Parse(answer.Response.Header.Get("Retry-After"), time.Now(), maxPause); pause > 0 {
			return &sinks.RetryAfterError{After: pause, Err: text}
		}
	}
	return text
}
