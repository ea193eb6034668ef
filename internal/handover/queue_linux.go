package handover

import "golang.org/x/sys/unix"

// Queued returns how many connections the kernel keeps for the named socket, until this process accepts them.
func (s *Sockets) Queued(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	fd, ok := s.descriptors[name]
	if !ok {
		return 0
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return int(info.Unacked)
}
