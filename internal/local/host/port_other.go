//go:build !linux

package host

import (
	"fmt"
	"net"
)

// reservePort asks the system for a port on 127.0.0.1. Nothing keeps it free until the handler listens.
func reservePort() (port int, release func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, nil, fmt.Errorf("reserving a port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, func() {}, nil
}
