package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Protocol is TCP, UDP or "*" for any.
type Protocol string

const (
	TCP         Protocol = "TCP"
	UDP         Protocol = "UDP"
	AnyProtocol Protocol = "*"
)

// Port is a port number with its protocol.
type Port struct {
	Number   uint16   `json:"port"`
	Protocol Protocol `json:"protocol"`
}

// ErrPort is wrapped by every error about ports and protocols.
var ErrPort = errors.New("not a port")

// ParseProtocol reads TCP, UDP or "*", in any case because ARM's own interfaces
// do not agree on one.
func ParseProtocol(text string) (Protocol, error) {
	for _, p := range []Protocol{TCP, UDP, AnyProtocol} {
		if strings.EqualFold(text, string(p)) {
			return p, nil
		}
	}
	return "", fmt.Errorf(`%w: protocol %.60q is none of TCP, UDP and "*"`, ErrPort, text)
}

// NewPort checks a number, 1 to 65535, and a protocol as [ParseProtocol] does.
func NewPort(number int, protocol string) (Port, error) {
	if number < 1 || number > 65535 {
		return Port{}, fmt.Errorf("%w: %d does not lie between 1 and 65535", ErrPort, number)
	}
	p, err := ParseProtocol(protocol)
	if err != nil {
		return Port{}, err
	}
	return Port{Number: uint16(number), Protocol: p}, nil
}

// ParsePort reads "22/TCP"; "22" alone means TCP.
func ParsePort(text string) (Port, error) {
	digits, protocol, given := strings.Cut(text, "/")
	if !given {
		protocol = string(TCP)
	}
	number, err := strconv.Atoi(digits)
	if err != nil || strconv.Itoa(number) != digits {
		return Port{}, fmt.Errorf("%w: %.60q; write a number, or number/protocol such as 22/TCP", ErrPort, text)
	}
	return NewPort(number, protocol)
}

// String is what [ParsePort] reads: "22/TCP".
func (p Port) String() string { return fmt.Sprintf("%d/%s", p.Number, p.Protocol) }

// covers reports whether allowing p allows q. "*" is more than TCP and UDP
// together, so only "*" covers it.
func (p Port) covers(q Port) bool {
	return p.Number == q.Number && (p.Protocol == AnyProtocol || p.Protocol == q.Protocol)
}
