package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// httpError is an error with another status than its code has.
type httpError struct {
	status int
	error
}

// GRPCStatus is for package status.
func (e *httpError) GRPCStatus() *status.Status { return status.Convert(e.error) }

// retryAfterSeconds is when a client should come again after an error that passes.
const retryAfterSeconds = 2

// httpStatus are the statuses of HTTP for the codes of gRPC, as google/rpc/code.proto has them. Others are 500.
var httpStatus = map[codes.Code]int{
	codes.Canceled:           499,
	codes.InvalidArgument:    http.StatusBadRequest,
	codes.DeadlineExceeded:   http.StatusGatewayTimeout,
	codes.NotFound:           http.StatusNotFound,
	codes.AlreadyExists:      http.StatusConflict,
	codes.PermissionDenied:   http.StatusForbidden,
	codes.ResourceExhausted:  http.StatusTooManyRequests,
	codes.FailedPrecondition: http.StatusBadRequest,
	codes.Aborted:            http.StatusConflict,
	codes.OutOfRange:         http.StatusBadRequest,
	codes.Unimplemented:      http.StatusNotImplemented,
	codes.Unavailable:        http.StatusServiceUnavailable,
	codes.Unauthenticated:    http.StatusUnauthorized,
}

// statusOf returns the status of HTTP for an error. A position that is no longer kept is Gone.
func statusOf(err error) int {
	var own *httpError
	if errors.As(err, &own) {
		return own.status
	}
	s := status.Convert(err)
	for _, d := range s.Details() {
		if _, ok := d.(*streamv1.PositionExpired); ok {
			return http.StatusGone
		}
	}
	if answer, ok := httpStatus[s.Code()]; ok {
		return answer
	}
	return http.StatusInternalServerError
}

// writeError answers with an error as JSON.
func writeError(w http.ResponseWriter, err error) {
	answer := statusOf(err)
	if answer == http.StatusServiceUnavailable || answer == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfterSeconds))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(answer)
	text, err := appendError([]byte(`{"error":`), err)
	if err == nil {
		_, _ = w.Write(append(text, "}\n"...)) //nolint:gosec // JSON that says so, which no browser reads as a page
	}
}

// errorText is an error as JSON.
type errorText struct {
	Code    string            `json:"code"`
	Message string            `json:"message"`
	Details []json.RawMessage `json:"details,omitempty"`
}

// appendError appends an error as JSON, with the name of its code.
func appendError(to []byte, err error) ([]byte, error) {
	s := status.Convert(err)
	e := errorText{Code: code.Code(s.Code()).String(), Message: s.Message()}
	for _, d := range s.Proto().GetDetails() {
		if text, err := protojson.Marshal(d); err == nil {
			e.Details = append(e.Details, text)
		}
	}
	text, err := json.Marshal(e)
	return append(to, text...), err
}
