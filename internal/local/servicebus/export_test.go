package servicebus

import "time"

// SetHeartbeat changes the interval for connections made afterwards.
func (s *Server) SetHeartbeat(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heartbeat = d
}
