package host

import (
	"fmt"
	"syscall"
)

// reservePort finds a free port on 127.0.0.1 and keeps it until release: the socket is bound and never listens, so the
// system gives the port to nobody who asks for any port, the handler can bind it by number (Go's listeners reuse
// addresses), and while the handler is dead a connection is refused. Without it, another program could take the port
// while the handler restarts, and pass for the handler.
func reservePort() (port int, release func(), err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, fmt.Errorf("reserving a port: %w", err)
	}
	release = func() { _ = syscall.Close(fd) }
	if err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	var bound syscall.Sockaddr
	if err == nil {
		bound, err = syscall.Getsockname(fd)
	}
	if err != nil {
		release()
		return 0, nil, fmt.Errorf("reserving a port: %w", err)
	}
	return bound.(*syscall.SockaddrInet4).Port, release, nil
}
