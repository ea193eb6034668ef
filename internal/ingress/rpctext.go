package ingress

import (
	"errors"

	"github.com/webhook-bridge/bridge/internal/intake"
)

// callTexts are the messages of refused typed calls. They name the setting that decides, and nothing about a secret or about the
// cause of an internal error. The first match wins.
var callTexts = []struct {
	err  error
	text string
}{
	{errNoSource, "the call must name its source in the metadata " + sourceMetadata},
	{errUnknownSource, "no source has the name in the metadata " + sourceMetadata},
	{errNoGRPC, "the source does not accept typed calls: they need grpc: true in its configuration, and auth without a signature"},
	{errUnauthorized, "the source's secret is missing or wrong: it is sent as metadata, under its header's name or as bridge-token"},
	{errConnector, "the source has another connector than the called service"},
	{errMessage, "the message cannot be read"},
	{errTooLarge, "the message is larger than the source's limits.body"},
	{errSlow, "the call took too long to arrive"},
	{errBusy, "the server has too many webhooks in work: try again later"},
	{intake.ErrUnavailable, "the journal cannot store webhooks now: try again later"},
}

// reasonTexts are the messages of refused typed calls whose error is not in [callTexts].
var reasonTexts = map[reason]string{
	reasonRate:        "the source's limits.rate is reached: try again later",
	reasonQuota:       "the source's limits.daily is reached: try again tomorrow",
	reasonUndecodable: "the webhook cannot be translated, and the source has on_undecodable: reject",
}

// internalText is the message of a typed call that met an internal error.
const internalText = "the server has an internal error, and its log has the cause: try again later"

// callText returns the message of a refused typed call.
func callText(err error, a answer) string {
	for _, t := range callTexts {
		if errors.Is(err, t.err) {
			return t.text
		}
	}
	if text, ok := reasonTexts[a.reason]; ok {
		return text
	}
	return internalText
}
