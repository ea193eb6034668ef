package schemaregistry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/retryafter"
)

const (
	mediaType = "application/vnd.schemaregistry.v1+json"
	// maxAnswer is the largest answer in bytes. It has the text of a schema.
	maxAnswer = 4 << 20
	// maxMessage is the length of the longest part of a registry's message in an error.
	maxMessage = 300
	// maxPause bounds the pause that a registry may ask for.
	maxPause = time.Hour
)

// request is a schema as the registry gets it.
type request struct {
	Type       string      `json:"schemaType"`
	Text       string      `json:"schema"`
	References []reference `json:"references,omitempty"`
}

type reference struct {
	Name    string `json:"name"`
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

// registered is the registry's answer. Version is 0 in older registries' answers to a registration.
type registered struct {
	ID      *uint32 `json:"id"`
	Version int     `json:"version"`
}

// answerError is an answer other than 200.
type answerError struct {
	Status  int    `json:"-"`
	Code    int    `json:"error_code"`
	Message string `json:"message"`
}

func (e *answerError) Error() string {
	text := fmt.Sprintf("the registry answers %d", e.Status)
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		text = fmt.Sprintf("the registry refuses the credentials (%d)", e.Status)
	case http.StatusConflict:
		text = "the schema of this version of Bridge is incompatible with an earlier one: lower the subject's compatibility in the registry " +
			"(NONE allows every change), or use another topic"
	}
	if message := strings.Join(strings.Fields(e.Message), " "); message != "" {
		text += ": " + message[:min(len(message), maxMessage)]
	}
	return strings.ToValidUTF8(text, "")
}

// isNotFound reports whether the registry knows no such subject, or not this schema in it.
func isNotFound(err error) bool {
	at, ok := errors.AsType[*answerError](err)
	return ok && at.Status == http.StatusNotFound
}

// post sends a schema.
func (c *Client) post(ctx context.Context, path string, body request) (registered, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	text, err := json.Marshal(body)
	if err != nil {
		return registered{}, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(text))
	if err != nil {
		return registered{}, err
	}
	r.Header.Set("Content-Type", mediaType)
	r.Header.Set("Accept", mediaType+", application/json")
	if c.authorization != nil {
		if value := c.authorization(); value != "" {
			r.Header.Set("Authorization", value)
		}
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return registered{}, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return registered{}, err
	}
	if answer.StatusCode != http.StatusOK {
		return registered{}, refused(answer, content)
	}
	var found registered
	if err := json.Unmarshal(content, &found); err != nil || found.ID == nil {
		return registered{}, errors.New("the answer has no id: the address is not that of a registry with Confluent's API")
	}
	return found, nil
}

// refused returns the error of an answer that is not 200.
func refused(answer *http.Response, content []byte) error {
	e := &answerError{}
	// An answer that is not JSON has no message.
	_ = json.Unmarshal(content, e)
	e.Status = answer.StatusCode
	if e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable {
		if pause := retryafter.Parse(answer.Header.Get("Retry-After"), time.Now(), maxPause); pause > 0 {
			return &sinks.RetryAfterError{After: pause, Err: e}
		}
	}
	return e
}
