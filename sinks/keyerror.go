package sinks

// KeyError is a problem of a sink's configuration, with its place. It never shows a secret.
type KeyError struct {
	// Key is the place, as in the configuration file below the kind of the sink: "brokers[0]", "sasl.password".
	Key string
	// Err is the problem.
	Err error
}

func (e *KeyError) Error() string { return e.Key + ": " + e.Err.Error() }
func (e *KeyError) Unwrap() error { return e.Err }
