package amqp

// Delivery states (AMQP 1.0 part 3.4).
type (
	// Received says how far a delivery got; it is not an outcome.
	Received struct{}
	// Accepted is success.
	Accepted struct{}
	// Rejected is refusal, with a reason.
	Rejected struct{ Error *Error }
	// Released gives the message back untouched.
	Released struct{}
	// Modified gives the message back with changes.
	Modified struct {
		DeliveryFailed    bool
		UndeliverableHere bool
		Annotations       Map
	}
)

func (*Received) descriptor() uint64 { return descReceived }
func (*Received) fields() []any      { return []any{uint32(0), uint64(0)} }
func (*Received) read(*fields)       {}

func (*Accepted) descriptor() uint64 { return descAccepted }
func (*Accepted) fields() []any      { return nil }
func (*Accepted) read(*fields)       {}

func (*Rejected) descriptor() uint64 { return descRejected }
func (p *Rejected) fields() []any    { return []any{nestedOrNull(p.Error)} }
func (p *Rejected) read(f *fields)   { p.Error = nested[*Error](f) }

func (*Released) descriptor() uint64 { return descReleased }
func (*Released) fields() []any      { return nil }
func (*Released) read(*fields)       {}

func (*Modified) descriptor() uint64 { return descModified }
func (p *Modified) fields() []any {
	return []any{orNull(p.DeliveryFailed), orNull(p.UndeliverableHere), mapOrNull(p.Annotations)}
}
func (p *Modified) read(f *fields) {
	p.DeliveryFailed = valueOr(f, false)
	p.UndeliverableHere = valueOr(f, false)
	p.Annotations = valueOr[Map](f, nil)
}

// SASL performatives (AMQP 1.0 part 5.3).
type (
	// SASLMechanisms lists what the server accepts.
	SASLMechanisms struct{ Mechanisms []Symbol }
	// SASLInit is the client's choice.
	SASLInit struct {
		Mechanism Symbol
		Response  []byte
	}
	// SASLOutcome ends the exchange; Code 0 is success.
	SASLOutcome struct{ Code uint8 }
)

func (*SASLMechanisms) descriptor() uint64 { return descMechanisms }
func (p *SASLMechanisms) fields() []any    { return []any{symbolsOrNull(p.Mechanisms)} }
func (p *SASLMechanisms) read(f *fields)   { p.Mechanisms = symbols(f) }

func (*SASLInit) descriptor() uint64 { return descInit }
func (p *SASLInit) fields() []any    { return []any{p.Mechanism, p.Response} }
func (p *SASLInit) read(f *fields) {
	p.Mechanism = required[Symbol](f)
	p.Response = valueOr[[]byte](f, nil)
}

func (*SASLOutcome) descriptor() uint64 { return descOutcome }
func (p *SASLOutcome) fields() []any    { return []any{p.Code} }
func (p *SASLOutcome) read(f *fields)   { p.Code = required[uint8](f) }
