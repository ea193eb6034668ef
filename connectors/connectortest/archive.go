package connectortest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// archive is one file of testdata.
type archive struct {
	file, name string
	comment    []byte
	// event is the name in the URL, if any.
	event string
	body  []byte
	// expected are the files that -update writes.
	expected []txtar.File
}

func parseArchive(file string, data []byte) (archive, error) {
	tx := txtar.Parse(data)
	a := archive{file: file, name: strings.TrimSuffix(filepath.Base(file), ".txtar"), comment: tx.Comment}
	if len(bytes.TrimSpace(tx.Comment)) == 0 {
		return a, fmt.Errorf("connectortest: %s: does not say what it shows", file)
	}
	hasBody := false
	for _, f := range tx.Files {
		switch f.Name {
		case "event":
			a.event = strings.TrimSpace(string(f.Data))
		case "body.json":
			a.body, hasBody = bytes.TrimSuffix(f.Data, []byte("\n")), true
		case "events.json", "quarantine.json", "drift.json":
			a.expected = append(a.expected, f)
		default:
			return a, fmt.Errorf("connectortest: %s: has an unknown file %q", file, f.Name)
		}
	}
	if !hasBody {
		return a, fmt.Errorf("connectortest: %s: has no body.json", file)
	}
	return a, nil
}

// write replaces the archive's expectations.
func (a archive) write(expected []txtar.File) error {
	tx := &txtar.Archive{Comment: a.comment}
	if a.event != "" {
		tx.Files = append(tx.Files, txtar.File{Name: "event", Data: []byte(a.event)})
	}
	tx.Files = append(tx.Files, txtar.File{Name: "body.json", Data: append(bytes.Clone(a.body), '\n')})
	tx.Files = append(tx.Files, expected...)
	return os.WriteFile(a.file, txtar.Format(tx), 0o644) //nolint:gosec // Testdata is for everyone to read.
}

// quarantine is quarantine.json.
type quarantine struct {
	Reason string `json:"reason"`
	Path   string `json:"path,omitempty"`
	Offset int64  `json:"offset"`
	// Problem in the connector's words; the decoder's own are no business of a connector's test.
	Problem string `json:"problem,omitempty"`
}

// expectations renders what became of a webhook as the files of an archive.
func expectations(r result) ([]txtar.File, error) {
	var files []txtar.File
	add := func(name string, v any) error {
		data, err := indented(v)
		files = append(files, txtar.File{Name: name, Data: data})
		return err
	}
	var errs []error
	if f := r.fault; f != nil {
		q := quarantine{Reason: string(f.Reason), Path: f.Path, Offset: f.Offset}
		if f.Reason == intake.Untranslatable {
			q.Problem = f.Problem
		}
		errs = append(errs, add("quarantine.json", q))
	} else {
		events := make([]json.RawMessage, len(r.translation.Events))
		for i, e := range r.translation.Events {
			data, err := protojson.Marshal(e)
			events[i], errs = data, append(errs, err)
		}
		key := "content hash"
		if natural, ok := r.translation.Key.Natural(); ok {
			key = "natural " + natural
		}
		errs = append(errs, add("events.json", struct {
			Key    string            `json:"key"`
			Events []json.RawMessage `json:"events"`
		}{key, events}))
	}
	if len(r.drift) > 0 {
		errs = append(errs, add("drift.json", driftLines(r.drift)))
	}
	return files, errors.Join(errs...)
}

func driftLines(drifts []vendorjson.Drift) []any {
	kinds := map[vendorjson.Kind]string{vendorjson.Unknown: "unknown", vendorjson.Type: "type", vendorjson.Missing: "missing"}
	lines := make([]any, len(drifts))
	for i, d := range drifts {
		lines[i] = struct {
			Kind   string `json:"kind"`
			Path   string `json:"path"`
			Sample string `json:"sample"`
		}{kinds[d.Kind], d.Path, string(d.Sample)}
	}
	return lines
}

// indented formats v the same way each time, which protojson alone refuses to.
func indented(v any) ([]byte, error) {
	var compact, pretty bytes.Buffer
	enc := json.NewEncoder(&compact)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	err := json.Indent(&pretty, compact.Bytes(), "", "  ")
	return pretty.Bytes(), err
}
