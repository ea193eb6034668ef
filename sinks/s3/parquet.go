package s3

import (
	"bytes"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/cloudevents"
)

// columns is Parquet, with a row for each event.
type columns struct{}

func (columns) extension() string { return ".parquet" }

// Row is an event in Parquet. Its columns are those of docs/sinks/s3.md.
type Row struct {
	Position       uint64     `parquet:"position"`
	ID             string     `parquet:"id"`
	Type           string     `parquet:"type,dict"`
	Source         string     `parquet:"source,dict"`
	Connector      string     `parquet:"connector,dict"`
	Subject        string     `parquet:"subject"`
	SubjectVersion *string    `parquet:"subject_version,optional"`
	VendorEvent    string     `parquet:"vendor_event,dict"`
	WebhookID      string     `parquet:"webhook_id"`
	ReceivedAt     *time.Time `parquet:"received_at,optional,timestamp(microsecond)"`
	OccurredAt     *time.Time `parquet:"occurred_at,optional,timestamp(microsecond)"`
	Stale          bool       `parquet:"stale"`
	Supersedes     *string    `parquet:"supersedes,optional"`
	Replay         *string    `parquet:"replay,optional"`
	DataType       string     `parquet:"data_type,dict"`
	Data           string     `parquet:"data,json,zstd"`
}

func (columns) encode(events []sinks.Record) ([]byte, int, error) {
	var out bytes.Buffer
	write := parquet.NewGenericWriter[Row](&out, parquet.Compression(&parquet.Zstd), parquet.CreatedBy("bridge", "1", ""))
	n, refused := 0, error(nil)
	for _, r := range events {
		var row Row
		if row, refused = rowOf(r); refused != nil {
			break
		}
		if _, err := write.Write([]Row{row}); err != nil {
			return nil, 0, err
		}
		n++
	}
	if err := write.Close(); err != nil {
		return nil, 0, err
	}
	return out.Bytes(), n, refused
}

func rowOf(r sinks.Record) (Row, error) {
	h := &r.Header
	if len(h.ID) == 0 {
		return Row{}, errNoID
	}
	data, err := cloudevents.DataOf(r)
	if err != nil {
		return Row{}, err
	}
	return Row{
		Position:       uint64(r.Position),
		ID:             string(h.ID),
		Type:           string(h.Type),
		Source:         string(h.Source),
		Connector:      string(h.Connector),
		Subject:        string(h.Subject),
		SubjectVersion: optional(h.SubjectVersion),
		VendorEvent:    string(h.VendorEvent),
		WebhookID:      string(h.WebhookID),
		ReceivedAt:     optionalTime(h.ReceivedAt),
		OccurredAt:     optionalTime(h.OccurredAt),
		Stale:          h.Stale,
		Supersedes:     optional(h.Supersedes),
		Replay:         optional(h.Replay),
		DataType:       string(data.Message),
		Data:           string(data.JSON),
	}, nil
}

func optional(text []byte) *string {
	if len(text) == 0 {
		return nil
	}
	s := string(text)
	return &s
}

func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
