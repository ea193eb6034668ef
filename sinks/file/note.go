package file

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/webhook-bridge/bridge/sinks"
)

// note is a position that the last record of the active file does not have: the sink was moved without an event, or the file is
// new and empty. It is in a small file of its own, and holds for one state of the active file only.
type note struct {
	Log      string         `json:"log"`
	Epoch    sinks.Epoch    `json:"epoch,string"`
	Position sinks.Position `json:"position,string"`
	// Size is the active file's, and Tail is the SHA-256 of its last bytes.
	Size int64  `json:"size"`
	Tail string `json:"tail,omitempty"`
	// Next: the note also holds for a new file, and while there is none. The active file is being replaced.
	Next bool `json:"next,omitempty"`
}

// tailSize is how many bytes at the end of a file tell it from others.
const tailSize = 4 << 10

func (s *Sink) notePath() string { return s.config.Path + ".position" }

// readNote returns the note. It returns nil if there is none, or if the file is not one.
func (s *Sink) readNote() (*note, error) {
	b, err := os.ReadFile(s.notePath())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	n := &note{}
	if broken := json.Unmarshal(b, n); broken != nil || n.Log == "" {
		return nil, nil //nolint:nilerr // it is no note
	}
	return n, nil
}

func (n *note) reached() reached {
	return reached{sinks.Reached{Log: n.Log, Mark: sinks.Mark{Epoch: n.Epoch, Position: n.Position}}, true}
}

// locate finds out, after the first inspection of the active file, what the sink has reached. The sink knows it at a later
// inspection, of a file that another program has changed. It then makes the disk tell it again. If f is nil, there is no file.
func (s *Sink) locate(f io.ReaderAt, byRecords reached) error {
	noted, err := s.noted(f)
	if err != nil {
		return err
	}
	told := byRecords
	if noted.known {
		told = noted
	}
	if !s.located {
		s.reached, s.located = told, true
	}
	s.doubt = s.doubt || told != s.reached
	if f == nil {
		return nil // A note for the new file follows.
	}
	return s.settleNote(f)
}

// noted returns what the note says, if it holds for the active file f.
func (s *Sink) noted(f io.ReaderAt) (reached, error) {
	n, err := s.readNote()
	if err != nil || n == nil {
		return reached{}, err
	}
	holds := n.Next && s.durable == 0
	if !holds && f != nil {
		holds, err = n.describes(f, s.durable)
	}
	if !holds || err != nil {
		return reached{}, err
	}
	return n.reached(), nil
}

// settleNote makes the disk tell what the sink has reached, after an attempt to tell something else.
func (s *Sink) settleNote(f io.ReaderAt) error {
	if !s.doubt {
		return nil
	}
	return s.tell(f, false)
}

// tell makes a note of what the sink has reached, for the active file f, or removes the note if that is unknown. The result is
// durable. If it fails, the disk may tell either.
func (s *Sink) tell(f io.ReaderAt, next bool) error {
	s.doubt = true
	change := s.removeNote
	if s.reached.known {
		change = func() error { return s.writeNote(f, next) }
	}
	if err := change(); err != nil {
		return err
	}
	s.doubt = false
	return nil
}

func (s *Sink) removeNote() error {
	err := s.disk.remove(s.notePath())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.disk.syncDir(filepath.Dir(s.config.Path))
}

// describes reports whether the note is for a file with these durable bytes.
func (n *note) describes(f io.ReaderAt, durable int64) (bool, error) {
	if n.Size != durable {
		return false, nil
	}
	tail, err := tailOf(f, durable)
	return tail == n.Tail, err
}

func tailOf(f io.ReaderAt, size int64) (string, error) {
	b := make([]byte, min(size, tailSize))
	if len(b) == 0 {
		return "", nil
	}
	if n, err := f.ReadAt(b, size-int64(len(b))); n < len(b) {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

func (s *Sink) writeNote(f io.ReaderAt, next bool) error {
	tail, err := tailOf(f, s.durable)
	if err != nil {
		return err
	}
	b, err := json.Marshal(note{
		Log: s.reached.Log, Epoch: s.reached.Mark.Epoch, Position: s.reached.Mark.Position,
		Size: s.durable, Tail: tail, Next: next,
	})
	if err != nil {
		return err
	}
	return s.replace(s.notePath(), append(b, '\n'))
}

// replace writes a small file as a whole or not at all, durably.
func (s *Sink) replace(name string, content []byte) error {
	f, err := s.disk.open(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := s.disk.rename(name+".new", name); err != nil {
		return err
	}
	return s.disk.syncDir(filepath.Dir(name))
}
