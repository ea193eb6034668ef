package config

// Checks let packages that this one does not know check their settings. They do no I/O. A nil one finds nothing wrong.
type Checks struct {
	// Sink returns what is wrong with a sink.
	Sink func(Sink) []Fault
}

// Fault is one thing that is wrong with what was checked.
type Fault struct {
	// Key is where, below the sink's: "kafka.brokers[0]".
	Key string
	// Reason is for people, and shows no value that may be a secret.
	Reason string
}

func (c Checks) sink(s Sink) []Fault {
	if c.Sink == nil {
		return nil
	}
	return c.Sink(s)
}
