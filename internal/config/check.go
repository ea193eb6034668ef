package config

// Checks let packages that this one does not know look at what they are to work with. They contact nobody. A nil one finds
// nothing wrong.
type Checks struct {
	// Sink says what is wrong with a sink.
	Sink func(Sink) []Fault
	// HMAC says what is wrong with how a sender signs, under the keys of auth.hmac, or with a secret, under the key "secret".
	HMAC func(HMAC, Secret) []Fault
}

// Fault is one thing that is wrong with what was checked.
type Fault struct {
	// Key is where, below what was checked: "kafka.brokers[0]".
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

func (c Checks) hmac(h HMAC, secret Secret) []Fault {
	if c.HMAC == nil {
		return nil
	}
	return c.HMAC(h, secret)
}
