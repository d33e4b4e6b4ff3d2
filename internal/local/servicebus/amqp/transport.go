package amqp

// Open starts a connection. Times are milliseconds, sizes bytes.
type Open struct {
	ContainerID  string
	Hostname     *string
	MaxFrameSize *uint32
	ChannelMax   *uint16
	IdleTimeout  *uint32
	Properties   Map
}

func (*Open) descriptor() uint64 { return descOpen }
func (p *Open) fields() []any {
	return []any{p.ContainerID, null(p.Hostname), null(p.MaxFrameSize), null(p.ChannelMax), null(p.IdleTimeout),
		nil, nil, nil, nil, mapOrNull(p.Properties)}
}
func (p *Open) read(f *fields) {
	p.ContainerID = required[string](f)
	p.Hostname = optional[string](f)
	p.MaxFrameSize = optional[uint32](f)
	p.ChannelMax = optional[uint16](f)
	p.IdleTimeout = optional[uint32](f)
	symbolsLike(f, 4) // locales and capabilities
	p.Properties = valueOr[Map](f, nil)
}

// symbolsLike passes over n fields that hold symbols.
func symbolsLike(f *fields, n int) {
	for range n {
		symbols(f)
	}
}

// Begin starts a session. RemoteChannel is set in the answer only.
type Begin struct {
	RemoteChannel  *uint16
	NextOutgoingID uint32
	IncomingWindow uint32
	OutgoingWindow uint32
	HandleMax      *uint32
}

func (*Begin) descriptor() uint64 { return descBegin }
func (p *Begin) fields() []any {
	return []any{null(p.RemoteChannel), p.NextOutgoingID, p.IncomingWindow, p.OutgoingWindow, null(p.HandleMax)}
}
func (p *Begin) read(f *fields) {
	p.RemoteChannel = optional[uint16](f)
	p.NextOutgoingID = required[uint32](f)
	p.IncomingWindow = required[uint32](f)
	p.OutgoingWindow = required[uint32](f)
	p.HandleMax = optional[uint32](f)
}

// Roles of a link end, as the wire writes them.
const (
	RoleSender   = false
	RoleReceiver = true
)

// Settlement modes.
const (
	SenderSettled      uint8 = 1
	SenderMixed        uint8 = 2
	ReceiverSettleMode uint8 = 0 // "first": settles on its own
	ReceiverSecond     uint8 = 1 // settles after the sender has
)

// Attach creates a link. A nil Source (answering a receiver) or Target
// (answering a sender) is the first half of a refusal.
type Attach struct {
	Name                 string
	Handle               uint32
	Role                 bool
	SenderSettleMode     *uint8
	ReceiverSettleMode   *uint8
	Source               *Source
	Target               *Target
	InitialDeliveryCount *uint32
	MaxMessageSize       *uint64
	Properties           Map
}

func (*Attach) descriptor() uint64 { return descAttach }
func (p *Attach) fields() []any {
	return []any{p.Name, p.Handle, p.Role, null(p.SenderSettleMode), null(p.ReceiverSettleMode),
		nestedOrNull(p.Source), nestedOrNull(p.Target), nil, nil, null(p.InitialDeliveryCount),
		null(p.MaxMessageSize), nil, nil, mapOrNull(p.Properties)}
}
func (p *Attach) read(f *fields) {
	p.Name = required[string](f)
	p.Handle = required[uint32](f)
	p.Role = required[bool](f)
	p.SenderSettleMode = optional[uint8](f)
	p.ReceiverSettleMode = optional[uint8](f)
	p.Source = nested[*Source](f)
	p.Target = nested[*Target](f)
	f.next() // unsettled: link resume is not supported
	f.next() // incomplete-unsettled
	p.InitialDeliveryCount = optional[uint32](f)
	p.MaxMessageSize = optional[uint64](f)
	symbolsLike(f, 2)
	p.Properties = valueOr[Map](f, nil)
}

// Source is where a link takes messages from.
type Source struct {
	Address      *string
	Durable      uint32
	ExpiryPolicy Symbol
	Timeout      uint32
	Dynamic      bool
	Filter       Map
	Outcomes     []Symbol
	Capabilities []Symbol
}

func (*Source) descriptor() uint64 { return descSource }
func (p *Source) fields() []any {
	return []any{null(p.Address), orNull(p.Durable), orNull(p.ExpiryPolicy), orNull(p.Timeout), orNull(p.Dynamic),
		nil, nil, mapOrNull(p.Filter), nil, symbolsOrNull(p.Outcomes), symbolsOrNull(p.Capabilities)}
}
func (p *Source) read(f *fields) {
	p.Address = optional[string](f)
	p.Durable = valueOr[uint32](f, 0)
	p.ExpiryPolicy = valueOr[Symbol](f, "")
	p.Timeout = valueOr[uint32](f, 0)
	p.Dynamic = valueOr(f, false)
	f.next() // dynamic-node-properties
	f.next() // distribution-mode
	p.Filter = valueOr[Map](f, nil)
	f.next() // default-outcome
	p.Outcomes = symbols(f)
	p.Capabilities = symbols(f)
}

// Target is where a link delivers messages to.
type Target struct {
	Address      *string
	Durable      uint32
	ExpiryPolicy Symbol
	Timeout      uint32
	Dynamic      bool
	Capabilities []Symbol
}

func (*Target) descriptor() uint64 { return descTarget }
func (p *Target) fields() []any {
	return []any{null(p.Address), orNull(p.Durable), orNull(p.ExpiryPolicy), orNull(p.Timeout), orNull(p.Dynamic),
		nil, symbolsOrNull(p.Capabilities)}
}
func (p *Target) read(f *fields) {
	p.Address = optional[string](f)
	p.Durable = valueOr[uint32](f, 0)
	p.ExpiryPolicy = valueOr[Symbol](f, "")
	p.Timeout = valueOr[uint32](f, 0)
	p.Dynamic = valueOr(f, false)
	f.next() // dynamic-node-properties
	p.Capabilities = symbols(f)
}

// Flow carries a session's windows and, with a Handle, a link's credit.
type Flow struct {
	NextIncomingID *uint32
	IncomingWindow uint32
	NextOutgoingID uint32
	OutgoingWindow uint32
	Handle         *uint32
	DeliveryCount  *uint32
	LinkCredit     *uint32
	Available      *uint32
	Drain          bool
	Echo           bool
}

func (*Flow) descriptor() uint64 { return descFlow }
func (p *Flow) fields() []any {
	return []any{null(p.NextIncomingID), p.IncomingWindow, p.NextOutgoingID, p.OutgoingWindow, null(p.Handle),
		null(p.DeliveryCount), null(p.LinkCredit), null(p.Available), orNull(p.Drain), orNull(p.Echo)}
}
func (p *Flow) read(f *fields) {
	p.NextIncomingID = optional[uint32](f)
	p.IncomingWindow = required[uint32](f)
	p.NextOutgoingID = required[uint32](f)
	p.OutgoingWindow = required[uint32](f)
	p.Handle = optional[uint32](f)
	p.DeliveryCount = optional[uint32](f)
	p.LinkCredit = optional[uint32](f)
	p.Available = optional[uint32](f)
	p.Drain = valueOr(f, false)
	p.Echo = valueOr(f, false)
}

// Transfer carries a message or a part of one. DeliveryID, DeliveryTag and
// MessageFormat are mandatory on the first frame of a delivery only.
type Transfer struct {
	Handle             uint32
	DeliveryID         *uint32
	DeliveryTag        []byte
	MessageFormat      *uint32
	Settled            *bool
	More               bool
	ReceiverSettleMode *uint8
	State              Performative
	Aborted            bool
}

func (*Transfer) descriptor() uint64 { return descTransfer }
func (p *Transfer) fields() []any {
	var tag any
	if p.DeliveryTag != nil {
		tag = p.DeliveryTag
	}
	return []any{p.Handle, null(p.DeliveryID), tag, null(p.MessageFormat), null(p.Settled), orNull(p.More),
		null(p.ReceiverSettleMode), stateOrNull(p.State), nil, orNull(p.Aborted)}
}
func (p *Transfer) read(f *fields) {
	p.Handle = required[uint32](f)
	p.DeliveryID = optional[uint32](f)
	p.DeliveryTag = valueOr[[]byte](f, nil)
	p.MessageFormat = optional[uint32](f)
	p.Settled = optional[bool](f)
	p.More = valueOr(f, false)
	p.ReceiverSettleMode = optional[uint8](f)
	p.State = nested[Performative](f)
	f.next() // resume
	p.Aborted = valueOr(f, false)
}

func stateOrNull(p Performative) any {
	if p == nil {
		return nil
	}
	return toDescribed(p)
}

// Disposition tells the outcome of deliveries First to Last (nil: just First).
type Disposition struct {
	Role    bool
	First   uint32
	Last    *uint32
	Settled bool
	State   Performative
}

func (*Disposition) descriptor() uint64 { return descDisposition }
func (p *Disposition) fields() []any {
	return []any{p.Role, p.First, null(p.Last), orNull(p.Settled), stateOrNull(p.State)}
}
func (p *Disposition) read(f *fields) {
	p.Role = required[bool](f)
	p.First = required[uint32](f)
	p.Last = optional[uint32](f)
	p.Settled = valueOr(f, false)
	p.State = nested[Performative](f)
}

// Detach ends a link.
type Detach struct {
	Handle uint32
	Closed bool
	Error  *Error
}

func (*Detach) descriptor() uint64 { return descDetach }
func (p *Detach) fields() []any {
	return []any{p.Handle, orNull(p.Closed), nestedOrNull(p.Error)}
}
func (p *Detach) read(f *fields) {
	p.Handle = required[uint32](f)
	p.Closed = valueOr(f, false)
	p.Error = nested[*Error](f)
}

// End ends a session.
type End struct{ Error *Error }

func (*End) descriptor() uint64 { return descEnd }
func (p *End) fields() []any    { return []any{nestedOrNull(p.Error)} }
func (p *End) read(f *fields)   { p.Error = nested[*Error](f) }

// Close ends a connection.
type Close struct{ Error *Error }

func (*Close) descriptor() uint64 { return descClose }
func (p *Close) fields() []any    { return []any{nestedOrNull(p.Error)} }
func (p *Close) read(f *fields)   { p.Error = nested[*Error](f) }

// Error is what a peer is told when something fails.
type Error struct {
	Condition   Symbol
	Description string
	Info        Map
}

func (*Error) descriptor() uint64 { return descError }
func (p *Error) fields() []any {
	return []any{p.Condition, orNull(p.Description), mapOrNull(p.Info)}
}
func (p *Error) read(f *fields) {
	p.Condition = required[Symbol](f)
	p.Description = valueOr(f, "")
	p.Info = valueOr[Map](f, nil)
}
