package ingress

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/webhook-bridge/bridge/internal/intake"
)

// Why a webhook is refused. What is ours is wrapped around its cause, which is logged and never sent.
var (
	errUnknownSource = errors.New("ingress: unknown source")
	errUnknownPath   = errors.New("ingress: the source has no such path")
	errMethod        = errors.New("ingress: not a POST")
	errUndeclared    = errors.New("ingress: a challenge, and the connector declares no such handshake")
	errChallenge     = errors.New("ingress: the challenge is too long or has characters that are not repeated")
	errUnauthorized  = errors.New("ingress: wrong or missing secret")
	errTooLarge      = errors.New("ingress: body is too large")
	errSlow          = errors.New("ingress: body arrives too slowly")
	errIncomplete    = errors.New("ingress: body ended early")
	errBusy          = errors.New("ingress: the memory budget is used up")

	// Of typed calls alone.
	errNoGRPC    = errors.New("ingress: the source takes no typed calls")
	errNoSource  = errors.New("ingress: metadata names no source")
	errConnector = errors.New("ingress: the source is of another connector")
	errMessage   = errors.New("ingress: message cannot be read")
)

// reason is why a webhook was refused, as metrics have it.
type reason uint8

const (
	reasonUnknown reason = iota
	reasonMethod
	reasonChallenge
	reasonUnauthorized
	reasonTooLarge
	reasonSlow
	reasonIncomplete
	reasonRate
	reasonQuota
	reasonBusy
	reasonUndecodable
	reasonGRPC
	reasonUnavailable
	reasonInternal
	reasons // how many there are
)

var reasonNames = [reasons]string{
	"unknown", "method", "challenge", "unauthorized", "too_large", "slow_body", "incomplete_body", "rate", "quota", "busy",
	"undecodable", "grpc", "unavailable", "internal",
}

func (r reason) String() string { return reasonNames[r] }

// answer is the response to a refused sender.
type answer struct {
	reason reason
	status int
	code   codes.Code
	// retry is the value of Retry-After. 0 sends none.
	retry time.Duration
}

// comeAgain is the Retry-After of an internal error. DealPOS tries again after seven seconds, and only once.
const comeAgain = 5 * time.Second

// answers is the one place where errors become answers. The first match wins; an error without a match is an internal error.
var answers = []struct {
	err error
	answer
}{
	{errUnknownSource, answer{reasonUnknown, http.StatusNotFound, codes.NotFound, 0}},
	{errUnknownPath, answer{reasonUnknown, http.StatusNotFound, codes.NotFound, 0}},
	{errMethod, answer{reasonMethod, http.StatusMethodNotAllowed, codes.Unimplemented, 0}},
	{errUndeclared, answer{reasonChallenge, http.StatusMethodNotAllowed, codes.Unimplemented, 0}},
	{errChallenge, answer{reasonChallenge, http.StatusBadRequest, codes.InvalidArgument, 0}},
	{errUnauthorized, answer{reasonUnauthorized, http.StatusUnauthorized, codes.Unauthenticated, 0}},
	{errTooLarge, answer{reasonTooLarge, http.StatusRequestEntityTooLarge, codes.ResourceExhausted, 0}},
	{errSlow, answer{reasonSlow, http.StatusRequestTimeout, codes.DeadlineExceeded, 0}},
	{errIncomplete, answer{reasonIncomplete, http.StatusBadRequest, codes.Canceled, 0}},
	{errBusy, answer{reasonBusy, http.StatusServiceUnavailable, codes.Unavailable, comeAgain}},
	{errNoGRPC, answer{reasonGRPC, http.StatusForbidden, codes.PermissionDenied, 0}},
	{errNoSource, answer{reasonGRPC, http.StatusBadRequest, codes.InvalidArgument, 0}},
	{errConnector, answer{reasonGRPC, http.StatusBadRequest, codes.InvalidArgument, 0}},
	{errMessage, answer{reasonUndecodable, http.StatusBadRequest, codes.InvalidArgument, 0}},
	{intake.ErrUnavailable, answer{reasonUnavailable, http.StatusServiceUnavailable, codes.Unavailable, comeAgain}},
}

var (
	undecodable = answer{reasonUndecodable, http.StatusBadRequest, codes.InvalidArgument, 0}
	internal    = answer{reasonInternal, http.StatusServiceUnavailable, codes.Unavailable, comeAgain}
)

func answerOf(err error) answer {
	for i := range answers {
		if errors.Is(err, answers[i].err) {
			return answers[i].answer
		}
	}
	var limit *limited
	if errors.As(err, &limit) {
		return answer{limit.reason, http.StatusTooManyRequests, codes.ResourceExhausted, limit.after}
	}
	var fault *intake.Fault
	if errors.As(err, &fault) && !fault.Ours() {
		return undecodable
	}
	return internal
}

// write answers without a body.
func (a answer) write(w http.ResponseWriter) {
	h := w.Header()
	if a.retry > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((a.retry+time.Second-1)/time.Second), 10))
	}
	switch a.status {
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodPost)
		part(w)
	case http.StatusUnauthorized, http.StatusNotFound, http.StatusRequestEntityTooLarge:
		part(w)
	case http.StatusServiceUnavailable:
		if a.reason == reasonUnavailable {
			h.Set("Connection", "close") // this process may be ending: the next attempt should reach another
		}
	}
	w.WriteHeader(a.status)
}

// lingering is how long the connection of a refused sender stays open after the answer. The server itself uses the same time when
// it knows that more data is coming.
const lingering = 500 * time.Millisecond

// part has the server close the connection after the answer that is about to be written, without waiting for the body.
//
// With the header alone the server sends the answer at once, but before it closes the connection it still reads up to 256 KiB
// of the body, for as long as a request may take. It is not told to stop that at once: closing while the sender still writes
// resets the connection, and the sender may never see the answer.
func part(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	// Only test servers without a connection cannot set it.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(lingering))
}

// success is the one answer that the vendor takes for success.
type success struct {
	body   []byte
	length []string
}

// jsonType is shared by all answers: the server only reads it.
var jsonType = []string{"application/json"}

func newSuccess(body string) success {
	return success{body: []byte(body), length: []string{strconv.Itoa(len(body))}}
}

func (s *success) write(w http.ResponseWriter) {
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = s.length
	w.WriteHeader(http.StatusOK)
	// A sender that has hung up has its webhook kept all the same.
	_, _ = w.Write(s.body)
}
