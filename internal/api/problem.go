package api

// Problem is an RFC 9457 problem: what went wrong and what to do about it. Code is
// stable; Detail is for people.
type Problem struct {
	Type   string  `json:"type" doc:"jitgate:problem:{code}" example:"urn:jitgate:problem:duration_too_long"`
	Title  string  `json:"title"`
	Status int     `json:"status"`
	Code   string  `json:"code" doc:"Stable name of the first fault."`
	Detail string  `json:"detail"`
	Errors []Fault `json:"errors,omitempty" doc:"All faults, when there is more than one or when a field is to blame."`
}

// Fault is one thing that is wrong.
type Fault struct {
	Field  string `json:"field,omitempty" doc:"JSON path or header."`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Policy string `json:"policy,omitempty" doc:"Which policy says so, with its version."`
	Passes string `json:"passes,omitempty" doc:"What would pass."`
}

// Error makes a problem an error for clients.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is RFC 9457's, whatever the caller asked for.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// Problem codes of the HTTP edge. Those of the domain are listed in docs/api.md.
const (
	MalformedBody    = "malformed_body"
	UnknownField     = "unknown_field"
	InvalidField     = "invalid_field"
	BodyTooLarge     = "body_too_large"
	UnsupportedMedia = "unsupported_media_type"
	UnknownOperation = "operation_unknown"
	Unavailable      = "unavailable"
	Internal         = "internal"
)
