package journal

import "time"

// MaxVersion is the longest version, in bytes.
const MaxVersion = 512

// Version is the vendor's version of an event's subject.
type Version struct {
	// Subject is the digest of the event's source and subject. It is zero if the event has no version.
	Subject Hash
	// Text is the version, of at most [MaxVersion] bytes.
	Text string
	// Window is how long the version is known after the last commit of an event of the subject with a version. It is the same for all
	// events of a subject, and at least a second.
	Window time.Duration
}

// SeenVersion is the greatest version that was known of a subject at a commit.
type SeenVersion struct {
	// At is when an event of the subject with a version was committed, by the journal's clock.
	At time.Time
	// Text is the greatest version that was committed until then.
	Text string
}
