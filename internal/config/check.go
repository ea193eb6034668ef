package config

// Checks let packages that this one does not import check their own settings. They do no I/O. Nil checks nothing.
type Checks struct {
	// Sink returns the problems of a sink.
	Sink func(Sink) []Fault
}

// Fault is one problem that a check found.
type Fault struct {
	// Key is the setting, relative to the sink: "kafka.brokers[0]".
	Key string
	// Reason is text for people. It shows no value that may be a secret.
	Reason string
	// Line and Column are the place within the setting's text, counted from 1. 0 is not known.
	Line, Column int
}

func (c Checks) sink(s Sink) []Fault {
	if c.Sink == nil {
		return nil
	}
	return c.Sink(s)
}
